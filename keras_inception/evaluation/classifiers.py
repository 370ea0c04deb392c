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


def check_classifier(source: Source) -> None:
    """Raise the errors of `open_classifier` that do not need the network to be loaded."""
    if isinstance(source, Run):
        source.check_trained()
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if not path.exists():
            raise FileNotFoundError(f"there is no run directory or .tflite file at {path}")
        if path.is_dir():
            Run(path).check_trained()


def open_classifier(source: Source) -> Classifier:
    """Open the classifier of a run or of a ``.tflite`` file.

    Args:
        source: a run directory, a `Run` or a ``.tflite`` file. A `Classifier` is returned as it is.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: the path is neither a run directory nor a TFLite classifier.
    """
    check_classifier(source)
    if isinstance(source, (str, os.PathLike)):
        if not Path(source).is_dir():
            from keras_inception.tflite.classifier import TFLiteClassifier

            return TFLiteClassifier(source)
        source = Run(Path(source))
    if isinstance(source, Run):
        return KerasClassifier(source.model(), source.labels, source.preprocessing)
    return source


def name_of(source: Source) -> str:
    """Return the path of a run or a file, or the name of another classifier."""
    return str(getattr(source, "path", source))
