"""A common interface for classifiers: a run directory, an exported file or a Keras model."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import Run

if TYPE_CHECKING:
    import keras


class Classifier(Protocol):
    """The interface that `open_classifier` returns.

    Attributes:
        labels: names of the classes.
        preprocessing: turns an image into the network's input.
    """

    labels: tuple[str, ...]
    preprocessing: Preprocessing

    def predict(self, pictures: np.ndarray, /) -> np.ndarray:
        """Return probabilities, (n, classes), for RGB images, (n, height, width, 3), from `preprocessing.fit`."""


Source = str | os.PathLike | Run | Classifier


class KerasClassifier:
    """A Keras model with class names and preprocessing, as a `Classifier`.

    Args:
        model: a functional classifier; auxiliary heads are dropped.
        labels: names of the classes.
        preprocessing: turns an image into the model's input.
    """

    def __init__(self, model: "keras.Model", labels: tuple[str, ...], preprocessing: Preprocessing):
        from keras_inception.evaluation.metrics import keras_predictor
        from keras_inception.models.inference import inference_model

        self.labels = labels
        self.preprocessing = preprocessing
        self._name = model.name
        self._predict = keras_predictor(inference_model(model))

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """Return probabilities, (n, classes), for RGB images, (n, height, width, 3), from `preprocessing.fit`."""
        return self._predict(self.preprocessing.normalize(np.asarray(pictures, np.float32)))

    def __str__(self) -> str:
        return self._name


def located(source: Source) -> Run | Path | Classifier:
    """Return the run or the file at a path; a `Run` or a `Classifier` is returned as it is. Nothing heavy is loaded.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: the path is a directory but not a run directory, or the run has no finished epoch.
    """
    if isinstance(source, (str, os.PathLike)):
        source = Path(source)
        if not source.exists():
            raise FileNotFoundError(f"there is no run directory or .tflite file at {source}")
        source = Run(source) if source.is_dir() else source
    if isinstance(source, Run):
        source.check_trained()
    return source


def open_classifier(source: Source, custom_objects: str | os.PathLike | None = None) -> Classifier:
    """Open the classifier of a run or of a ``.tflite`` file.

    Args:
        source: a run directory, a `Run` or a ``.tflite`` file. A `Classifier` is returned as it is.
        custom_objects: as for `keras_inception.load`, for a run.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: the path is neither a run directory nor a TFLite classifier.
    """
    found = located(source)
    if isinstance(found, Run):
        return KerasClassifier(found.model(custom_objects), found.labels, found.preprocessing)
    if isinstance(found, Path):
        from keras_inception.tflite.classifier import TFLiteClassifier

        return TFLiteClassifier(found)
    return found


def name_of(source: Source) -> str:
    """Return the path of a run or a file, or the name of another classifier."""
    return str(getattr(source, "path", source))
