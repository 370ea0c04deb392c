"""Block factories: functions from tensor to tensor, every layer named by its place in the paper.

A block that convolves takes the convolution unit as its argument ``unit``, so that a variant of a network (batch
norm, a publisher's padding) is the same graph made of another unit. A module is data: branches, each a sequence of
steps. Tensors are (batch, height, width, channels).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from keras import KerasTensor, layers

from keras_inception.layers import CeilAveragePooling2D

Unit = Callable[..., KerasTensor]


class BatchNorm(NamedTuple):
    """How a network normalises its convolutions: the figures of most publishers of Inception are the defaults."""

    epsilon: float = 1e-3
    scale: bool = True
    bias: bool = False  # the convolution keeps a bias of its own


class Conv(NamedTuple):
    """A convolution unit as a step of a branch; its layer is ``{module}_{name}``."""

    name: str
    filters: int
    size: int | tuple[int, int] = 1
    strides: int = 1
    padding: str | None = None  # None is the unit's own
    relu: bool = True


class Pool(NamedTuple):
    """A 3×3 pooling, "max" or "average", as a step of a branch; its layer is ``{module}_{name}``."""

    kind: str
    strides: int = 1
    padding: str | None = None  # None is the pooling's own
    name: str = "pool"


class Split(NamedTuple):
    """Branches inside a branch, concatenated (1512.00567, Fig. 7); the layer is ``{module}_{name}``."""

    name: str
    branches: "Branches"


Branches = Sequence[Sequence[Conv | Pool | Split]]


def reduced(name: str, reduce: int, *convolutions: tuple[int, int | tuple[int, int]], **last) -> list[Conv]:
    """The branch of every Inception module: a 1×1 reduction, then convolutions.

    Args:
        name: of the branch; its layers are ``{name}_reduce``, then ``{name}``, or ``{name}_1``, ``{name}_2`` and so on.
        reduce: filters of the reduction.
        convolutions: (filters, size) each.
        last: `strides` and `padding` of the last one.
    """
    names = [name] if len(convolutions) == 1 else [f"{name}_{i}" for i in range(1, len(convolutions) + 1)]
    *steps, end = [Conv(n, filters, size) for n, (filters, size) in zip(names, convolutions, strict=True)]
    return [Conv(f"{name}_reduce", reduce), *steps, end._replace(**last)]


def projected(kind: str, filters: int) -> list[Conv | Pool]:
    """The branch that pools: a 3×3 pooling, ``"max"`` or ``"average"``, then a 1×1 convolution."""
    return [Pool(kind), Conv("pool_proj", filters)]


def fork(name: str, filters: int) -> Split:
    """A 3×3 convolution as 1×3 and 3×1 side by side (1512.00567, Fig. 7): `filters` each, concatenated."""
    return Split(name, [[Conv(f"{name}_1x3", filters, (1, 3))], [Conv(f"{name}_3x1", filters, (3, 1))]])


# What halves a map from Inception v3 on, and how it, v4 and Inception-ResNet v2 begin (1512.00567, section 6).
GRID: dict[str, Any] = {"strides": 2, "padding": "valid"}
STEM = [Conv("1a", 32, 3, **GRID), Conv("2a", 32, 3, padding="valid"), Conv("2b", 64, 3)]


def grid_reduction(reduce: int, middle: int, double: int, single: int) -> Branches:
    """Parallel reduction of the grid (1512.00567, Fig. 10): (batch, 35, 35, c) -> (batch, 17, 17, double + single + c).

    It is Reduction-A of 1602.07261, and the arguments are k, l, m and n of its Table 1.
    """
    return [
        [Conv("3x3", single, 3, **GRID)],
        reduced("double_3x3", reduce, (middle, 3), (double, 3), **GRID),
        [Pool("max", **GRID)],
    ]


class Filters(NamedTuple):
    """Filters of an Inception v1 module, in the order of the columns of Table 1 in arXiv 1409.4842."""

    one: int
    three_reduce: int
    three: int
    five_reduce: int
    five: int
    pool: int


def conv(
    x: KerasTensor,
    filters: int,
    size: int | tuple[int, int],
    *,
    strides: int = 1,
    padding: str | int = "same",
    batch_norm: BatchNorm | None = None,
    relu: bool = True,
    name: str,
) -> KerasTensor:
    """Convolution, batch norm if asked for, ReLU unless told otherwise.

    Args:
        size: (height, width) of the kernel, or one figure for both.
        padding: ``"same"``, ``"valid"``, a number of zeros on every side, or ``"symmetric"``: half the kernel on every
            side, as Caffe and torch pad. It differs from "same" only where the stride is 2 or more.
        batch_norm: normalise before the ReLU, in place of the bias.
        name: of the convolution; the layers after it are ``{name}_bn`` and ``{name}_relu``.
    """
    if padding == "symmetric":
        padding = size // 2 if strides > 1 and isinstance(size, int) else "same"
    if isinstance(padding, int):
        x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x) if padding else x
        padding = "valid"
    x = layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        use_bias=batch_norm is None or batch_norm.bias,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    if batch_norm:
        x = layers.BatchNormalization(epsilon=batch_norm.epsilon, scale=batch_norm.scale, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def max_pool(x: KerasTensor, size: int = 3, *, strides: int = 2, padding: str = "same", name: str) -> KerasTensor:
    """Max pooling of an input that is nowhere negative.

    Args:
        padding: ``"same"``; ``"valid"``; ``"symmetric"``: half the window on every side, as torch pads; or ``"ceil"``:
            windows start at the first pixel and the size is rounded up, as in Caffe and in torch's ``ceil_mode``. On an
            even side that is "same" if the stride is 2; on an odd one "same" would start a pixel earlier.
    """
    if padding == "symmetric":
        if strides > 1:  # zeros never win over what is not negative
            x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        padding = "same" if strides == 1 else "valid"
    elif padding == "ceil":
        x, padding = _ceil(x, strides, name)
    return layers.MaxPooling2D(size, strides=strides, padding=padding, name=name)(x)


def average_pool(
    x: KerasTensor, size: int = 3, *, strides: int = 1, padding: str = "same", count_border: bool = False, name: str
) -> KerasTensor:
    """Average pooling.

    Args:
        padding: ``"same"``, ``"valid"``, or ``"ceil"`` as in `max_pool`, without what lies outside the map.
        count_border: divide by the whole window at the border too, zeros and all, as torch does unless told otherwise;
            TensorFlow divides by what lies in the map. For "same" and stride 1.
    """
    if padding == "ceil":
        return CeilAveragePooling2D(size, strides, name=name)(x)
    if count_border and padding == "same":
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    return layers.AveragePooling2D(size, strides=strides, padding=padding, name=name)(x)


def _ceil(x: KerasTensor, strides: int, name: str) -> tuple[KerasTensor, str]:
    """The map and Keras' padding for windows from the first pixel on, their number rounded up."""
    if strides == 1 or all(side and side % strides == 0 for side in x.shape[1:3]):
        return x, "same"
    # One more row and column makes "valid" round up; a window that needs none of them leaves them out.
    return layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x), "valid"


