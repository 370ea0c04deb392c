"""LiteRT on ARM: a Neoverse N1 emulated by qemu, whose features are those of phones since 2018.

Half precision is native there, sums included, as it is on no x86 processor. Emulation is slow: seconds per image.
"""

import os
from pathlib import Path

import numpy as np

from keras_inception.exporting.clients import arm64_userland
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.utils import files

SCRIPT = Path(__file__).with_name("arm64_script.py")


def unavailable() -> str | None:
    """Return None if ARM can be emulated here, otherwise the reason and how to set it up."""
    if arm64_userland.place().is_dir():
        return None
    try:
        arm64_userland.check_host()
    except arm64_userland.UnavailableError as error:
        return str(error)
    return (
        f"the emulated ARM is not set up: python -m {arm64_userland.__name__} creates it in "
        f"{arm64_userland.place().parent}, which takes apt-get and 250 MB"
    )


def scores(path: Path, images: np.ndarray, classes: int) -> np.ndarray:
    """Return LiteRT's scores on ARM (see `keras_inception.exporting.clients`)."""
    return predict(TFLiteClassifier(path, isolated=False), images)


def predict(classifier: TFLiteClassifier, images: np.ndarray) -> np.ndarray:
    """Return a file's probabilities on ARM, (n, classes).

    Args:
        classifier: the file's classifier here, which knows the preprocessing of its input.
        images: uint8 RGB (n, height, width, 3) of the input's size.

    Raises:
        ChildError: LiteRT or the emulation fails.
    """
    with files.temporary_folder() as folder:
        values, outputs = folder / "values.npy", folder / "outputs.npz"
        np.save(values, classifier.as_input(images))
        job = {"model": str(classifier.path), "values": str(values), "outputs": str(outputs), "threads": os.cpu_count()}
        arm64_userland.run(arm64_userland.place(), SCRIPT, job)
        with np.load(outputs) as found:
            return classifier.probabilities(found["scores"])
