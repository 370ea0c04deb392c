"""TensorFlow Lite's Task Library, long used by Android apps, through its Python package tflite-support."""

import ctypes
import importlib.util
import sys
from pathlib import Path

import numpy as np

from keras_inception.exporting.clients import exchange
from keras_inception.exporting.clients.mediapipe_script import write_scores
from keras_inception.utils.subprocesses import answer, run_module

# Current protobuf can load the library's older generated code only with the pure-Python implementation.
ENVIRONMENT = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}


def unavailable() -> str | None:
    """Return None if the Task Library can be used here, otherwise the reason and how to install it."""
    if importlib.util.find_spec("tflite_support"):
        return None
    return (
        "it needs tflite-support, which requires Python 3.11 or older on x86-64 Linux: "
        "install keras-inception[task-library]"
    )


def scores(path: Path, images: np.ndarray, classes: int) -> np.ndarray:
    """Return the scores of the Task Library (see `keras_inception.exporting.clients`)."""
    return exchange(lambda job: run_module(__name__, job, ENVIRONMENT), path, images, classes)


def main(job: dict) -> None:
    """Run the job of the child process (`exchange`)."""
    sys.modules["tensorflow"] = None  # type: ignore[assignment]  # both would register the same C++ types
    load_libusb()
    restore_get_prototype()
    from tflite_support.task import vision

    write_scores(vision.ImageClassifier.create_from_file(job["model"]), vision.TensorImage.create_from_array, job)


def restore_get_prototype() -> None:
    """Restore a method that protobuf 6 removed: the library's C++ code calls it to create messages."""
    from google.protobuf import message_factory

    if not hasattr(message_factory.MessageFactory, "GetPrototype"):
        message_factory.MessageFactory.GetPrototype = lambda _, descriptor: message_factory.GetMessageClass(descriptor)


def load_libusb() -> None:
    """Load libusb, which tflite-support links to, from PyPI's libusb-package, so that no system package is needed."""
    spec = importlib.util.find_spec("libusb_package")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for library in Path(folder).glob("libusb-1.0.so*"):
            ctypes.CDLL(str(library))


if __name__ == "__main__":
    answer(main)