def branch(
    x: KerasTensor,
    steps: Sequence[Conv | Pool | Split],
    *,
    unit: Unit,
    max_pool: Unit = max_pool,
    average_pool: Unit = average_pool,
    name: str,
) -> KerasTensor:
    """One step after the other, on the map of the step before.

    Args:
        unit: makes the convolutions, `conv` with a network's own options.
        max_pool, average_pool: make the poolings, likewise.
        name: of the module.
    """
    for step in steps:
        if isinstance(step, Split):
            tools = {"unit": unit, "max_pool": max_pool, "average_pool": average_pool}
            x = layers.Concatenate(name=f"{name}_{step.name}")(
                [branch(x, s, **tools, name=name) for s in step.branches]
            )
            continue
        own: dict[str, Any] = {} if step.padding is None else {"padding": step.padding}
        if isinstance(step, Pool):
            pool = {"max": max_pool, "average": average_pool}[step.kind]
            x = pool(x, strides=step.strides, **own, name=f"{name}_{step.name}")
        else:
            own = own if step.relu else {**own, "relu": False}
            x = unit(x, step.filters, step.size, strides=step.strides, **own, name=f"{name}_{step.name}")
    return x


def module(x: KerasTensor, branches: Branches, *, name: str, **tools: Unit) -> KerasTensor:
    """Branches side by side on one map, concatenated in their order: the idea of all Inception networks.

    (batch, h, w, c) -> (batch, h', w', sum of the branches' channels). `tools` are those of `branch`.
    """
    return layers.Concatenate(name=name)([branch(x, steps, **tools, name=name) for steps in branches])


