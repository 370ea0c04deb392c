"""Classify images with runs and exported files."""

import errno
import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from keras_inception.datasets.unlabeled import Candidate, Images, each_of, find_images, is_there
from keras_inception.evaluation.classifiers import (
    Classifier,
    KerasClassifier,
    Labels,
    Source,
    check_description,
    open_classifier,
)
from keras_inception.evaluation.metrics import top_k
from keras_inception.model_files import check_custom_objects
from keras_inception.preprocessing import Preprocessing

BATCH = 8  # images that Keras classifies at once
READERS = 2  # images that are decoded at once, each of which may take 100 MB


class Guess(NamedTuple):
    """A class name and its probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, in descending order.

    Attributes:
        path: path of the image; or ``image 0`` and so on for images in memory.
        top: the classes. It is empty if the image cannot be read.
        error: the reason why the image cannot be read, or None.
    """

    path: str
    top: tuple[Guess, ...] = ()
    error: str | None = None

    def to_dict(self) -> dict:
        """Return a dictionary that ``json.dumps`` accepts: ``path``, and either ``top`` or ``error``."""
        if self.error is not None:
            return {"path": self.path, "error": self.error}
        return {"path": self.path, "top": [guess._asdict() for guess in self.top]}

    def __str__(self) -> str:
        answer = self.error or ", ".join(f"{name} {probability:.1%}" for name, probability in self.top)
        return f"{self.path}: {answer}"


class Predictions(Iterator[Prediction]):
    """An iterator of predictions, one per image, each of which is made when it is asked for and then forgotten.

    Indexing, ``print`` and `to_dict` classify all images that are left, and keep their predictions.
    """

    def __init__(self, predictions: Iterable[Prediction]):
        self._predictions = iter(predictions)
        self._kept: list[Prediction] | None = None

    def __iter__(self) -> Iterator[Prediction]:
        return self if self._kept is None else iter(self._kept)

    def __next__(self) -> Prediction:
        return next(self._predictions)

    def __getitem__(self, index):
        return self._rest()[index]

    def to_dict(self) -> list[dict]:
        """Return a list of dictionaries that ``json.dumps`` accepts, one per image."""
        return [prediction.to_dict() for prediction in self._rest()]

    def __str__(self) -> str:
        return "\n".join(map(str, self._rest()))

    def _rest(self) -> list[Prediction]:
        if self._kept is None:
            self._kept = list(self._predictions)
            self._predictions = iter(self._kept)
        return self._kept


class Answer(NamedTuple):
    """What a network says about one image.

    Attributes:
        path: as in `Prediction`.
        picture: the image as it was fitted to the network's input, uint8 RGB, or None if it cannot be read.
        probabilities: of all classes, (classes,), or None.
        error: the reason why the image cannot be read, or None.
    """

    path: str
    picture: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    error: str | None = None

    def prediction(self, class_names: Sequence[str], top: int) -> Prediction:
        """Return the most probable classes."""
        if self.probabilities is None:
            return Prediction(self.path, error=self.error)
        best = top_k(self.probabilities, top)
        guesses = (Guess(class_names[index], float(self.probabilities[index])) for index in best)
        return Prediction(self.path, tuple(guesses))


