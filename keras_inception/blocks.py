"""Block factories: functions from tensor to tensor, every layer named by its place in the paper.

A block that convolves takes the convolution unit as its argument ``unit``, so that a variant of a network (batch
norm, a publisher's padding) is the same graph made of another unit. Tensors are (batch, height, width, channels).
"""

from collections.abc import Callable
from typing import NamedTuple

from keras import KerasTensor, layers

Unit = Callable[..., KerasTensor]


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
    size: int,
    *,
    strides: int = 1,
    padding: str = "same",
    batch_norm: bool = False,
    name: str,
) -> KerasTensor:
    """Convolution, batch norm if asked for, ReLU.

    Args:
        padding: ``"same"``, ``"valid"``, or ``"symmetric"``: the same number of zeros on every side, as Caffe and
            torch pad. It differs from "same" only where the stride is 2 or more.
        batch_norm: normalise before the ReLU, in place of the bias (epsilon 0.001, as all publishers of Inception).
        name: of the convolution; the layers after it are ``{name}_bn`` and ``{name}_relu``.
    """
    if padding == "symmetric":
        if strides > 1:
            x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        padding = "valid" if strides > 1 else "same"
    x = layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        use_bias=not batch_norm,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    if batch_norm:
        x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def max_pool(x: KerasTensor, size: int = 3, *, strides: int = 2, padding: str = "same", name: str) -> KerasTensor:
    """Max pooling of an input that is nowhere negative.

    With ``padding="ceil"`` the windows start at the first pixel and the size is rounded up, as in Caffe and in torch's
    ``ceil_mode``. On an even side this is "same"; on an odd one "same" would start a pixel earlier.
    """
    if padding == "ceil":
        sides = x.shape[1:3]
        if all(side and side % 2 == 0 for side in sides):
            padding = "same"
        else:
            # One more row and column makes "valid" round up; a window that needs none of them leaves them out.
            x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
            padding = "valid"
    return layers.MaxPooling2D(size, strides=strides, padding=padding, name=name)(x)


def inception(x: KerasTensor, f: Filters, *, unit: Unit, five_kernel: int = 5, name: str) -> KerasTensor:
    """Inception module with dimension reduction (1409.4842, Fig. 2b).

    (batch, h, w, c) -> (batch, h, w, f.one + f.three + f.five + f.pool). ``five_kernel=3`` is the module of TF-slim
    and torchvision, whose "5x5" branch has a 3×3 kernel.
    """
    one = unit(x, f.one, 1, name=f"{name}_1x1")
    three = unit(x, f.three_reduce, 1, name=f"{name}_3x3_reduce")
    three = unit(three, f.three, 3, name=f"{name}_3x3")
    five = unit(x, f.five_reduce, 1, name=f"{name}_5x5_reduce")
    five = unit(five, f.five, five_kernel, name=f"{name}_5x5")
    pool = max_pool(x, strides=1, name=f"{name}_pool")
    pool = unit(pool, f.pool, 1, name=f"{name}_pool_proj")
    return layers.Concatenate(name=name)([one, three, five, pool])


def inception_naive(x: KerasTensor, f: Filters, *, unit: Unit, five_kernel: int = 5, name: str) -> KerasTensor:
    """Naive Inception module (1409.4842, Fig. 2a): no reductions, and the pooling passes all its channels on.

    (batch, h, w, c) -> (batch, h, w, f.one + f.three + f.five + c): a stack of them can only grow.
    """
    one = unit(x, f.one, 1, name=f"{name}_1x1")
    three = unit(x, f.three, 3, name=f"{name}_3x3")
    five = unit(x, f.five, five_kernel, name=f"{name}_5x5")
    pool = max_pool(x, strides=1, name=f"{name}_pool")
    return layers.Concatenate(name=name)([one, three, five, pool])


def classifier(x: KerasTensor, classes: int, *, dropout: float, activation: str | None, name: str) -> KerasTensor:
    """Dropout and a dense layer with its activation: (batch, features) -> (batch, classes), float32 always."""
    x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.Dense(classes, activation=activation, dtype="float32", name=name)(x)


def auxiliary_head(
    x: KerasTensor, classes: int, *, unit: Unit, adaptive: bool = False, activation: str | None, name: str
) -> KerasTensor:
    """Auxiliary classifier on the way (1409.4842, section 5): (batch, h, w, c) -> (batch, classes), h and w known.

    5×5 average pooling of stride 3 (a 14×14 map becomes 4×4), or with ``adaptive=True`` pooling to 4×4 whatever the
    map, as torchvision does; then a 1×1 convolution of 128, a dense layer of 1024 and dropout of 0.7. On a map
    smaller than 5×5 the pooling window is the map.
    """
    if adaptive:
        x = layers.AdaptiveAveragePooling2D(4, name=f"{name}_pool")(x)
    else:
        window = tuple(min(5, side) for side in x.shape[1:3])
        x = layers.AveragePooling2D(window, strides=3, name=f"{name}_pool")(x)
    x = unit(x, 128, 1, name=f"{name}_conv")
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(1024, activation="relu", kernel_initializer="he_normal", name=f"{name}_fc")(x)
    return classifier(x, classes, dropout=0.7, activation=activation, name=name)
