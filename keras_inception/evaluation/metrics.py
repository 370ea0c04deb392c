"""Metrics of a classifier on labeled images: accuracy, cross-entropy, the confusion matrix and calibration."""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_inception.evaluation.abstention import Abstention, shown_threshold
from keras_inception.utils import tables

if TYPE_CHECKING:
    import keras

    from keras_inception.datasets import Examples

Predict = Callable[..., np.ndarray]

BINS = 15  # confidence bins (1706.04599, section 5)
CONFUSED_PAIRS, SHOWN_PAIRS = 10, 3
VALIDATION, EVALUATED = "validation", "evaluated"
CHOSEN_ON = {
    VALIDATION: "Thresholds were chosen on validation images, to answer 95, 90 and 80 % of them.",
    EVALUATED: "Thresholds were chosen on these images themselves, to answer 95, 90 and 80 %, which flatters.",
}


class ClassResult(NamedTuple):
    """Results for one class; None where the denominator is zero.

    Attributes:
        label: name of the class.
        pictures: number of images of this class.
        top1: recall, the fraction of these images that are classified correctly.
        precision: fraction of the predictions of this class that are correct.
        f1: harmonic mean of `top1` and `precision`.
    """

    label: str
    pictures: int
    top1: float | None
    precision: float | None
    f1: float | None


class ConfusedPair(NamedTuple):
    """Two classes that are taken for each other.

    Attributes:
        first, second: names of the classes, in the order of the classes.
        first_as_second: number of images of the first that are classified as the second.
        second_as_first: number of images of the second that are classified as the first.
    """

    first: str
    second: str
    first_as_second: int
    second_as_first: int

    @property
    def pictures(self) -> int:
        """Number of images of either class that are taken for the other."""
        return self.first_as_second + self.second_as_first


class ConfidenceBin(NamedTuple):
    """Images whose highest probability is above `low` and at most `high`.

    Attributes:
        low, high: bounds of the bin.
        pictures: number of images in the bin.
        confidence: mean of their highest probabilities, None without images.
        top1: fraction of them that are classified correctly, None without images.
    """

    low: float
    high: float
    pictures: int
    confidence: float | None
    top1: float | None