def predict(
    source: Source,
    images: Images,
    *,
    top: int = 5,
    preprocessing: str | os.PathLike | Preprocessing | None = None,
    labels: Labels | None = None,
    custom_objects: str | os.PathLike | None = None,
) -> Predictions:
    """Classify images with a trained or exported network.

    ``keras_inception.predict("exported/model_int8.tflite", "cat.jpg")[0].top[0]`` is
    ``Guess(label="cat", probability=0.97)``. The predictions of many images come one after the other::

        for prediction in keras_inception.predict("run", "photographs"):
            print(prediction)

    An image that cannot be read yields a prediction with an `error`, and the others follow.

    Args:
        source: a run directory, a `Run`, a ``.tflite`` file, a model file (`keras_inception.load`), or a `Classifier`.
        images: the path of an image or of a folder, of which all images below it are classified; a pattern, such as
            ``"photographs/**/*.jpg"``; a PIL image; uint8 pixels, (height, width), or (height, width, 1, 3 or 4) for
            gray, RGB or RGBA; or several of these. Images of an iterator are taken when their predictions are asked
            for. Others are read ahead, and a run or a model file classifies a few of them at once.
        top: number of classes to return per image.
        preprocessing: preprocessing of a file: a `Preprocessing`, the name of one, or its JSON file. It is required for
            a model file, and for a ``.tflite`` file that does not say how its input is normalized; otherwise, it takes
            precedence.
        labels: class names of a file, or a text file with one per line. Default: those in a ``.tflite`` file.
        custom_objects: Python file with the classes and functions of a run's network or a model file, which is run
            (`keras_inception.load`).

    Raises:
        FileNotFoundError: the source does not exist.
        ValueError: `images` are neither paths nor images; the source is not a classifier; `top` is below 1; or
            `preprocessing` or `labels` is invalid, missing, or given for anything but a file.
    """
    options: dict[str, Any] = {"preprocessing": preprocessing, "labels": labels, "custom_objects": custom_objects}
    check_prediction(source, images, **options, top=top)
    class_names, answers = answer(source, images, **options)
    return Predictions(each.prediction(class_names, top) for each in answers)


def check_prediction(
    source: Source,
    images: Images,
    *,
    top: int = 5,
    preprocessing: str | os.PathLike | Preprocessing | None = None,
    labels: Labels | None = None,
    custom_objects: str | os.PathLike | None = None,
) -> None:
    """Raise the errors of `predict` that can be found before a network is loaded."""
    if top < 1:
        raise ValueError(f"`top` must be at least 1. Received: top={top}")
    check_custom_objects(custom_objects)
    each_of(images)
    check_description(source, preprocessing, labels)


def none_there(images: Images) -> list[Answer]:
    """Return an answer with an error for each of `images` if all are paths that do not exist, otherwise nothing.

    They are answered without a network, since loading it can take seconds.
    """
    given = each_of(images)
    if isinstance(given, Iterator) or any(map(is_there, given)):
        return []
    return [Answer(os.fsdecode(path), error=os.strerror(errno.ENOENT)) for path in given]


def answer(source: Source, images: Images, **options) -> tuple[tuple[str, ...], Iterator[Answer]]:
    """Open a network, unless `none_there`. Return the names of its classes, and its answers as `classify` yields them.

    Args:
        source: the network, as for `predict`.
        images: the images, as for `predict`.
        **options: as for `open_classifier`.
    """
    if missing := none_there(images):
        return (), iter(missing)
    classifier = open_classifier(source, **options)
    return classifier.labels, classify(classifier, images)


def classify(classifier: Classifier, images: Images) -> Iterator[Answer]:
    """Yield the answer to each image as soon as there is one.

    No more than a batch of fitted images, and `READERS` images of full size, are in memory at once.

    Args:
        classifier: the network.
        images: as for `predict`.

    Raises:
        ValueError: something in `images` is neither a path nor an image.
    """
    ahead = not isinstance(each_of(images), Iterator)  # the next image of an iterator may be long in coming
    fitted = _fitted(find_images(images), classifier.preprocessing, READERS if ahead else 0)
    size = BATCH if ahead and isinstance(classifier, KerasClassifier) else 1
    while batch := list(itertools.islice(fitted, size)):
        pictures = [answer.picture for answer in batch if answer.picture is not None]
        probabilities = iter(classifier.predict(np.stack(pictures)) if pictures else ())
        for answer in batch:
            yield answer if answer.picture is None else answer._replace(probabilities=next(probabilities))


def _fitted(candidates: Iterable[Candidate], preprocessing: Preprocessing, ahead: int) -> Iterator[Answer]:
    """Read images in threads, `ahead` of those that are asked for, and fit them to the network's input."""

    def read(candidate: Candidate) -> Answer:
        try:
            return Answer(candidate.path, preprocessing.fit(candidate.read()))
        except ValueError as error:
            return Answer(candidate.path, error=str(error))

    waiting: deque[Future[Answer]] = deque()
    with ThreadPoolExecutor(READERS) as pool:
        for candidate in candidates:
            waiting.append(pool.submit(read, candidate))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
