"""Building blocks: functions from tensor to tensor. Layers are named after their place in the paper.

A module is described as data: branches, each a sequence of steps. Blocks with convolutions take a ``conv_block``
argument, so that the variants of a network (batch norm, a publisher's padding) share one definition. Tensors are
(batch, height, width, channels).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from keras import KerasTensor, layers

from keras_inception.layers import CeilAveragePooling2D

ConvBlock = Callable[..., KerasTensor]
Pooling = Callable[..., KerasTensor]


class BatchNorm(NamedTuple):
    """Settings of batch norm after a convolution. Most publishers of Inception use the defaults."""

    epsilon: float = 1e-3
    scale: bool = True
    bias: bool = False  # the convolution keeps its own bias


class Conv(NamedTuple):
    """A convolution block as a step of a branch. Its layer is named ``{module}_{name}``."""

    name: str
    filters: int
    size: int | tuple[int, int] = 1
    strides: int = 1
    padding: str | None = None  # None uses the block's own
    relu: bool = True


class Pool(NamedTuple):
    """A 3×3 pooling, "max" or "average", as a step of a branch. Its layer is named ``{module}_{name}``."""

    kind: str
    strides: int = 1
    padding: str | None = None  # None uses the pooling's own
    name: str = "pool"


class Split(NamedTuple):
    """Branches within a branch, concatenated (1512.00567, Fig. 7). The layer is named ``{module}_{name}``."""

    name: str
    branches: "Branches"


Branches = Sequence[Sequence[Conv | Pool | Split]]


def reduced(name: str, reduce: int, *convolutions: tuple[int, int | tuple[int, int]], **last) -> list[Conv]:
    """Return the typical branch of an Inception module: a 1×1 reduction followed by convolutions.

    Args:
        name: name of the branch. Its layers are ``{name}_reduce``, then ``{name}``, or ``{name}_1``, ``{name}_2`` and
            so on.
        reduce: number of filters of the reduction.
        convolutions: (filters, size) of each.
        last: `strides` and `padding` of the last convolution.
    """
    names = [name] if len(convolutions) == 1 else [f"{name}_{i}" for i in range(1, len(convolutions) + 1)]
    *steps, end = [Conv(n, filters, size) for n, (filters, size) in zip(names, convolutions, strict=True)]
    return [Conv(f"{name}_reduce", reduce), *steps, end._replace(**last)]


def projected(kind: str, filters: int) -> list[Conv | Pool]:
    """Return the pooling branch: a 3×3 pooling, ``"max"`` or ``"average"``, followed by a 1×1 convolution."""
    return [Pool(kind), Conv("pool_proj", filters)]


def fork(name: str, filters: int) -> Split:
    """Split a 3×3 convolution into 1×3 and 3×1 side by side (1512.00567, Fig. 7): `filters` each, concatenated."""
    return Split(name, [[Conv(f"{name}_1x3", filters, (1, 3))], [Conv(f"{name}_3x1", filters, (3, 1))]])


# The steps that halve a map from Inception v3 on, and the stem of v3, v4 and Inception-ResNet v2 (1512.00567,
# section 6).
GRID: dict[str, Any] = {"strides": 2, "padding": "valid"}
STEM = [Conv("1a", 32, 3, **GRID), Conv("2a", 32, 3, padding="valid"), Conv("2b", 64, 3)]


def grid_reduction(reduce: int, middle: int, double: int, single: int) -> Branches:
    """Return the branches of the parallel grid reduction (1512.00567, Fig. 10).

    (batch, 35, 35, c) -> (batch, 17, 17, double + single + c).

    This is also Reduction-A of 1602.07261, where Table 1 calls the arguments k, l, m and n.
    """
    return [
        [Conv("3x3", single, 3, **GRID)],
        reduced("double_3x3", reduce, (middle, 3), (double, 3), **GRID),
        [Pool("max", **GRID)],
    ]


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
    """Add a convolution, optional batch norm, and by default ReLU.

    Args:
        x: (batch, height, width, channels).
        filters: number of filters.
        size: (height, width) of the kernel, or one number for both.
        strides: strides in both directions.
        padding: ``"same"``, ``"valid"``, a number of zeros on every side, or ``"symmetric"``: half the kernel on every
            side, as in Caffe and torch. It differs from "same" only for strides of 2 or more.
        batch_norm: settings of the batch norm before the ReLU; None adds a bias instead.
        relu: add ReLU at the end.
        name: name of the convolution. The layers after it are ``{name}_bn`` and ``{name}_relu``.
    """
    if padding == "symmetric":
        padding = size // 2 if strides > 1 and isinstance(size, int) else "same"
    if isinstance(padding, int):
        x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x) if padding else x
        padding = "valid"
    bias = batch_norm is None or batch_norm.bias
    x = layers.Conv2D(filters, size, strides, padding, use_bias=bias, kernel_initializer="he_normal", name=name)(x)
    if batch_norm:
        x = layers.BatchNormalization(epsilon=batch_norm.epsilon, scale=batch_norm.scale, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def max_pool(x: KerasTensor, size: int = 3, *, strides: int = 2, padding: str = "same", name: str) -> KerasTensor:
    """Add max pooling to a nonnegative map.

    Args:
        x: (batch, height, width, channels).
        size: side of the window.
        strides: strides in both directions.
        padding: ``"same"``; ``"valid"``; ``"symmetric"``: half the window on every side, as in torch; or ``"ceil"``:
            windows start at the first pixel and the size is rounded up, as in Caffe and in torch's ``ceil_mode``. With
            stride 2, this equals "same" on an even side; on an odd side, "same" starts one pixel earlier.
        name: name of the pooling layer.
    """
    sides = x.shape[1:3]
    # Zero padding does not change the maxima of a nonnegative map.
    if padding == "symmetric" and strides > 1:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    elif padding == "ceil" and strides > 1 and not all(side and side % strides == 0 for side in sides):
        # An extra row and column make "valid" round up; they have no effect where no window needs them.
        x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
        padding = "valid"
    elif padding in ("symmetric", "ceil"):
        padding = "same"
    return layers.MaxPooling2D(size, strides=strides, padding=padding, name=name)(x)


def average_pool(
    x: KerasTensor, size: int = 3, *, strides: int = 1, padding: str = "same", count_border: bool = False, name: str
) -> KerasTensor:
    """Add average pooling.

    Args:
        x: (batch, height, width, channels).
        size: side of the window.
        strides: strides in both directions.
        padding: ``"same"``, ``"valid"``, or ``"ceil"`` as in `max_pool`, averaging only the pixels inside the map.
        count_border: count the padding zeros at the border, as torch does by default; TensorFlow divides by the number
            of pixels inside the map. Only for "same" and stride 1.
        name: name of the pooling layer.
    """
    if padding == "ceil":
        return CeilAveragePooling2D(size, strides, name=name)(x)
    if count_border and padding == "same":
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    return layers.AveragePooling2D(size, strides=strides, padding=padding, name=name)(x)


def branch(
    x: KerasTensor,
    steps: Sequence[Conv | Pool | Split],
    *,
    conv_block: ConvBlock,
    max_pool: Pooling = max_pool,
    average_pool: Pooling = average_pool,
    name: str,
) -> KerasTensor:
    """Add the steps of a branch in sequence.

    Args:
        x: (batch, height, width, channels).
        steps: the branch.
        conv_block: creates the convolutions: `conv` with a network's own options.
        max_pool: creates the max pooling layers.
        average_pool: creates the average pooling layers.
        name: name of the module, the prefix of all layer names.
    """
    pools = {"max": max_pool, "average": average_pool}
    for step in steps:
        layer = f"{name}_{step.name}"
        if isinstance(step, Split):
            tools = {"conv_block": conv_block, "max_pool": max_pool, "average_pool": average_pool}
            x = layers.Concatenate(name=layer)([branch(x, s, **tools, name=name) for s in step.branches])
            continue
        own: dict[str, Any] = {} if step.padding is None else {"padding": step.padding}
        if isinstance(step, Pool):
            x = pools[step.kind](x, strides=step.strides, **own, name=layer)
        else:
            own = own if step.relu else {**own, "relu": False}
            x = conv_block(x, step.filters, step.size, strides=step.strides, **own, name=layer)
    return x


def module(x: KerasTensor, branches: Branches, *, name: str, **tools: ConvBlock) -> KerasTensor:
    """Add parallel branches on one map and concatenate them in order: the idea behind all Inception networks.

    (batch, h, w, c) -> (batch, h', w', sum of the branches' channels). `tools` are `conv_block` and, optionally,
    `max_pool` and `average_pool`, as in `branch`.
    """
    return layers.Concatenate(name=name)([branch(x, steps, **tools, name=name) for steps in branches])


def classifier(x: KerasTensor, classes: int, *, dropout: float, activation: str | None, name: str) -> KerasTensor:
    """Add dropout and a dense layer, always in float32: (batch, features) -> (batch, classes)."""
    x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(classes, activation=activation, dtype="float32", name=name)(x)


def flatten(x: KerasTensor, side: int | None, *, dropout: float | None = None, name: str) -> KerasTensor:
    """Flatten a map: (batch, h, w, c) -> (batch, side * side * c), h and w known.

    Args:
        x: the feature map.
        side: average-pool a map of another size to side×side first, as torchvision does; None flattens any map as it
            is.
        dropout: dropout rate before flattening; None adds no dropout.
        name: name of the dense layer that follows, the prefix of the layer names.
    """
    if side and x.shape[1:3] != (side, side):
        x = adaptive_average_pool(x, side, name=f"{name}_pool")
    if dropout is not None:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Flatten(name=f"{name}_flatten")(x)


def auxiliary_pool(x: KerasTensor, *, name: str) -> KerasTensor:
    """Add an auxiliary classifier's 5×5 average pooling, stride 3. On a smaller map, the window is clipped."""
    window = tuple(min(5, side) for side in x.shape[1:3])
    return layers.AveragePooling2D(window, strides=3, name=name)(x)


def adaptive_average_pool(x: KerasTensor, side: int, *, name: str) -> KerasTensor:
    """Pool to side×side by adaptive averages, as torch does: (batch, h, w, c) -> (batch, side, side, c).

    A side of one pixel is repeated instead, with the same result, because Keras' layer fails on it in graph mode.
    """
    times = tuple(side if pixels == 1 else 1 for pixels in x.shape[1:3])
    if times == (side, side):
        return layers.UpSampling2D(times, name=name)(x)
    if times != (1, 1):
        x = layers.UpSampling2D(times, name=f"{name}_repeated")(x)
    return layers.AdaptiveAveragePooling2D(side, name=name)(x)


def dense(x: KerasTensor, units: int, *, dropout: float | None = None, name: str) -> KerasTensor:
    """Add optional dropout, a dense layer and ReLU: (batch, features) -> (batch, units)."""
    if dropout is not None:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    # Same variance as the convolutions' he_normal, which takes several times as long for VGG's 103 M weights.
    x = layers.Dense(units, kernel_initializer="he_uniform", name=name)(x)
    return layers.ReLU(name=f"{name}_relu")(x)
