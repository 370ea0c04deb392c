"""TensorFlow Lite's Task Library, which Android apps have used for years, as tflite-support has it in Python.

The job: ``model`` (file), ``pictures`` (.npy file), ``classes`` (their number), ``scores`` (.npy file to write).
"""

import ctypes
import importlib.util
import sys
from pathlib import Path

import numpy as np

from keras_inception.exporting.clients.exchange import exchange
from keras_inception.utils.subprocesses import answer, run_module

# Its protocol buffers are of a generation that today's protobuf takes in this implementation alone.
ENVIRONMENT = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}


def unavailable() -> str | None:
    """Why it is not here, and how to get it; None if it is."""
    if importlib.util.find_spec("tflite_support"):
        return None
    return (
        "it needs tflite-support, which ends with Python 3.11 and has wheels for Linux on x86-64: "
        "install keras-inception[task-library]"
    )


def scores(path: Path, pictures: np.ndarray, classes: int) -> np.ndarray:
    """As `Client.scores`."""
    return exchange(lambda job: run_module(__name__, job, ENVIRONMENT), path, pictures, classes)


def main(job: dict) -> None:
    sys.modules["tensorflow"] = None  # type: ignore[assignment]  # both would register the same C++ types
    load_libusb()
    restore_get_prototype()
    from tflite_support.task import vision

    classifier = vision.ImageClassifier.create_from_file(job["model"])
    pictures = np.load(job["pictures"])
    scores = np.zeros((len(pictures), job["classes"]))
    for row, picture in zip(scores, pictures, strict=True):
        image = vision.TensorImage.create_from_array(picture)
        for category in classifier.classify(image).classifications[0].categories:
            row[category.index] = category.score
    np.save(job["scores"], scores)


def restore_get_prototype() -> None:
    """Give protobuf 6 back the method with which the Task Library's C++ part makes its messages."""
    from google.protobuf import message_factory

    if not hasattr(message_factory.MessageFactory, "GetPrototype"):
        message_factory.MessageFactory.GetPrototype = lambda _, descriptor: message_factory.GetMessageClass(descriptor)


def load_libusb() -> None:
    """Load the libusb that tflite-support links to from PyPI's libusb-package, so that no system package is needed."""
    spec = importlib.util.find_spec("libusb_package")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for library in Path(folder).glob("libusb-1.0.so*"):
            ctypes.CDLL(str(library))


if __name__ == "__main__":
    answer(main)
