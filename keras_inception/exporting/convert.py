"""Convert a SavedModel to .tflite in a child process: the converter leaks memory and prints hundreds of lines.

The job has ``saved_model`` (folder), ``variant`` (fields of the `Variant`), ``output`` (file) and ``float_nodes``
(output tensors of operations that stay in float32). A calibrated variant also uses ``calibration`` (.npy file of uint8
RGB images, (n, height, width, 3)) and ``preprocessing`` (JSON of the `Preprocessing` from these images to the input).
``calibration`` is None for a network that was trained for int8.
"""

import copy
import dataclasses
import functools
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_inception.exporting.variants import Variant
from keras_inception.preprocessing import Preprocessing
from keras_inception.utils.subprocesses import ChildError, answer, run_module

# Pixels normalized to -1 to 1 fall halfway between the 255 quantization steps of that range, so the last digit of a
# client's float32 decides which way they round. With steps wider by 0.1 %, all clients round alike.
FLOAT_MARGIN = 1.001
# TensorFlow 2.20 quantizes DIV, and 2.21 also SQRT, but XNNPACK runs both only in float32. With both in int8, the
# paper's GoogLeNet takes four times as long, because its LRN uses them.
FLOAT_OPERATIONS = ("DIV", "SQRT")

# In the converter's output, an error of MLIR, with its location before or after it, is a line with one of these forms:
# loc(... "scope/operation@function" ...): error: MESSAGE
# <unknown>:0: error: loc(... "scope/operation@function" ...): MESSAGE
MLIR_ERROR = re.compile(r"(?:^|: )error: (?:loc\(.*\): )?(?!failed while converting)(.+)")
LOCATION = re.compile(r'"([^"@]*)@|loc\("([^"@]*)"')
UNSUPPORTED = re.compile(r"'(tf\.\w+)' op is neither a custom op nor a flex op|failed to legalize operation '([\w.]+)'")
EXCEPTION = re.compile(r"\w*(?:Error|Exception): .+")


def convert(
    saved_model: Path,
    variant: Variant,
    output: Path,
    calibration: Path | None,
    input_preprocessing: Preprocessing,
    float_nodes: Sequence[str] = (),
    scopes: Mapping[str, str] | None = None,
) -> None:
    """Convert a SavedModel in a child process. The module's docstring describes the arguments.

    In addition, `scopes` are TensorFlow's scopes of the layers (`recorded_scopes`), to name the layer in errors.

    Raises:
        ChildError: the conversion fails; the message is the `cause`.
    """
    job = {
        "saved_model": str(saved_model),
        "variant": dataclasses.asdict(variant),
        "output": str(output),
        "calibration": calibration and str(calibration),
        "preprocessing": input_preprocessing.to_json(),
        "float_nodes": list(float_nodes),
    }
    try:
        run_module(__name__, job)
    except ChildError as error:
        raise ChildError(cause(error, scopes or {}), error.output) from None


def cause(error: ChildError, scopes: Mapping[str, str]) -> str:
    """Return why a conversion failed, in one line: operations that TFLite lacks, or the first error of the converter.

    Args:
        error: error of the child process.
        scopes: TensorFlow's scopes of the layers, with their names.
    """
    errors: dict[str, str] = {}  # messages, and the first place of each
    for line in error.output.splitlines():
        if found := MLIR_ERROR.search(line):
            errors.setdefault(found[1].strip(), _place(line, scopes))
    lacking = {found[1] or found[2]: place for text, place in errors.items() if (found := UNSUPPORTED.search(text))}
    if lacking:
        return "TFLite has no counterpart of " + ", ".join(name + place for name, place in lacking.items())
    if errors:
        return "the converter failed: {}{}".format(*next(iter(errors.items())))
    raised = [line for line in error.output.splitlines() if EXCEPTION.match(line)]
    return f"the converter failed: {raised[-1]}" if raised else str(error)


def _place(line: str, scopes: Mapping[str, str]) -> str:
    """Return the layer that a line locates, or else the path of the operation, in parentheses; empty if neither."""
    found = LOCATION.search(line)
    path = (found[1] or found[2] or "").split("/") if found else []
    prefixes = ("/".join(path[:length]) for length in range(len(path), 0, -1))
    layer = next((scopes[prefix] for prefix in prefixes if prefix in scopes), None)
    if layer:
        return f" (layer {layer})"
    return f" ({'/'.join(path)})" if any(path) else ""