@dataclass(frozen=True, eq=False)
class ImageResults:
    """The answers of a classifier to labeled images, in the order of the images.

    Attributes:
        truth: index of each image's class, (images,).
        probabilities: float32 (images, classes).
        paths: path of each image, relative to the folder of images if there is one. Empty if they have none.
        examples: the images themselves, if they were kept.
    """

    truth: np.ndarray
    probabilities: np.ndarray
    paths: tuple[str, ...] = ()
    examples: "Examples | None" = None

    def __len__(self) -> int:
        return len(self.truth)

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """Index of the likeliest class of each image, (images,)."""
        return top_k(self.probabilities, 1)[:, 0]

    @functools.cached_property
    def confidence(self) -> np.ndarray:
        """Highest probability of each image, (images,)."""
        return self.probabilities.max(axis=1)

    def mistakes(self) -> np.ndarray:
        """Return the indices of the images that are classified wrongly, those with the most confidence first."""
        wrong = np.flatnonzero(self.predicted != self.truth)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]

    def least_certain(self) -> np.ndarray:
        """Return the indices of all images, those with the least confidence first."""
        return np.argsort(self.confidence, kind="stable")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Results of a classifier on labeled images. Shares are fractions of 1. ``print`` shows a table by class.

    Attributes:
        class_names: names of the classes.
        confusion: counts of images, (classes, classes); rows are true classes, columns are predictions.
        top5: fraction of images whose class is among the five with the highest probabilities, or among all classes if
            there are fewer.
        loss: mean cross-entropy in nats; a probability of 0 counts as 1e-7, as in Keras.
        calibration: reliability diagram, in bins of equal width from 0 to 1.
        models: names of the runs or files whose probabilities were averaged.
        crops: views of each image that were averaged.
        images: the answers to each image, if they were kept. `to_dict` leaves them out.
        not_sure: accuracy if the classifier may say "not sure", for 95, 90 and 80 % of answers. Empty if unknown.
        not_sure_chosen_on: the images that these thresholds were chosen on: ``"validation"``, or ``"evaluated"``, the
            same images as were evaluated, which flatters. Empty if there are none.
    """

    class_names: tuple[str, ...]
    confusion: np.ndarray
    top5: float
    loss: float
    calibration: tuple[ConfidenceBin, ...] = ()
    models: tuple[str, ...] = ()
    crops: int = 1
    images: ImageResults | None = None
    not_sure: tuple[Abstention, ...] = ()
    not_sure_chosen_on: str = ""

    @property
    def count(self) -> int:
        """Number of images."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """Fraction of images whose class has the highest probability."""
        return int(np.trace(self.confusion)) / self.count

    @property
    def top1_interval(self) -> tuple[float, float]:
        """Bounds of the 95 % confidence interval of `top1` (Wilson 1927)."""
        return wilson(int(np.trace(self.confusion)), self.count)

    @property
    def calibration_error(self) -> float | None:
        """Expected calibration error (1706.04599, equation 3), or None if there are no bins.

        This is the gap between confidence and top-1 in an image's bin, averaged over all images.
        """
        distances = [
            pictures * abs(confidence - top1)
            for _, _, pictures, confidence, top1 in self.calibration
            if confidence is not None and top1 is not None
        ]
        return sum(distances) / self.count if distances else None

    @property
    def per_class(self) -> tuple[ClassResult, ...]:
        """One result per class, in the order of `class_names`."""
        right = np.diagonal(self.confusion).tolist()
        pictures = self.confusion.sum(axis=1).tolist()
        predicted = self.confusion.sum(axis=0).tolist()
        return tuple(
            ClassResult(name, n, _share(r, n), _share(r, p), _share(2 * r, n + p))
            for name, n, r, p in zip(self.class_names, pictures, right, predicted, strict=True)
        )

    @property
    def confused_pairs(self) -> tuple[ConfusedPair, ...]:
        """The pairs of classes that are taken for each other, those with the most images first; at most ten."""
        mistaken = np.triu(self.confusion + self.confusion.T, 1)
        most = np.argsort(-mistaken, axis=None, kind="stable")[:CONFUSED_PAIRS]
        pairs = [(first, second) for first, second in zip(*np.unravel_index(most, mistaken.shape), strict=True)]
        return tuple(
            ConfusedPair(
                *(self.class_names[first], self.class_names[second]),
                *(int(self.confusion[first, second]), int(self.confusion[second, first])),
            )
            for first, second in pairs
            if mistaken[first, second]
        )

    def to_dict(self) -> dict:
        """Return all results as a dictionary that ``json.dumps`` accepts."""
        return {
            "models": list(self.models),
            "crops": self.crops,
            "top1": self.top1,
            "top1_interval": list(self.top1_interval),
            "top5": self.top5,
            "loss": self.loss,
            "calibration_error": self.calibration_error,
            "count": self.count,
            "per_class": [row._asdict() for row in self.per_class],
            "calibration": [each._asdict() for each in self.calibration],
            "not_sure": [row._asdict() for row in self.not_sure],
            "not_sure_chosen_on": self.not_sure_chosen_on,
            "confused_pairs": [pair._asdict() for pair in self.confused_pairs],
            "labels": list(self.class_names),
            "confusion": self.confusion.tolist(),
        }

    def __str__(self) -> str:
        columns = tables.columns("label", "pictures", "top1", "precision", "f1")
        low, high = self.top1_interval
        top1 = f"top-1 {self.top1:.1%} (95 % interval {low:.1%} to {high:.1%})"
        error = "" if self.calibration_error is None else f", calibration error {self.calibration_error:.1%}"
        lines = [
            tables.text(columns, [row._asdict() for row in self.per_class]),
            *self._abstentions(),
            *self._confused(),
            f"{tables.number(self.count, 'image')}: {top1}, top-5 {self.top5:.1%}, loss {self.loss:.3f}{error}",
        ]
        if self.crops > 1 or len(self.models) > 1:
            crops, networks = tables.number(self.crops, "crop"), tables.number(len(self.models), "network")
            lines.append(f"Averaged over {crops} of each image and {networks}.")
        return "\n".join(lines)

    def _abstentions(self) -> list[str]:
        """Return a table of the accuracy with "not sure", and the images that the thresholds were chosen on."""
        if not self.not_sure:
            return []
        rows = [{**row._asdict(), "threshold": shown_threshold(row.threshold)} for row in self.not_sure]
        return [tables.text(tables.columns("threshold", "answered", "top1"), rows), CHOSEN_ON[self.not_sure_chosen_on]]

    def _confused(self) -> list[str]:
        """Return a line with the pairs of classes that are confused the most."""
        shown = [f"{pair.first} and {pair.second} ({pair.pictures})" for pair in self.confused_pairs[:SHOWN_PAIRS]]
        return [f"Most often confused: {', '.join(shown)}"] if shown else []


def top_k(probabilities: np.ndarray, k: int = 5) -> np.ndarray:
    """Return the indices of the k highest probabilities, in descending order: (..., classes) -> (..., min(k, classes)).

    Ties, which are normal among the 256 steps of a uint8 softmax, are broken by the lower index.

    Raises:
        ValueError: `k` is below 1.
    """
    if k < 1:
        raise ValueError(f"`k` must be 1 or more. Received: k={k}")
    # Unsigned integers cannot be negated for a descending sort.
    return np.argsort(-np.asarray(probabilities, dtype=np.float64), axis=-1, kind="stable")[..., :k]


def evaluate_batches(
    predict: Predict,
    batches: Iterable,
    class_names: Sequence[str],
    *,
    keep: bool = False,
    on_batch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Evaluate a prediction function on batches of inputs and labels.

    `keras_inception.evaluate` does this for a run or a file and a folder of images.

    Args:
        predict: function from the inputs of a batch to probabilities in [0, 1], (batch, ...) -> (batch, classes), such
            as the result of `keras_predictor`.
        batches: pairs of inputs and labels as arrays or tensors, such as a `tf.data.Dataset`. Labels are class indices,
            (batch,).
        class_names: names of the classes.
        keep: keep the answers to each image as `Evaluation.images`, 4 bytes for each image and class.
        on_batch: called after every batch with its number of images, for a progress bar.

    Raises:
        ValueError: a label has no class name; `predict` returns the wrong shape or values that are not probabilities;
            or there are no images.
    """
    classes = len(class_names)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    pictures, sure, right = np.zeros(BINS, np.int64), np.zeros(BINS), np.zeros(BINS)
    among_five, loss = 0, 0.0
    truths, answers = [], []
    for x, y in batches:
        truth = _checked_truth(y, classes)
        probabilities = _checked_probabilities(predict(x), (len(truth), classes))
        best = top_k(probabilities)
        np.add.at(confusion, (truth, best[:, 0]), 1)
        among_five += int((best == truth[:, None]).sum())
        of_truth = probabilities[np.arange(len(truth)), truth]
        loss -= float(np.log(np.maximum(of_truth, 1e-7)).sum())
        confidence = probabilities.max(axis=1)
        bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
        for sums, values in ((pictures, 1), (sure, confidence), (right, best[:, 0] == truth)):
            np.add.at(sums, bins, values)
        if keep:
            truths.append(truth)
            answers.append(probabilities.astype(np.float32))
        if on_batch:
            on_batch(len(truth))
    count = int(confusion.sum())
    if not count:
        raise ValueError("there is nothing to evaluate: `batches` contains no images")
    calibration = tuple(
        ConfidenceBin(index / BINS, (index + 1) / BINS, n, _share(s, n), _share(r, n))
        for index, (n, s, r) in enumerate(zip(pictures.tolist(), sure.tolist(), right.tolist(), strict=True))
    )
    images = ImageResults(np.concatenate(truths), np.concatenate(answers)) if keep else None
    return Evaluation(tuple(class_names), confusion, among_five / count, loss / count, calibration, images=images)


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, (low, high), for `successes` in 1 or more `trials`."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = successes / trials, z * z / trials
    middle = share + weight / 2
    reach = z * math.sqrt(share * (1 - share) / trials + weight / (4 * trials))
    low, high = (middle - reach) / (1 + weight), (middle + reach) / (1 + weight)
    return max(min(low, share), 0.0), min(max(high, share), 1.0)  # rounding may exceed these bounds slightly


