"""Graph rewrites: functions from model to model that keep the numbers and run faster on a phone.

Each is exact up to rounding in float32. Rewritten models are for export: they are converted, or trained for int8.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.exporting.variants import Variant
from keras_inception.utils.suggestions import did_you_mean

if TYPE_CHECKING:
    import keras

# Each position of a kernel has a cost, so a kernel on blocks must have this many times fewer. 3×3/2 has 2.25 times
# fewer and is slower, on ARM and on x86. 5×5/2 has 2.8 times fewer, and takes fewer instructions on ARM.
FEWER_PLACES = 2.5
STEM_CHANNELS = 4  # a convolution with more input channels already uses the processor well


def rewrite(model: "keras.Model", names: Iterable[str] | None = None) -> "keras.Model":
    """Apply rewrites to a functional model, in the order of `REWRITES`.

    Args:
        model: what to rewrite. It is returned itself if there is nothing to do.
        names: which rewrites; None for all.

    Raises:
        ValueError: there is no rewrite of such a name.
    """
    for name in _in_order(names):
        model = REWRITES[name](model)
    return model


def for_variants(
    model: "keras.Model", variants: Iterable[Variant], names: Iterable[str] | None = None
) -> dict[str, "keras.Model"]:
    """Return the model to convert for each variant, by name: rewritten by `names`, else by the variant's own rewrites.

    Variants share a model where the rewrites make no difference between them.

    Raises:
        ValueError: there is no rewrite of such a name.
    """
    rewritten: dict[tuple[str, ...], keras.Model] = {(): model}
    models = {}
    for variant in variants:
        chosen = _in_order(variant.rewrites if names is None else names)
        for end, name in enumerate(chosen, 1):
            if chosen[:end] not in rewritten:
                rewritten[chosen[:end]] = REWRITES[name](rewritten[chosen[: end - 1]])
        models[variant.name] = rewritten[chosen]
    return models


def _in_order(names: Iterable[str] | None) -> tuple[str, ...]:
    check_names(names)
    return tuple(name for name in REWRITES if names is None or name in names)


def check_names(names: Iterable[str] | None) -> None:
    """Raise ValueError unless all names are those of rewrites. None stands for all of them."""
    for name in names or ():
        if name not in REWRITES:
            allowed = ", ".join(REWRITES)
            raise ValueError(f"`rewrites` may be {allowed}.{did_you_mean(name, REWRITES)} Received: {name!r}")


def space_to_depth_stem(model: "keras.Model") -> "keras.Model":
    """Turn a strided convolution of few channels into one of stride 1 over blocks of pixels.

    A 7×7/2 convolution of an image equals a 4×4/1 convolution of its 2×2 blocks, with 12 channels each. The kernel is
    padded to whole blocks and rearranged as the pixels are. Runtimes compute channels side by side, and three
    channels fill a quarter of the room they have.
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
            replaced[before.name] = _unchanged
        replaced[step.name] = _on_blocks(layer, image.shape[1:3], outputs, border)
    return _with_replaced(model, replaced)


def _on_blocks(
    layer: "keras.layers.Conv2D", sides: Sequence[int], outputs: Sequence[int], border: Sequence[int]
) -> Callable:
    """Return the strided convolution `layer` as a function of the map of its input.

    Args:
        layer: the convolution.
        sides: (height, width) of the map.
        outputs: (height, width) of the output.
        border: zeros that the convolution adds to the map at the (top, left).
    """
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
    # The blocks that the outputs read, border included, and the pixels that complete the map's last block.
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
    """Return, by direction, the pixel of its first block at which a kernel begins, and the blocks that it spans."""
    first = [-zeros % stride for zeros in border]
    return first, [-(-(offset + side) // stride) for offset, side in zip(first, sides, strict=True)]


def _padded(x, border: Sequence[tuple[int, int]], size: Sequence[int], name: str):
    """Pad or crop a map by `border`, and return it with the padding mode of the convolution that follows.

    Args:
        x: the map.
        border: rows and columns of zeros to add (before, after); negative numbers crop.
        size: (height, width) of the kernel that follows. If "same" padding adds just these zeros, it is used.
        name: for the padding layer.
    """
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
    """Move average pooling behind the 1×1 convolution that follows it: they commute, and there is less to pool.

    The batch norm after the convolution is folded into it. Its bias is added after the pooling if zeros around the map
    count in the average. The ReLU stays last.
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
        replaced |= {each.name: _unchanged for each in (pool, padding, norm) if each}
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
    """Turn average pooling of stride 1 into a depthwise convolution, which the XNNPACK delegate also runs in int8.

    At the border the average covers fewer pixels. There the missing part is added: the convolution's output times a
    map of 0, 1/2 and 5/4 (for 3×3). Eight bits hold these exactly, and nothing changes inside the map.
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
    """Return each window's sum divided by its size, zeros beyond the map included, plus a bias for each channel."""
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
    """Correct an average that counted zeros around the map, so that it is over the map's own pixels only."""
    import keras

    from keras_inception.layers import ConstantScale

    counts = [_counts(side, places) for side, places in zip(x.shape[1:3], size, strict=True)]
    missing = np.prod(size) / np.outer(*counts) - 1
    if not missing.any():
        return x
    return keras.layers.Add(name=f"{name}_corrected")([x, ConstantScale(missing, name=f"{name}_border")(x)])


def _counts(side: int, places: int) -> np.ndarray:
    """Return how many of a window's positions lie on the map, for each output of "same" padding."""
    before, _ = _same(side, places, 1)
    starts = np.arange(side) - before
    return np.minimum(starts + places, side) - np.maximum(starts, 0)


def fold_batch_norm(model: "keras.Model") -> "keras.Model":
    """Fold batch norms into the convolutions before them. The converter does the same on its own."""
    import keras

    from keras_inception.graph import walk

    graph = walk(model)
    replaced: dict[str, Callable] = {}
    for step in graph.steps:
        layer, norm = step.operation, graph.only_reader(step.outputs[0])
        if norm is None or type(norm.operation) is not keras.layers.BatchNormalization:
            continue
        if type(layer) is keras.layers.Conv2D and layer.activation is keras.activations.linear:
            replaced[norm.name] = _unchanged
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


def _unchanged(x):
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
    """Return the zeros that TensorFlow's "same" padding puts before and after a side."""
    zeros = max((-(-side // stride) - 1) * stride + size - side, 0)
    return zeros // 2, zeros - zeros // 2


def _folded(
    layer: "keras.layers.Conv2D", norm: "keras.layers.BatchNormalization | None"
) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel and bias of a convolution with the batch norm after it."""
    kernel, *rest = layer.get_weights()
    bias = rest[0] if rest else np.zeros(kernel.shape[3], np.float32)
    if norm is None:
        return kernel, bias
    mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    factor = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        factor = factor * norm.gamma.numpy()
    return kernel * factor, (bias - mean) * factor + (norm.beta.numpy() if norm.center else 0)