def main(job: dict) -> None:
    """Run the job of the child process."""
    for unused in ("jax", "keras", "matplotlib"):  # TensorFlow would import these, for a third of its startup time
        sys.modules[unused] = None  # type: ignore[assignment]
    import tensorflow as tf

    variant = Variant(**job["variant"])
    converter = tf.lite.TFLiteConverter.from_saved_model(job["saved_model"])
    variant.configure(converter)
    if variant.calibrated:
        if job["calibration"]:
            images, preprocessing = np.load(job["calibration"]), Preprocessing.from_json(job["preprocessing"])
            margin = 1.0 if variant.takes_pixels else FLOAT_MARGIN
            converter.representative_dataset = lambda: representative(images, preprocessing, margin)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        keep_float(job["float_nodes"])
    model = converter.convert()
    if variant.calibrated and variant.output_type == "float32":
        model = with_float_scores(model)
    Path(job["output"]).write_bytes(model)


def representative(images: np.ndarray, preprocessing: Preprocessing, margin: float = 1.0) -> Iterator[list[np.ndarray]]:
    """Yield the model's inputs for the calibration images, times `margin`.

    One pixel of the first image is set to black and one to white. The calibrated range of the input is then exactly
    that of pixels from 0 to 255, so that a uint8 input takes raw pixels.
    """
    images[0, 0, 0], images[0, -1, -1] = 0, 255
    for image in images:
        yield [preprocessing.normalize(image[None].astype(np.float32)) * np.float32(margin)]


def with_float_scores(model: bytes) -> bytes:
    """Return a quantized model of float output with its last softmax or sigmoid in float32.

    The converter computes the scores in int8, in steps of 1/256, and then converts them. Here the conversion changes
    places with the softmax or sigmoid before it, so that classes do not tie in the 256 steps.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    opened = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    graph, codes = opened.subgraphs[0], flatbuffer_utils.schema_fb.BuiltinOperator
    movable = {codes.SOFTMAX, codes.LOGISTIC, codes.RESHAPE}
    maker = {index: place for place, operator in enumerate(graph.operators) for index in operator.outputs}

    def code(place: int) -> int:
        return opened.operatorCodes[graph.operators[place].opcodeIndex].builtinCode

    place = maker.get(graph.outputs[0])
    if place is None or code(place) != codes.DEQUANTIZE:
        return model
    while (before := maker.get(graph.operators[place].inputs[0])) is not None and code(before) in movable:
        conversion, scores = graph.operators[place], graph.operators[before]
        (output,) = conversion.outputs
        exact = copy.copy(graph.tensors[scores.inputs[0]])
        exact.type, exact.quantization = graph.tensors[output].type, None
        exact.name += b"_dequantized"
        graph.tensors.append(exact)
        conversion.inputs, conversion.outputs = [scores.inputs[0]], [len(graph.tensors) - 1]
        scores.inputs, scores.outputs = [len(graph.tensors) - 1, *scores.inputs[1:]], [output]
        graph.operators[before], graph.operators[place] = conversion, scores
        place = before
    return bytes(flatbuffer_utils.convert_object_to_bytearray(opened))


def keep_float(nodes: Sequence[str]) -> None:
    """Keep the operations with these output tensors, and all `FLOAT_OPERATIONS`, in float32.

    This patches ``_mlir_quantize``, a private function of TensorFlow's converter, for the rest of the process. The
    converter has no public setting for this. `tf.lite.experimental.QuantizationDebugger` has one, but can only make
    files with float inputs.

    Raises:
        RuntimeError: this version of TensorFlow lacks the function, or the function takes other arguments.
    """
    from tensorflow.lite.python import lite

    quantize = getattr(lite, "_mlir_quantize", None)
    settings = {"denylisted_nodes": list(nodes), "denylisted_ops": list(FLOAT_OPERATIONS)}
    if quantize is None or not settings.keys() <= inspect.signature(quantize).parameters.keys():
        raise RuntimeError("this version of TensorFlow cannot keep operations of an int8 file in float32")
    lite._mlir_quantize = functools.partial(quantize, **settings)


if __name__ == "__main__":
    answer(main)
