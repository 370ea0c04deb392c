"""Graphs that give the same numbers, by operations that a phone runs faster: functions from model to model.

Each is exact up to rounding in float32. They are for export: a rewritten model is converted, or trained for int8.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.exporting.variants import VARIANTS
from keras_inception.utils.suggestions import did_you_mean

if TYPE_CHECKING:
    import keras

# Each place of a kernel costs, so in blocks it must have so many times fewer. 3×3/2 has 2.25 times fewer and is slower,
# on ARM and on x86; 5×5/2 has 2.8 times fewer, and takes fewer instructions on ARM.
FEWER_PLACES = 2.5
STEM_CHANNELS = 4  # a convolution of more channels than this uses the processor well enough as it is


def rewrite(model: "keras.Model", names: Sequence[str] | None = None) -> "keras.Model":
    """A functional model after the rewrites of these names, by default all, in the order of `REWRITES`.

    Raises:
        ValueError: there is no rewrite of such a name.
    """
    check_names(names)
    for name, function in REWRITES.items():
        if names is None or name in names:
            model = function(model)
    return model


def by_default(variant: str) -> tuple[str, ...]:
    """The rewrites that pay in a variant of the export, on ARM and on x86."""
    return tuple(name for name in REWRITES if variant == "int8" or name not in ONLY_FOR_INT8)


def for_variants(model: "keras.Model", names: Sequence[str] | None = None) -> dict[str, "keras.Model"]:
    """A functional model as each variant is converted from it: after these rewrites, else those `by_default`.

    Variants that need nothing of their own share one model.

    Raises:
        ValueError: there is no rewrite of such a name.
    """
    shared = rewrite(model, by_default("float32") if names is None else names)
    int8 = rewrite(shared, ONLY_FOR_INT8) if names is None else shared
    return {variant: int8 if variant == "int8" else shared for variant in VARIANTS}


def check_names(names: Iterable[str] | None) -> None:
    """Raise ValueError unless all are names of rewrites; None are all of them."""
    for name in names or ():
        if name not in REWRITES:
            allowed = ", ".join(REWRITES)
            raise ValueError(f"`rewrites` may be {allowed}.{did_you_mean(name, REWRITES)} Received: {name!r}")


def space_to_depth_stem(model: "keras.Model") -> "keras.Model":
    """A strided convolution of few channels, as one of stride 1 on blocks of pixels as channels.

    A 7×7/2 convolution of a picture is a 4×4/1 one of its 2×2 blocks, 12 channels each: the kernel, padded to whole
    blocks, is rearranged as the pixels are. Runtimes compute channels side by side, and three fill a quarter of what
    they have room for.
    """
    import keras

    from keras_inception.graph import walk

    graph = walk(model)
    replaced: dict[str, Callable] = {}
    for step in graph.steps:
        layer = step.operation
        if not _is_plain_convolution(layer) or step.inputs[0].shape[-1] > STEM_CHANNELS:
            continue
        stride, padding = layer.strides[0], layer.padding
        if stride == 1 or layer.strides != (stride, stride):
            continue
        image = step.inputs[0]
        border: tuple[int, ...] = (0, 0)
        before = graph.made_by(image)
        if before and type(before.operation) is keras.layers.ZeroPadding2D and graph.only_reader(image):
            border = tuple(zeros for zeros, _ in before.operation.padding)
            image = before.inputs[0]
        elif padding == "same":
            before = None
            places = zip(image.shape[1:3], layer.kernel_size, strict=True)
            border = tuple(_same(side, size, stride)[0] for side, size in places)
        else:
            before = None
        outputs = step.outputs[0].shape[1:3]
        _, size = _in_blocks(layer.kernel_size, stride, border)
        if np.prod(layer.kernel_size) < FEWER_PLACES * np.prod(size):
            continue
        if before:
            replaced[before.name] = _as_it_is
        replaced[step.name] = _on_blocks(layer, image.shape[1:3], outputs, border)
    return _with_replaced(model, replaced)


def _on_blocks(
    layer: "keras.layers.Conv2D", sides: Sequence[int], outputs: Sequence[int], border: Sequence[int]
) -> Callable:
    """The strided convolution `layer` as a function of a map of `sides`, before `border` zeros at the top and left."""
    import keras

    from keras_inception.layers import SpaceToDepth

    stride = layer.strides[0]
    kernel, *bias = layer.get_weights()
    blocks_before = [-(-zeros // stride) for zeros in border]
    first, size = _in_blocks(kernel.shape[:2], stride, border)
    whole = np.zeros((size[0] * stride, size[1] * stride, *kernel.shape[2:]), kernel.dtype)
    whole[first[0] : first[0] + kernel.shape[0], first[1] : first[1] + kernel.shape[1]] = kernel
    blocks = whole.reshape(size[0], stride, size[1], stride, *kernel.shape[2:])
    blocks = blocks.transpose(0, 2, 1, 3, 4, 5).reshape(*size, -1, kernel.shape[3])
    # Blocks that the outputs look at, those of the border included, and pixels that fill up the last of the map's own.
    wanted = [count - 1 + places for count, places in zip(outputs, size, strict=True)]
    fill = [-side % stride for side in sides]
    blocks_after = [
        want - before - (side + more) // stride
        for want, before, side, more in zip(wanted, blocks_before, sides, fill, strict=True)
    ]

    def function(x):
        name = layer.name
        if any(fill):
            x = keras.layers.ZeroPadding2D(tuple((0, more) for more in fill), name=f"{name}_fill")(x)
        x = SpaceToDepth(stride, name=f"{name}_blocks")(x)
        x, padding = _padded(x, list(zip(blocks_before, blocks_after, strict=True)), size, f"{name}_border")
        convolution = keras.layers.Conv2D(
            kernel.shape[3], size, padding=padding, use_bias=bool(bias), activation=layer.activation, name=name
        )
        x = convolution(x)
        convolution.set_weights([blocks, *bias])
        return x

    return function


def _in_blocks(sides: Sequence[int], stride: int, border: Sequence[int]) -> tuple[list[int], list[int]]:
    """At which pixel of its first block a kernel of `sides` begins, and how many blocks it takes, in each direction."""
    first = [-zeros % stride for zeros in border]
    return first, [-(-(offset + side) // stride) for offset, side in zip(first, sides, strict=True)]


def _padded(x, border: Sequence[tuple[int, int]], size: Sequence[int], name: str):
    """The map with so many zeros, or so many fewer rows and columns, around it; and how to pad what is then left."""
    import keras

    if all(zeros == ((places - 1) // 2, places // 2) for zeros, places in zip(border, size, strict=True)):
        return x, "same"
    kept = tuple(slice(max(-before, 0), min(after, 0) or None) for before, after in border)
    if kept != (slice(0, None),) * 2:
        x = x[:, kept[0], kept[1]]
    zeros = tuple((max(before, 0), max(after, 0)) for before, after in border)
    if any(map(any, zeros)):
        x = keras.layers.ZeroPadding2D(zeros, name=name)(x)
    return x, "valid"


def pool_after_projection(model: "keras.Model") -> "keras.Model":
    """Average pooling, then a 1×1 convolution: in the other order, for they commute, and it is less to pool.

    The batch norm after the convolution is folded into it, and what it adds is added after the pooling if zeros around
    the map count in the average; the ReLU stays last.
    """
    import keras

    from keras_inception.graph import walk

    graph = walk(model)
    replaced: dict[str, Callable] = {}
    for step in graph.steps:
        layer, pooled = step.operation, step.inputs[0]
        pool = graph.made_by(pooled)
        if not (_is_plain_convolution(layer) and layer.kernel_size == layer.strides == (1, 1)):
            continue
        if layer.activation is not keras.activations.linear or layer.filters >= pooled.shape[-1]:
            continue
        if pool is None or type(pool.operation) is not keras.layers.AveragePooling2D or not graph.only_reader(pooled):
            continue
        padding = graph.made_by(pool.inputs[0])
        if padding is None or type(padding.operation) is not keras.layers.ZeroPadding2D:
            padding = None
        elif not graph.only_reader(pool.inputs[0]):
            continue
        norm = graph.only_reader(step.outputs[0])
        norm = norm if norm and type(norm.operation) is keras.layers.BatchNormalization else None
        kernel, bias = _folded(layer, norm and norm.operation)
        replaced |= {each.name: _as_it_is for each in (pool, padding, norm) if each}
        replaced[step.name] = _then_pooled(layer.name, kernel, bias, pool.operation, padding and padding.operation)
    return _with_replaced(model, replaced)


def _then_pooled(
    name: str, kernel: np.ndarray, bias: np.ndarray, pool: "keras.Operation", padding: "keras.Operation | None"
) -> Callable:
    import keras

    def function(x):
        convolution = keras.layers.Conv2D(kernel.shape[3], 1, use_bias=padding is None, name=name)
        x = convolution(x)
        convolution.set_weights([kernel] if padding else [kernel, bias])
        if padding:
            return _average(_copy(padding)(x), pool, "valid", bias)
        return _copy(pool)(x)

    return function


def average_pool_as_convolution(model: "keras.Model") -> "keras.Model":
    """Average pooling of stride 1 as a depthwise convolution, which stays in the XNNPACK delegate in int8 too.

    At the border, where the average is of fewer pixels, what is missing is added: a map of 0, 1/2 and 5/4, for 3×3,
    times the convolution's output. These 8 bits hold exactly, and inside the map nothing is changed.
    """
    import keras

    from keras_inception.graph import walk

    graph = walk(model)
    replaced: dict[str, Callable] = {}
    for step in graph.steps:
        pool = step.operation
        if type(pool) is keras.layers.AveragePooling2D and pool.strides == (1, 1) and _channels_last(pool):
            replaced[step.name] = _as_depthwise(pool)
    return _with_replaced(model, replaced)


def _as_depthwise(pool: "keras.layers.AveragePooling2D") -> Callable:
    def function(x):
        x = _average(x, pool, pool.padding)
        return _corrected(x, pool.pool_size, pool.name) if pool.padding == "same" else x

    return function


def _average(x, pool: "keras.layers.AveragePooling2D", padding: str, bias: np.ndarray | None = None):
    """The sum of a window over its size, whatever lies on the map, and a bias for each channel."""
    import keras

    size = pool.pool_size
    average = keras.layers.DepthwiseConv2D(
        size, padding=padding, use_bias=bias is not None, trainable=False, name=pool.name
    )
    y = average(x)
    kernel = np.full((*size, x.shape[-1], 1), 1 / np.prod(size), np.float32)
    average.set_weights([kernel] if bias is None else [kernel, bias])
    return y


def _corrected(x, size: Sequence[int], name: str):
    """What an average of `size` over a map with zeros around it is, of its own pixels alone."""
    import keras

    from keras_inception.layers import ConstantScale

    counts = [_counts(side, places) for side, places in zip(x.shape[1:3], size, strict=True)]
    missing = np.prod(size) / np.outer(*counts) - 1
    if not missing.any():
        return x
    return keras.layers.Add(name=f"{name}_corrected")([x, ConstantScale(missing, name=f"{name}_border")(x)])


def _counts(side: int, places: int) -> np.ndarray:
    """How many of a window's places lie on the map, at each position of "same" padding."""
    before, _ = _same(side, places, 1)
    starts = np.arange(side) - before
    return np.minimum(starts + places, side) - np.maximum(starts, 0)


