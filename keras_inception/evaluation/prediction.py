"""Classify image files with runs and exported files."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from keras_inception import datasets
from keras_inception.evaluation.classifiers import Labels, Source, check_description, open_classifier
from keras_inception.evaluation.metrics import top_k
from keras_inception.model_files import check_custom_objects
from keras_inception.preprocessing import Preprocessing


class Guess(NamedTuple):
    """A class name and its probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, in descending order."""

    path: str
    top: tuple[Guess, ...]

    def to_dict(self) -> dict:
        """Return the prediction as a dictionary that ``json.dumps`` accepts."""
        return {"path": self.path, "top": [guess._asdict() for guess in self.top]}

    def __str__(self) -> str:
        return f"{self.path}: " + ", ".join(f"{name} {probability:.1%}" for name, probability in self.top)


class Predictions(tuple[Prediction, ...]):
    """A tuple of predictions, one per image. ``print`` shows a line for each."""

    def to_dict(self) -> list[dict]:
        """Return a list of dictionaries that ``json.dumps`` accepts, one per image."""
        return [prediction.to_dict() for prediction in self]

    def __str__(self) -> str:
        return "\n".join(map(str, self))


def predict(
    source: Source,
    images: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    top: int = 5,
    preprocessing: str | os.PathLike | Preprocessing | None = None,
    labels: Labels | None = None,
    custom_objects: str | os.PathLike | None = None,
) -> Predictions:
    """Classify image files with a trained or exported network.

    ``keras_inception.predict("exported/model_int8.tflite", "cat.jpg")[0].top[0]`` is
    ``Guess(label="cat", probability=0.97)``.

    Args:
        source: a run directory, a `Run`, a ``.tflite`` file, a model file (`keras_inception.load`), or a `Classifier`.
        images: path of an image, or a sequence of paths.
        top: number of classes to return per image.
        preprocessing: preprocessing of a file: a `Preprocessing`, the name of one, or its JSON file. It is required for
            a model file, and for a ``.tflite`` file that does not say how its input is normalized; otherwise, it takes
            precedence.
        labels: class names of a file, or a text file with one per line. Default: those in a ``.tflite`` file.
        custom_objects: Python file with the classes and functions of a run's network or a model file, which is run
            (`keras_inception.load`).

    Raises:
        FileNotFoundError: an image or the source does not exist.
        ValueError: an image cannot be read; the source is not a classifier; `top` is below 1; or `preprocessing` or
            `labels` is invalid, missing, or given for anything but a file.
    """
    options: dict[str, Any] = {"preprocessing": preprocessing, "labels": labels, "custom_objects": custom_objects}
    check_prediction(source, images, **options)
    paths = _paths(images)
    pictures = list(map(datasets.read_picture, paths))
    classifier = open_classifier(source, **options)
    found = []
    for path, picture in zip(paths, pictures, strict=True):
        (probabilities,) = classifier.predict(classifier.preprocessing.fit(picture)[None])
        best = (Guess(classifier.labels[index], float(probabilities[index])) for index in top_k(probabilities, top))
        found.append(Prediction(path, tuple(best)))
    return Predictions(found)


def check_prediction(
    source: Source,
    images: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    preprocessing: str | os.PathLike | Preprocessing | None = None,
    labels: Labels | None = None,
    custom_objects: str | os.PathLike | None = None,
) -> None:
    """Raise the errors of `predict` that can be found before a network is loaded."""
    check_custom_objects(custom_objects)
    for path in _paths(images):
        os.stat(path)
    check_description(source, preprocessing, labels)


def _paths(images: str | os.PathLike | Sequence[str | os.PathLike]) -> list[str]:
    paths = [images] if isinstance(images, (str, os.PathLike)) else images
    if not isinstance(paths, Iterable) or not all(isinstance(path, (str, os.PathLike)) for path in paths):
        raise ValueError(f"`images` must be the path of an image, or several. Received: {type(images).__name__}")
    return list(map(str, paths))
