"""Which layer of an int8 file loses what: its tensors against those of the same network in float32."""

import copy
import math
from collections.abc import Collection
from pathlib import Path

import numpy as np

from keras_inception.exporting.layer_origins import Owners
from keras_inception.preprocessing import Preprocessing
from keras_inception.tflite.delegate import undelegated
from keras_inception.utils.progress import Progress, counted, silent

PICTURES = 32  # that are enough: each has thousands of values of a layer
FED = "fed:"


def layer_errors(
    int8: Path,
    float32: Path,
    pictures: np.ndarray,
    given: Preprocessing,
    owners: Owners,
    progress: Progress = silent,
) -> list[dict]:
    """The error of each operation's output in an int8 file, on up to 32 of the pictures.

    An error is the root mean square of a difference from float32, over the root mean square of float32. Both files run
    without the delegate, whose roundings differ by a step at most. What merely converts between types is left out, as
    are operations of no layer, such as ``x + y``.

    Args:
        int8, float32: files of one SavedModel.
        pictures: uint8 RGB (n, height, width, 3).
        given: what a float input is to be fed (`graph.input_of`).

    Returns:
        In the order of the graph: ``layer``; ``operation``, as TFLite calls it; ``type`` of the output in the int8
        file; ``error``, of all that was lost up to here; ``sqnr_db``, the same in decibels (signal to quantization
        noise), None if nothing was; and ``own_error``, of this operation alone, against what float32 makes of the
        inputs that it has in the int8 file.
    """
    rounded, exact = undelegated(int8, keep=True), undelegated(float32, keep=True)
    found = {tensor["name"]: tensor for tensor in rounded.get_tensor_details()}
    operations = [
        (layer, node.kind, node.outputs[0])
        for layer, node in owners.operations(float32)
        if node.outputs[0]["name"] in found
    ]
    alone = undelegated(_taken_apart(float32, found), keep=True)
    image, *feeds = alone.get_input_details()
    losses = [(_Loss(), _Loss()) for _ in operations]
    chosen = pictures[np.linspace(0, len(pictures) - 1, min(PICTURES, len(pictures))).astype(int)]
    for picture in counted(chosen, "Comparing layers", len(chosen), progress):
        for interpreter in (rounded, exact):
            (taken,) = interpreter.get_input_details()
            raw = taken["dtype"] == np.uint8
            fed = picture[None] if raw else given.normalize(picture[None].astype(np.float32))
            interpreter.set_tensor(taken["index"], fed)
            interpreter.invoke()
        alone.set_tensor(image["index"], _values(rounded, rounded.get_input_details()[0]))
        for feed in feeds:
            alone.set_tensor(feed["index"], _values(rounded, found[feed["name"].removeprefix(FED)]))
        alone.invoke()
        for (whole, own), (_, _, tensor) in zip(losses, operations, strict=True):
            got = _values(rounded, found[tensor["name"]])
            whole.add(got, _values(exact, tensor))
            own.add(got, _values(alone, tensor))
    return [
        {
            "layer": layer,
            "operation": kind,
            "type": found[tensor["name"]]["dtype"].__name__,
            "error": whole.error,
            "sqnr_db": -20 * math.log10(whole.error) if whole.error else None,
            "own_error": own.error,
        }
        for (whole, own), (layer, kind, tensor) in zip(losses, operations, strict=True)
        if layer
    ]


class _Loss:
    """Sums over pictures."""

    def __init__(self) -> None:
        self._noise = self._signal = 0.0

    def add(self, got: np.ndarray, expected: np.ndarray) -> None:
        self._noise += float(np.square(got - expected, dtype=np.float64).sum())
        self._signal += float(np.square(expected, dtype=np.float64).sum())

    @property
    def error(self) -> float:
        """Of a layer that is silent in float32 there is none to speak of."""
        return math.sqrt(self._noise / self._signal) if self._signal else 0.0


def _taken_apart(path: Path, names: Collection[str]) -> bytes:
    """A float32 file whose operations read one another's outputs, those of these names, from inputs of the file."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    (graph,) = model.subgraphs
    fed: dict[int, int] = {}
    for index in sorted({index for operator in graph.operators for index in operator.outputs}):
        tensor = graph.tensors[index]
        if tensor.name.decode() in names and tensor.type == flatbuffer_utils.schema_fb.TensorType.FLOAT32:
            twin = copy.copy(tensor)
            twin.name = FED.encode() + tensor.name
            fed[index] = len(graph.tensors)
            graph.tensors.append(twin)
    for operator in graph.operators:
        operator.inputs = [fed.get(index, index) for index in operator.inputs]
    graph.inputs = [*graph.inputs, *fed.values()]
    graph.outputs = [*fed]
    model.signatureDefs = None  # which names the inputs and outputs that were
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _values(interpreter, tensor: dict) -> np.ndarray:
    values = interpreter.get_tensor(tensor["index"])
    scale, zero_point = tensor["quantization"]
    return (values.astype(np.float32) - zero_point) * np.float32(scale) if scale else values
