"""One face for whatever classifies: a run directory or an exported file."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import Run

if TYPE_CHECKING:
    import keras


class Classifier(Protocol):
    """What `open_classifier` returns."""

    labels: tuple[str, ...]
    preprocessing: Preprocessing

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """Probabilities, (n, classes), of RGB pictures that `preprocessing.fit` has made, (n, height, width, 3)."""


class KerasClassifier:
    """A Keras network with its labels and preprocessing, as a `Classifier`."""

    def __init__(self, model: "keras.Model", labels: tuple[str, ...], preprocessing: Preprocessing):
        from keras_inception.evaluation.metrics import keras_predictor
        from keras_inception.models.inference import inference_model

        self.labels = labels
        self.preprocessing = preprocessing
        self._predict = keras_predictor(inference_model(model))

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        return self._predict(self.preprocessing.normalize(np.asarray(pictures, np.float32)))


def check_classifier(path: str | os.PathLike) -> None:
    """Raise what `open_classifier` raises of a path at which there is no run directory and no file."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no run directory or .tflite file at {path}")
    if path.is_dir():
        Run(path).check_trained()


def open_classifier(path: str | os.PathLike) -> Classifier:
    """The classifier in a run directory or in a ``.tflite`` file.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: neither a run directory nor a TFLite classifier.
    """
    check_classifier(path)
    path = Path(path)
    if path.is_dir():
        run = Run(path)
        return KerasClassifier(run.model(), run.labels, run.preprocessing)
    from keras_inception.tflite.classifier import TFLiteClassifier

    return TFLiteClassifier(path)