def fold_batch_norm(model: "keras.Model") -> "keras.Model":
    """Convolutions with the batch norm after them as one. The converter does so by itself."""
    import keras

    from keras_inception.graph import walk

    graph = walk(model)
    replaced: dict[str, Callable] = {}
    for step in graph.steps:
        layer, norm = step.operation, graph.only_reader(step.outputs[0])
        if norm is None or type(norm.operation) is not keras.layers.BatchNormalization:
            continue
        if type(layer) is keras.layers.Conv2D and layer.activation is keras.activations.linear:
            replaced[norm.name] = _as_it_is
            replaced[step.name] = _with_norm(layer, norm.operation)
    return _with_replaced(model, replaced)


def _with_norm(layer: "keras.layers.Conv2D", norm: "keras.layers.BatchNormalization") -> Callable:
    def function(x):
        folded = type(layer).from_config({**layer.get_config(), "use_bias": True})
        y = folded(x)
        folded.set_weights(list(_folded(layer, norm)))
        return y

    return function


REWRITES: dict[str, Callable[["keras.Model"], "keras.Model"]] = {
    "space_to_depth_stem": space_to_depth_stem,
    "pool_after_projection": pool_after_projection,
    "average_pool_as_convolution": average_pool_as_convolution,
}


# In float the delegate has average pooling of its own, which costs less.
ONLY_FOR_INT8 = ("average_pool_as_convolution",)


