"""Graph rewrites: functions that return an equivalent model that runs faster on phones.

Each is exact up to float32 rounding. Rewritten models are meant for export: they are converted, or trained for int8.
"""

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.exporting.variants import INT8_REWRITES, Variant
from keras_inception.utils.checks import check_some_of

if TYPE_CHECKING:
    import keras

    from keras_inception.graph import Graph, Step

    Rewrite = Callable[[keras.Model], keras.Model]

# Every position of a kernel has a cost, so space-to-depth pays only if it divides their number by at least this factor.
# 3×3/2 reaches 2.25 and becomes slower on ARM and x86. 5×5/2 reaches 2.8 and takes fewer instructions on ARM.
FEWER_PLACES = 2.5
LRN_SCALE = 2**-5  # the error in half precision is below 0.1 up to activations of 900
STEM_CHANNELS = 4  # with more input channels, a convolution already uses the vector units well


def rewrite(model: "keras.Model") -> "keras.Model":
    """Apply the rewrites of int8 files to a functional model. Return the model itself if none of them applies."""
    for name in INT8_REWRITES:
        model = REWRITES[name](model)
    return model


def for_variants(
    model: "keras.Model", variants: Iterable[Variant], names: Collection[str] | None = None
) -> dict[str, "keras.Model"]:
    """Return the model to convert for each variant, keyed by variant name.

    Variants with the same rewrites share a model.

    Args:
        model: a functional model.
        variants: the variants.
        names: rewrites to apply to all variants; None for each variant's own.

    Raises:
        ValueError: a name is not in `REWRITES`.
    """

    @functools.cache
    def rewritten(chosen: tuple[str, ...]) -> "keras.Model":
        return REWRITES[chosen[-1]](rewritten(chosen[:-1])) if chosen else model

    check_some_of("rewrites", names or (), REWRITES)
    models = {}
    for variant in variants:
        chosen = variant.rewrites if names is None else names
        models[variant.name] = rewritten(tuple(name for name in REWRITES if name in chosen))
    return models


def _rewrite(rule: "Callable[[Graph, Step], Iterator[tuple[str, Callable]]]") -> "Rewrite":
    """Turn a rule for one step of a graph into a rewrite of the model.

    The rule yields the name of each layer to replace with its replacement, a function from tensor to tensor.
    """

    def rewrite(model: "keras.Model") -> "keras.Model":
        from keras_inception.graph import walk
        from keras_inception.models.flat import flat, rebuilt
        from keras_inception.models.flat_copy import is_flat

        plain = model if is_flat(model) else flat(model)  # training for int8 needs the heads and the dropout
        graph = walk(plain)
        functions = dict(pair for step in graph.steps for pair in rule(graph, step))
        if not functions:
            return model

        def function_of(operation: "keras.Operation") -> Callable:
            function = functions.get(operation.name)
            return (lambda x, **_: function(x)) if function else operation

        return rebuilt(plain, function_of)

    rewrite.__name__, rewrite.__doc__ = rule.__name__, rule.__doc__
    return rewrite


@_rewrite
def space_to_depth_stem(graph: "Graph", step: "Step") -> Iterator[tuple[str, Callable]]:
    """Turn a strided convolution with few input channels into one of stride 1 over blocks of pixels.

    A 7×7/2 convolution of an image equals a 4×4/1 convolution of its 2×2 blocks, with 12 channels each. The kernel is
    padded to whole blocks and rearranged like the pixels. Runtimes vectorize over channels, and three channels fill a
    quarter of the lanes.
    """
    layer = step.operation
    if not _is_plain_convolution(step) or step.inputs[0].shape[-1] > STEM_CHANNELS:
        return
    image, stride = step.inputs[0], layer.strides[0]
    if stride == 1 or layer.strides != (stride, stride):
        return
    border = np.zeros(2, int)
    before = graph.made_by(image)
    if before and _is(before, "ZeroPadding2D") and graph.only_reader(image):
        border = np.array(before.operation.padding)[:, 0]
        image = before.inputs[0]
    else:
        before = None
        if layer.padding == "same":
            border = _same(np.array(image.shape[1:3]), np.array(layer.kernel_size), stride)
    _, size = _in_blocks(layer.kernel_size, stride, border)
    if np.prod(layer.kernel_size) < FEWER_PLACES * np.prod(size):
        return
    if before:
        yield before.name, _unchanged
    sides, outputs = np.array([image.shape[1:3], step.outputs[0].shape[1:3]])
    yield step.name, _on_blocks(layer, sides, outputs, border)


