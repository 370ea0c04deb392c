"""Classify image files with runs and exported files."""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, overload

from keras_inception import datasets
from keras_inception.evaluation.classifiers import Source, check_classifier, open_classifier
from keras_inception.evaluation.metrics import top_k


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


@dataclass(frozen=True)
class Predictions(Sequence[Prediction]):
    """A sequence of predictions, one per image. ``print`` shows a line for each."""

    rows: tuple[Prediction, ...]

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Prediction]: ...
    def __getitem__(self, index):
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def to_dict(self) -> list[dict]:
        """Return a list of dictionaries that ``json.dumps`` accepts, one per image."""
        return [row.to_dict() for row in self.rows]

    def __str__(self) -> str:
        return "\n".join(map(str, self.rows))


def predict(source: Source, images: str | os.PathLike | Sequence[str | os.PathLike], *, top: int = 5) -> Predictions:
    """Classify image files with a trained or exported network.

    ``keras_inception.predict("exported/model_int8.tflite", "cat.jpg")[0].top[0]`` is
    ``Guess(label="cat", probability=0.97)``.

    Args:
        source: a run directory, a `Run`, a ``.tflite`` file, or a `Classifier`.
        images: path of an image, or several.
        top: number of classes to return per image.

    Raises:
        FileNotFoundError: an image or the source does not exist.
        ValueError: an image cannot be read; the source is not a classifier; or `top` is below 1.
    """
    check_prediction(source, images)
    paths = _paths(images)
    pictures = list(map(datasets.read_picture, paths))
    classifier = open_classifier(source)
    rows = []
    for path, picture in zip(paths, pictures, strict=True):
        (probabilities,) = classifier.predict(classifier.preprocessing.fit(picture)[None])
        best = (Guess(classifier.labels[index], float(probabilities[index])) for index in top_k(probabilities, top))
        rows.append(Prediction(path, tuple(best)))
    return Predictions(tuple(rows))


def check_prediction(source: Source, images: str | os.PathLike | Sequence[str | os.PathLike]) -> None:
    """Raise the errors of `predict` about paths that do not exist, before a network is loaded."""
    for path in _paths(images):
        if not Path(path).exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    check_classifier(source)


def _paths(images: str | os.PathLike | Sequence[str | os.PathLike]) -> list[str]:
    return [str(images)] if isinstance(images, (str, os.PathLike)) else list(map(str, images))
