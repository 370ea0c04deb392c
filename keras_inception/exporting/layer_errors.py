"""Quantization error of each layer of an int8 file, against the same network in float32."""

import copy
import math
from collections.abc import Collection
from pathlib import Path

import numpy as np

from keras_inception.exporting.layer_origins import LayerOrigins
from keras_inception.preprocessing import Preprocessing
from keras_inception.tflite.classifier import raw_pixels
from keras_inception.tflite.delegate import undelegated
from keras_inception.utils.progress import Progress, counted, silent

FED = "fed:"


def layer_errors(
    int8: Path,
    float32: Path,
    images: np.ndarray,
    input_preprocessing: Preprocessing,
    origins: LayerOrigins,
    progress: Progress = silent,
) -> list[dict]:
    """Measure the error of each operation's output in an int8 file, on up to 32 images.

    The error is relative: the RMS of the difference from float32, divided by the RMS of float32. Both files run without
    the delegate, whose rounding differs by at most one quantization step. Type conversions are left out, and so are
    operations that belong to no layer, such as ``x + y``.

    Args:
        int8: the file to examine.
        float32: a file of the same SavedModel.
        images: uint8 RGB (n, height, width, 3).
        input_preprocessing: preprocessing that a float input expects (`Variant.input`).
        origins: finds the layer of an operation.
        progress: called with (name of the step, number done, total).

    Returns:
        A row for each operation, in graph order: ``layer``; ``operation``, TFLite's name; ``type`` of the output in the
        int8 file; ``error``, accumulated up to this operation; ``sqnr_db``, the same as a signal-to-quantization-noise
        ratio in decibels, None if there is no error; and ``own_error``, the error of this operation alone, compared
        with float32 arithmetic on the inputs that it has in the int8 file.
    """
    rounded, exact = undelegated(int8, keep=True), undelegated(float32, keep=True)
    found = {tensor["name"]: tensor for tensor in rounded.get_tensor_details()}
    operations = [each for each in origins.operations(float32) if each[1].outputs[0]["name"] in found]
    tensors = [node.outputs[0] for _, node in operations]
    alone = undelegated(_separated(float32, found), keep=True)
    image, *feeds = alone.get_input_details()
    # For each tensor, the sums of squared errors and of squared references: accumulated, then for the operation alone.
    squares = np.zeros((len(tensors), 2, 2))
    # Each image yields thousands of values per layer, so a few images are enough.
    chosen = images[np.linspace(0, len(images) - 1, min(32, len(images))).astype(int)]
    for pixels in counted(chosen, "Comparing layers", len(chosen), progress):
        for interpreter in (rounded, exact):
            (taken,) = interpreter.get_input_details()
            if taken["dtype"] is np.float32:
                fed = input_preprocessing.normalize(pixels[None].astype(np.float32))
            else:
                fed = raw_pixels(pixels[None], taken["dtype"])
            interpreter.set_tensor(taken["index"], fed)
            interpreter.invoke()
        alone.set_tensor(image["index"], _values(rounded, rounded.get_input_details()[0]))
        for feed in feeds:
            alone.set_tensor(feed["index"], _values(rounded, found[feed["name"].removeprefix(FED)]))
        alone.invoke()
        for sums, tensor in zip(squares, tensors, strict=True):
            got = _values(rounded, found[tensor["name"]])
            for pair, expected in zip(sums, (_values(exact, tensor), _values(alone, tensor)), strict=True):
                pair += [np.square(x, dtype=np.float64).sum() for x in (got - expected, expected)]
    errors = [[math.sqrt(noise / signal) if signal else 0.0 for noise, signal in sums] for sums in squares.tolist()]
    return [
        {
            "layer": layer,
            "operation": node.kind,
            "type": found[node.outputs[0]["name"]]["dtype"].__name__,
            "error": error,
            "sqnr_db": -20 * math.log10(error) if error else None,
            "own_error": own_error,
        }
        for (error, own_error), (layer, node) in zip(errors, operations, strict=True)
        if layer
    ]


def _separated(path: Path, names: Collection[str]) -> bytes:
    """Return a float32 model that takes the named tensors as inputs, so that each operation runs in isolation."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    (graph,) = model.subgraphs
    fed: dict[int, int] = {}
    for index in sorted({index for operator in graph.operators for index in operator.outputs}):
        tensor = graph.tensors[index]
        if tensor.name.decode() in names and tensor.type == flatbuffer_utils.schema_fb.TensorType.FLOAT32:
            replacement = copy.copy(tensor)
            replacement.name = FED.encode() + tensor.name
            fed[index] = len(graph.tensors)
            graph.tensors.append(replacement)
    for operator in graph.operators:
        operator.inputs = [fed.get(index, index) for index in operator.inputs]
    graph.inputs = [*graph.inputs, *fed.values()]
    graph.outputs = [*fed]
    model.signatureDefs = None  # they name the former inputs and outputs
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _values(interpreter, tensor: dict) -> np.ndarray:
    values = interpreter.get_tensor(tensor["index"])
    scale, zero_point = tensor["quantization"]
    return (values.astype(np.float32) - zero_point) * np.float32(scale) if scale else values