def keras_predictor(model: "keras.Model") -> Predict:
    """Return a function from a batch of network inputs to probabilities, (batch, ...) -> (batch, classes), in NumPy.

    Auxiliary heads are dropped. Later changes to the weights of `model` take effect. A batch smaller than the largest
    so far, such as the last one, is padded so that the network is not traced again.

    Raises:
        ValueError: the model is not functional, or has several outputs and none named ``predictions``.
    """
    from keras_inception.models.inference import without_heads

    network = without_heads(model)
    rows = 0

    def predict(x) -> np.ndarray:
        nonlocal rows
        x = np.asarray(x)
        if network.inputs[0].shape[0] == 1:
            return np.concatenate([network.predict_on_batch(row[None]) for row in x])
        rows = max(rows, len(x))
        filled = np.pad(x, [(0, rows - len(x))] + [(0, 0)] * (x.ndim - 1))
        return network.predict_on_batch(filled)[: len(x)]

    return predict


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _checked_truth(y, classes: int) -> np.ndarray:
    truth = np.asarray(y)
    if truth.ndim != 1 or not np.issubdtype(truth.dtype, np.integer):
        raise ValueError(f"labels of a batch must be class indices, (batch,). Received: {truth.dtype} {truth.shape}")
    outside = truth[(truth < 0) | (truth >= classes)]
    if outside.size:
        raise ValueError(f"a class index must be in 0 to {classes - 1}. Received: {outside[0]}")
    return truth


def _checked_probabilities(values, shape: tuple[int, int]) -> np.ndarray:
    probabilities = np.asarray(values, dtype=np.float64)
    if probabilities.shape != shape:
        raise ValueError(f"`predict` must return probabilities of shape {shape}. Received: {probabilities.shape}")
    outside = probabilities[~((probabilities >= 0) & (probabilities <= 1 + 1e-3))]  # also true for NaN
    if outside.size:
        raise ValueError(f"`predict` must return probabilities, in [0, 1]. Received: {outside[0]}")
    return probabilities
