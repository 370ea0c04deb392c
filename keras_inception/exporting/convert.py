"""SavedModel to .tflite, in a process of its own: the converter leaks memory and prints hundreds of lines.

The job: ``saved_model`` (folder), ``variant``, ``output`` (file), and for int8 ``calibration`` (.npy file of uint8 RGB
pictures, (n, height, width, 3)) with ``given`` (JSON of the `Preprocessing` from those to the model's input); None for
a network that has been trained for int8. ``float_nodes`` are the output tensors of operations that stay in float32;
with ``float_io`` input and output of int8 do too.
"""

import functools
import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_inception.preprocessing import Preprocessing
from keras_inception.utils.subprocesses import answer, run_module

# Pixels from -1 to 1 lie half-way between 255 steps of that range, where the last digit of a client's float32 decides
# which way they are rounded. In steps a thousandth wider all are rounded to the middle.
FLOAT_MARGIN = 1.001
# TensorFlow 2.20 quantizes DIV and 2.21 SQRT too, which XNNPACK takes in float32 alone: with them in int8 the paper's
# GoogLeNet, whose LRN has both, takes four times as long.
FLOAT_OPERATIONS = ("DIV", "SQRT")


def convert(
    saved_model: Path,
    variant: str,
    output: Path,
    calibration: Path | None,
    given: Preprocessing,
    float_nodes: Sequence[str] = (),
    float_io: bool = False,
) -> None:
    """Convert in a process of its own; ChildError if that fails."""
    job = {
        "saved_model": str(saved_model),
        "variant": variant,
        "output": str(output),
        "calibration": calibration and str(calibration),
        "given": given.to_json(),
        "float_nodes": list(float_nodes),
        "float_io": float_io,
    }
    run_module(__name__, job)


def main(job: dict) -> None:
    for unused in ("jax", "keras", "matplotlib"):  # what TensorFlow begins with, in a third of its time
        sys.modules[unused] = None  # type: ignore[assignment]
    import tensorflow as tf

    variant = job["variant"]
    converter = tf.lite.TFLiteConverter.from_saved_model(job["saved_model"])
    if variant != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if variant == "int8":
        if job["calibration"]:
            given, margin = Preprocessing.from_json(job["given"]), FLOAT_MARGIN if job["float_io"] else 1.0
            converter.representative_dataset = lambda: representative(np.load(job["calibration"]), given, margin)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if not job["float_io"]:
            converter.inference_input_type = converter.inference_output_type = tf.uint8
    if variant == "int8":
        _keep_float(job["float_nodes"])
    Path(job["output"]).write_bytes(converter.convert())


def representative(pictures: np.ndarray, given: Preprocessing, margin: float = 1.0) -> Iterator[list[np.ndarray]]:
    """The model's inputs for the calibration pictures, times `margin`.

    The first picture gets a black and a white pixel, so that the input's range, and with it the meaning of the uint8
    input, is exactly that of pixels from 0 to 255.
    """
    pictures[0, 0, 0], pictures[0, -1, -1] = 0, 255
    for picture in pictures:
        yield [given.normalize(picture[None].astype(np.float32)) * np.float32(margin)]


def _keep_float(nodes: list[str]) -> None:
    """Keep operations of these output tensors, and all of `FLOAT_OPERATIONS`, in float32.

    The converter has no setting for it; `QuantizationDebugger` has, but its files have float inputs. So a private
    function of TensorFlow is replaced.

    Raises:
        RuntimeError: this TensorFlow has no such function, or one that takes other arguments.
    """
    from tensorflow.lite.python import lite

    quantize = getattr(lite, "_mlir_quantize", None)
    settings = {"denylisted_nodes": nodes, "denylisted_ops": list(FLOAT_OPERATIONS)}
    if quantize is None or not settings.keys() <= inspect.signature(quantize).parameters.keys():
        raise RuntimeError("this version of TensorFlow cannot keep operations of an int8 file in float32")
    lite._mlir_quantize = functools.partial(quantize, **settings)


if __name__ == "__main__":
    answer(main)
