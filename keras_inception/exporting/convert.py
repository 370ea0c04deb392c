"""Convert a SavedModel to .tflite in a child process: the converter leaks memory and prints hundreds of lines.

The job has ``saved_model`` (folder), ``variant`` (fields of the `Variant`), ``output`` (file) and ``float_nodes``
(output tensors of operations that stay in float32). A calibrated variant also uses ``calibration`` (.npy file of uint8
RGB images, (n, height, width, 3)) and ``preprocessing`` (JSON of the `Preprocessing` from these images to the input).
``calibration`` is None for a network that was trained for int8.
"""

import dataclasses
import functools
import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_inception.exporting.variants import Variant
from keras_inception.preprocessing import Preprocessing
from keras_inception.utils.subprocesses import answer, run_module

# Pixels normalized to -1 to 1 fall halfway between the 255 quantization steps of that range, so the last digit of a
# client's float32 decides which way they round. With steps wider by 0.1 %, all clients round alike.
FLOAT_MARGIN = 1.001
# TensorFlow 2.20 quantizes DIV, and 2.21 also SQRT, but XNNPACK runs both only in float32. With both in int8, the
# paper's GoogLeNet takes four times as long, because its LRN uses them.
FLOAT_OPERATIONS = ("DIV", "SQRT")


def convert(
    saved_model: Path,
    variant: Variant,
    output: Path,
    calibration: Path | None,
    input_preprocessing: Preprocessing,
    float_nodes: Sequence[str] = (),
) -> None:
    """Convert a SavedModel in a child process. The module's docstring describes the arguments.

    Raises:
        ChildError: the conversion fails.
    """
    job = {
        "saved_model": str(saved_model),
        "variant": dataclasses.asdict(variant),
        "output": str(output),
        "calibration": calibration and str(calibration),
        "preprocessing": input_preprocessing.to_json(),
        "float_nodes": list(float_nodes),
    }
    run_module(__name__, job)


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
    Path(job["output"]).write_bytes(converter.convert())


def representative(images: np.ndarray, preprocessing: Preprocessing, margin: float = 1.0) -> Iterator[list[np.ndarray]]:
    """Yield the model's inputs for the calibration images, times `margin`.

    One pixel of the first image is set to black and one to white. The calibrated range of the input is then exactly
    that of pixels from 0 to 255, so that a uint8 input takes raw pixels.
    """
    images[0, 0, 0], images[0, -1, -1] = 0, 255
    for image in images:
        yield [preprocessing.normalize(image[None].astype(np.float32)) * np.float32(margin)]


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
