"""TensorFlow Lite's Task Library, which Android apps have used for years, in its Python form, tflite-support."""

import ctypes
import importlib.util
import sys
from pathlib import Path

import numpy as np

from keras_inception.exporting.clients import exchange
from keras_inception.exporting.clients.mediapipe_script import write_scores
from keras_inception.utils.subprocesses import answer, run_module

# Today's protobuf reads the library's older generated code with this implementation only.
ENVIRONMENT = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}


def unavailable() -> str | None:
    """Return why it cannot be used here, and how to install it; None if it can."""
    if importlib.util.find_spec("tflite_support"):
        return None
    return (
        "it needs tflite-support, which supports Python up to 3.11, on Linux and x86-64: "
        "install keras-inception[task-library]"
    )


def scores(path: Path, images: np.ndarray, classes: int) -> np.ndarray:
    """Return the client's scores (`keras_inception.exporting.clients`)."""
    return exchange(lambda job: run_module(__name__, job, ENVIRONMENT), path, images, classes)


def main(job: dict) -> None:
    """Do the job of the child process (`exchange`)."""
    sys.modules["tensorflow"] = None  # type: ignore[assignment]  # both would register the same C++ types
    load_libusb()
    restore_get_prototype()
    from tflite_support.task import vision

    write_scores(vision.ImageClassifier.create_from_file(job["model"]), vision.TensorImage.create_from_array, job)


def restore_get_prototype() -> None:
    """Restore the method of protobuf, removed in version 6, with which the library's C++ part creates messages."""
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