def inception(x: KerasTensor, f: Filters, *, unit: Unit, five_kernel: int = 5, name: str) -> KerasTensor:
    """Inception module with dimension reduction (1409.4842, Fig. 2b).

    (batch, h, w, c) -> (batch, h, w, f.one + f.three + f.five + f.pool). ``five_kernel=3`` is the module of TF-slim
    and torchvision, whose "5x5" branch has a 3×3 kernel.
    """
    branches: Branches = [
        [Conv("1x1", f.one)],
        reduced("3x3", f.three_reduce, (f.three, 3)),
        reduced("5x5", f.five_reduce, (f.five, five_kernel)),
        projected("max", f.pool),
    ]
    return module(x, branches, unit=unit, name=name)


def inception_naive(x: KerasTensor, f: Filters, *, unit: Unit, five_kernel: int = 5, name: str) -> KerasTensor:
    """Naive Inception module (1409.4842, Fig. 2a): no reductions, and the pooling passes all its channels on.

    (batch, h, w, c) -> (batch, h, w, f.one + f.three + f.five + c): a stack of them can only grow.
    """
    branches: Branches = [
        [Conv("1x1", f.one)],
        [Conv("3x3", f.three, 3)],
        [Conv("5x5", f.five, five_kernel)],
        [Pool("max")],
    ]
    return module(x, branches, unit=unit, name=name)


def classifier(x: KerasTensor, classes: int, *, dropout: float, activation: str | None, name: str) -> KerasTensor:
    """Dropout and a dense layer with its activation: (batch, features) -> (batch, classes), float32 always."""
    x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(classes, activation=activation, dtype="float32", name=name)(x)


def flatten(x: KerasTensor, side: int | None, *, dropout: float | None = None, name: str) -> KerasTensor:
    """A map as one row of features: (batch, h, w, c) -> (batch, side * side * c), h and w known.

    Args:
        side: a map of other sides is pooled to side×side first, by averages, as torchvision does; None takes any map
            as it is.
        dropout: rate before the row is made; None is without.
        name: of the dense layer that is to read it, which the layers' names begin with.
    """
    if side and x.shape[1:3] != (side, side):
        x = adaptive_average_pool(x, side, name=f"{name}_pool")
    if dropout is not None:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Flatten(name=f"{name}_flatten")(x)


def adaptive_average_pool(x: KerasTensor, side: int, *, name: str) -> KerasTensor:
    """Averages of side×side windows that cover a map, as torch has it: (batch, h, w, c) -> (batch, side, side, c).

    A side of one pixel is repeated, which is the same: in a graph Keras' layer fails on it.
    """
    times = tuple(side if pixels == 1 else 1 for pixels in x.shape[1:3])
    if times == (side, side):
        return layers.UpSampling2D(times, name=name)(x)
    if times != (1, 1):
        x = layers.UpSampling2D(times, name=f"{name}_repeated")(x)
    return layers.AdaptiveAveragePooling2D(side, name=name)(x)


def dense(x: KerasTensor, units: int, *, dropout: float | None = None, name: str) -> KerasTensor:
    """Dropout if asked for, a dense layer and ReLU: (batch, features) -> (batch, units)."""
    if dropout is not None:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    # Of the same variance as the convolutions' normal one, which takes several times as long for VGG's 103 M weights.
    x = layers.Dense(units, kernel_initializer="he_uniform", name=name)(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def auxiliary_head(
    x: KerasTensor, classes: int, *, unit: Unit, adaptive: bool = False, activation: str | None, name: str
) -> KerasTensor:
    """Auxiliary classifier on the way (1409.4842, section 5): (batch, h, w, c) -> (batch, classes), h and w known.

    5×5 average pooling of stride 3 (a 14×14 map becomes 4×4), or with ``adaptive=True`` pooling to 4×4 whatever the
    map, as torchvision does; then a 1×1 convolution of 128, a dense layer of 1024 and dropout of 0.7. On a map
    smaller than 5×5 the pooling window is the map.
    """
    if adaptive:
        x = adaptive_average_pool(x, 4, name=f"{name}_pool")
    else:
        window = tuple(min(5, side) for side in x.shape[1:3])
        x = layers.AveragePooling2D(window, strides=3, name=f"{name}_pool")(x)
    x = unit(x, 128, 1, name=f"{name}_conv")
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(1024, activation="relu", kernel_initializer="he_normal", name=f"{name}_fc")(x)
    return classifier(x, classes, dropout=0.7, activation=activation, name=name)