def _on_blocks(layer: "keras.layers.Conv2D", sides: np.ndarray, outputs: np.ndarray, border: np.ndarray) -> Callable:
    """Return a function of the input map that computes the strided convolution `layer` on blocks.

    Args:
        layer: the convolution.
        sides: (height, width) of the map.
        outputs: (height, width) of the output.
        border: rows and columns of zeros that pad the map at the (top, left).
    """
    import keras

    from keras_inception.layers import SpaceToDepth

    stride, name = layer.strides[0], layer.name
    kernel, *bias = layer.get_weights()
    first, size = _in_blocks(layer.kernel_size, stride, border)
    last = size * stride - first - layer.kernel_size
    whole = np.pad(kernel, [*zip(first, last, strict=True), (0, 0), (0, 0)])
    blocks = whole.reshape(size[0], stride, size[1], stride, *kernel.shape[2:])
    blocks = blocks.transpose(0, 2, 1, 3, 4, 5).reshape(*size, -1, kernel.shape[3])
    # Pixels that complete the map's last block, and blocks to add so that every output finds all of its inputs.
    fill = -sides % stride
    before = -(-border // stride)
    after = outputs - 1 + size - before - (sides + fill) // stride

    def function(x):
        if fill.any():
            x = keras.layers.ZeroPadding2D([(0, more) for more in fill.tolist()], name=f"{name}_fill")(x)
        x = SpaceToDepth(stride, name=f"{name}_blocks")(x)
        x, padding = _padded(x, np.stack([before, after], axis=1).tolist(), size.tolist(), f"{name}_border")
        convolution = keras.layers.Conv2D(
            kernel.shape[3], size.tolist(), padding=padding, use_bias=bool(bias), activation=layer.activation, name=name
        )
        return _with_weights(convolution, x, [blocks, *bias])

    return function


def _in_blocks(sides: Sequence[int], stride: int, border: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for (height, width), the offset of a kernel in its first block, and the number of blocks it spans."""
    first = -border % stride
    return first, -(-(first + sides) // stride)


def _padded(x, border: Sequence[Sequence[int]], size: Sequence[int], name: str):
    """Pad or crop a map by `border`, and return it with the padding mode of the convolution that follows.

    Args:
        x: the map.
        border: rows and columns of zeros to add (before, after); negative numbers crop.
        size: (height, width) of the kernel that follows. If "same" padding adds exactly these zeros, it is used.
        name: name of the padding layer.
    """
    import keras

    if all(zeros == [(places - 1) // 2, places // 2] for zeros, places in zip(border, size, strict=True)):
        return x, "same"
    kept = tuple(slice(max(-before, 0), min(after, 0) or None) for before, after in border)
    if kept != (slice(0, None),) * 2:
        x = x[:, kept[0], kept[1]]
    zeros = tuple((max(before, 0), max(after, 0)) for before, after in border)
    if any(map(any, zeros)):
        x = keras.layers.ZeroPadding2D(zeros, name=name)(x)
    return x, "valid"


@_rewrite
def pool_after_projection(graph: "Graph", step: "Step") -> Iterator[tuple[str, Callable]]:
    """Move average pooling behind the 1×1 convolution that follows it: they commute, and fewer channels are pooled.

    The batch norm after the convolution is folded into the convolution, whose bias is added after the pooling if zeros
    around the map count in the average. The ReLU stays last.
    """
    import keras

    layer, pooled = step.operation, step.inputs[0]
    if not (_is_plain_convolution(step) and layer.kernel_size == layer.strides == (1, 1)):
        return
    if layer.activation is not keras.activations.linear or layer.filters >= pooled.shape[-1]:
        return
    pool = graph.made_by(pooled)
    if not pool or not _is(pool, "AveragePooling2D") or not graph.only_reader(pooled):
        return
    padding = graph.made_by(pool.inputs[0])
    padding = padding if _is(padding, "ZeroPadding2D") else None
    if padding and not graph.only_reader(pool.inputs[0]):
        return
    norm = _norm_after(graph, step)
    kernel, bias = _folded(layer, norm and norm.operation)
    for each in (pool, padding, norm):
        if each:
            yield each.name, _unchanged

    def projected(x):
        convolution = keras.layers.Conv2D(kernel.shape[3], 1, use_bias=padding is None, name=layer.name)
        x = _with_weights(convolution, x, [kernel] if padding else [kernel, bias])
        return _average(_copy(padding)(x), pool.operation, "valid", bias) if padding else _copy(pool)(x)

    yield step.name, projected


@_rewrite
def average_pool_as_convolution(_: "Graph", step: "Step") -> Iterator[tuple[str, Callable]]:
    """Turn average pooling of stride 1 into a depthwise convolution, which the XNNPACK delegate also runs in int8.

    At the border, the average covers fewer pixels, so a correction is added: the convolution's output times a map of 0,
    1/2 and 5/4 (for 3×3). int8 represents these factors exactly, and nothing changes inside the map.
    """
    pool = step.operation
    if _is(step, "AveragePooling2D") and pool.strides == (1, 1) and pool.data_format == "channels_last":
        yield step.name, lambda x: _corrected(_average(x, pool, pool.padding), pool)


def _average(x, pool: "keras.layers.AveragePooling2D", padding: str, bias: np.ndarray | None = None):
    """Apply average pooling that counts zeros around the map, plus a bias for each channel."""
    import keras

    size = pool.pool_size
    average = keras.layers.DepthwiseConv2D(
        size, padding=padding, use_bias=bias is not None, trainable=False, name=pool.name
    )
    kernel = np.full((*size, x.shape[-1], 1), 1 / np.prod(size), np.float32)
    return _with_weights(average, x, [kernel] if bias is None else [kernel, bias])


def _corrected(x, pool: "keras.layers.AveragePooling2D"):
    """Correct an average that counted zeros around the map, so that it covers only the map's pixels."""
    import keras

    from keras_inception.layers import ConstantScale

    if pool.padding != "same":
        return x
    counts = [_counts(side, places) for side, places in zip(x.shape[1:3], pool.pool_size, strict=True)]
    missing = np.prod(pool.pool_size) / np.outer(*counts) - 1
    if not missing.any():
        return x
    return keras.layers.Add(name=f"{pool.name}_corrected")([x, ConstantScale(missing, name=f"{pool.name}_border")(x)])


def _counts(side: int, places: int) -> np.ndarray:
    """Return the number of a window's positions that lie on the map, for each output of "same" padding."""
    starts = np.arange(side) - _same(side, places, 1)
    return np.minimum(starts + places, side) - np.maximum(starts, 0)


@_rewrite
def lrn_for_half_precision(_: "Graph", step: "Step") -> Iterator[tuple[str, Callable]]:
    """Scale the values that a local response normalization squares, for processors that compute in half precision.

    There, an alpha of 2e-5 is flushed to zero, so that nothing is normalized, and the square of 256 is infinite.
    """
    from keras_inception.layers import LocalResponseNormalization

    layer = step.operation
    if type(layer) is LocalResponseNormalization and not layer.builtin and layer.input_scale == 1:
        yield step.name, type(layer).from_config({**layer.get_config(), "input_scale": LRN_SCALE})


@_rewrite
def fold_batch_norm(graph: "Graph", step: "Step") -> Iterator[tuple[str, Callable]]:
    """Fold batch norms into the convolutions before them. The converter also does this on its own."""
    import keras

    layer, norm = step.operation, _norm_after(graph, step)
    if norm and _is(step, "Conv2D") and layer.activation is keras.activations.linear:
        yield norm.name, _unchanged
        folded = type(layer).from_config({**layer.get_config(), "use_bias": True})
        yield step.name, lambda x: _with_weights(folded, x, list(_folded(layer, norm.operation)))


REWRITES: "dict[str, Rewrite]" = {
    rewrite.__name__: rewrite
    for rewrite in (
        space_to_depth_stem,
        pool_after_projection,
        average_pool_as_convolution,
        lrn_for_half_precision,
    )
}


def _copy(step: "Step") -> "keras.Operation":
    return type(step.operation).from_config(step.operation.get_config())


def _unchanged(x):
    return x


def _with_weights(layer: "keras.layers.Layer", x, weights: list[np.ndarray]):
    """Call a new layer, which builds it, set its weights, and return its output."""
    y = layer(x)
    layer.set_weights(weights)
    return y


def _is(step: "Step | None", kind: str) -> bool:
    """Return True if a step calls the Keras layer of this name, and not a subclass."""
    import keras

    return step is not None and type(step.operation) is getattr(keras.layers, kind)


def _norm_after(graph: "Graph", step: "Step") -> "Step | None":
    """Return the batch norm that is the only reader of a step's output, or None."""
    norm = graph.only_reader(step.outputs[0])
    return norm if _is(norm, "BatchNormalization") else None


def _is_plain_convolution(step: "Step") -> bool:
    layer = step.operation
    return (
        _is(step, "Conv2D")
        and layer.data_format == "channels_last"
        and layer.groups == 1
        and set(layer.dilation_rate) == {1}
        and layer.padding in ("same", "valid")
    )


def _same(side, size, stride: int):
    """Return the number of zeros that TensorFlow's "same" padding adds before a side. Arrays are accepted."""
    return np.maximum((-(-side // stride) - 1) * stride + size - side, 0) // 2


def _folded(
    layer: "keras.layers.Conv2D", norm: "keras.layers.BatchNormalization | None"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel and bias of a convolution, with the batch norm after it folded in."""
    kernel, *rest = layer.get_weights()
    bias = rest[0] if rest else np.zeros(kernel.shape[3], np.float32)
    if norm is None:
        return kernel, bias
    mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    factor = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        factor = factor * norm.gamma.numpy()
    return kernel * factor, (bias - mean) * factor + (norm.beta.numpy() if norm.center else 0)