def _with_replaced(model: "keras.Model", functions: Mapping[str, Callable]) -> "keras.Model":
    """Return a copy of the model, weights included, in which these functions stand for the layers of these names."""
    import keras

    if not functions:
        return model

    def copied(operation: keras.Operation) -> Callable:
        function = functions.get(operation.name)
        return (lambda x, **_: function(x)) if function else _copy(operation)

    copy = keras.models.clone_model(model, clone_function=copied)
    for layer in model.layers:
        if layer.weights and layer.name not in functions:
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


def _copy(operation: "keras.Operation") -> "keras.Operation":
    return type(operation).from_config(operation.get_config())


def _as_it_is(x):
    return x


def _is_plain_convolution(layer: "keras.Operation") -> bool:
    import keras

    return (
        type(layer) is keras.layers.Conv2D
        and _channels_last(layer)
        and layer.groups == 1
        and set(layer.dilation_rate) == {1}
        and layer.padding in ("same", "valid")
    )


def _channels_last(layer: "keras.layers.Layer") -> bool:
    return layer.data_format == "channels_last"


def _same(side: int, size: int, stride: int) -> tuple[int, int]:
    """Zeros before and after a side that TensorFlow's "same" puts there."""
    zeros = max((-(-side // stride) - 1) * stride + size - side, 0)
    return zeros // 2, zeros - zeros // 2


def _folded(
    layer: "keras.layers.Conv2D", norm: "keras.layers.BatchNormalization | None"
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a convolution with the batch norm after it."""
    kernel, *rest = layer.get_weights()
    bias = rest[0] if rest else np.zeros(kernel.shape[3], np.float32)
    if norm is None:
        return kernel, bias
    mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    factor = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        factor = factor * norm.gamma.numpy()
    return kernel * factor, (bias - mean) * factor + (norm.beta.numpy() if norm.center else 0)
