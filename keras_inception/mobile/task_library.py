"""What a phone's Task Library makes of a file, in a process of its own: it cannot live beside TensorFlow.

The job: ``model`` (file), ``pictures`` (image files), ``classes`` (their number), ``output`` (.npy file of scores).
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from keras_inception.mobile.child import answer, run_module
from keras_inception.mobile.metadata import load_libusb


def scores(model: Path, pictures: np.ndarray, classes: int) -> np.ndarray:
    """The ImageClassifier's scores, (n, classes), of pictures, uint8 (n, height, width, 3), given as PNG files.

    Raises:
        ChildError: it refuses the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.png" for index in range(len(pictures))]
        for path, picture in zip(paths, pictures, strict=True):
            Image.fromarray(picture).save(path)
        output = Path(folder) / "scores.npy"
        job = {"model": str(model), "pictures": [str(path) for path in paths], "classes": classes}
        run_module(__name__, {**job, "output": str(output)})
        return np.load(output)


def main(job: dict) -> None:
    sys.modules["tensorflow"] = None  # type: ignore[assignment]  # both would register the same C++ types
    load_libusb()
    from tflite_support.task import vision

    classifier = vision.ImageClassifier.create_from_file(job["model"])
    scores = np.zeros((len(job["pictures"]), job["classes"]))
    for row, path in zip(scores, job["pictures"], strict=True):
        for category in classifier.classify(vision.TensorImage.create_from_file(path)).classifications[0].categories:
            row[category.index] = category.score
    np.save(job["output"], scores)


if __name__ == "__main__":
    answer(main)
