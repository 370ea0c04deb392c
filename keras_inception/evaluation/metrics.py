"""How good a classifier is on labelled pictures: top-1, top-5, class by class, what it takes for what, and whether it
is as sure as it is right."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import keras

Predict = Callable[..., np.ndarray]

BINS = 15  # of confidence (1706.04599, section 5)


class ClassResult(NamedTuple):
    """One class: its number of pictures, the share of them that was recognised (its recall), the share of the
    predictions of this class that were right, and the harmonic mean of the two. None where there is nothing to divide
    by."""

    label: str
    pictures: int
    top1: float | None
    precision: float | None
    f1: float | None


class ConfidenceBin(NamedTuple):
    """The pictures whose likeliest class had a probability above `low` and up to `high`: how many they are, the mean of
    the probabilities, and the share of the pictures whose class it was. None where there are no pictures."""

    low: float
    high: float
    pictures: int
    confidence: float | None
    top1: float | None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a classifier did with labelled pictures. Shares are fractions of 1.

    Attributes:
        labels: names of the classes.
        confusion: (classes, classes) numbers of pictures; the row is the truth, the column the prediction.
        top5: share of the pictures whose class was among the five likeliest (among all, if there are fewer).
        loss: mean cross-entropy in nats; a probability of 0 counts as 1e-7, as in Keras.
        calibration: bins of equal width of the likeliest class's probability, from 0 to 1: a reliability diagram.
    """

    labels: tuple[str, ...]
    confusion: np.ndarray
    top5: float
    loss: float
    calibration: tuple[ConfidenceBin, ...] = ()

    @property
    def count(self) -> int:
        """Number of pictures."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """Share of the pictures whose class was the likeliest."""
        return int(np.trace(self.confusion)) / self.count

    @property
    def top1_interval(self) -> tuple[float, float]:
        """Bounds of `top1` that hold the classifier's true share with 95 % confidence (Wilson 1927)."""
        return wilson(int(np.trace(self.confusion)), self.count)

    @property
    def calibration_error(self) -> float | None:
        """Expected calibration error: the mean distance of confidence and top-1 in a picture's bin (1706.04599,
        equation 3); None if there are no bins."""
        distances = [
            pictures * abs(confidence - top1)
            for _, _, pictures, confidence, top1 in self.calibration
            if confidence is not None and top1 is not None
        ]
        return sum(distances) / self.count if distances else None

    @property
    def per_class(self) -> tuple[ClassResult, ...]:
        """One row a class, in the order of the labels."""
        right = np.diagonal(self.confusion).tolist()
        pictures = self.confusion.sum(axis=1).tolist()
        predicted = self.confusion.sum(axis=0).tolist()
        return tuple(
            ClassResult(label, n, _share(r, n), _share(r, p), _share(2 * r, n + p))
            for label, n, r, p in zip(self.labels, pictures, right, predicted, strict=True)
        )

    def to_dict(self) -> dict:
        """Everything as values that JSON has."""
        return {
            "top1": self.top1,
            "top1_interval": list(self.top1_interval),
            "top5": self.top5,
            "loss": self.loss,
            "calibration_error": self.calibration_error,
            "count": self.count,
            "per_class": [row._asdict() for row in self.per_class],
            "calibration": [each._asdict() for each in self.calibration],
            "labels": list(self.labels),
            "confusion": self.confusion.tolist(),
        }


def top_k(probabilities: np.ndarray, k: int = 5) -> np.ndarray:
    """Indices of the k likeliest classes, likeliest first: (..., classes) -> (..., min(k, classes)).

    Equal probabilities, normal in the 256 steps of a uint8 softmax, come in the order of their indices.
    """
    if k < 1:
        raise ValueError(f"`k` must be 1 or more. Received: k={k}")
    # Unsigned integers have no negative to sort by.
    return np.argsort(-np.asarray(probabilities, dtype=np.float64), axis=-1, kind="stable")[..., :k]


def evaluate(
    predict: Predict,
    batches: Iterable[tuple],
    labels: Sequence[str],
    *,
    on_batch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Compare a classifier's predictions with the truth, batch by batch.

    Args:
        predict: function from a batch's inputs to probabilities, (batch, ...) -> (batch, classes), in [0, 1]; see
            `keras_predictor`.
        batches: pairs of inputs and class indices (batch,), arrays or tensors; a `tf.data.Dataset` is such.
        labels: names of the classes.
        on_batch: called after every batch with its number of pictures, for a progress bar.

    Raises:
        ValueError: a class index has no label, `predict` gives another number of classes or pictures, or what are
            not probabilities, or there are no pictures at all.
    """
    classes = len(labels)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    pictures, sure, right = np.zeros(BINS, np.int64), np.zeros(BINS), np.zeros(BINS)
    among_five, loss = 0, 0.0
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
        if on_batch:
            on_batch(len(truth))
    count = int(confusion.sum())
    if not count:
        raise ValueError("there is nothing to evaluate: `batches` holds no pictures")
    calibration = tuple(
        ConfidenceBin(index / BINS, (index + 1) / BINS, n, _share(s, n), _share(r, n))
        for index, (n, s, r) in enumerate(zip(pictures.tolist(), sure.tolist(), right.tolist(), strict=True))
    )
    return Evaluation(tuple(labels), confusion, among_five / count, loss / count, calibration)


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share, (low, high), for `successes` of 1 or more `trials`."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = successes / trials, z * z / trials
    middle = share + weight / 2
    reach = z * math.sqrt(share * (1 - share) / trials + weight / (4 * trials))
    low, high = (middle - reach) / (1 + weight), (middle + reach) / (1 + weight)
    return max(min(low, share), 0.0), min(max(high, share), 1.0)  # which rounding leaves by a hair


def keras_predictor(model: "keras.Model") -> Predict:
    """Function from a batch of network input to probabilities, (batch, ...) -> (batch, classes), as NumPy arrays.

    Auxiliary heads are left out, and weights that `model` is given later count. The network is compiled once: a batch
    smaller than the largest so far, as the last one is, is filled up rather than traced anew.

    Raises:
        ValueError: the model is not functional, or has several outputs and none named ``predictions``.
    """
    from keras_inception.models.inference import without_heads

    network = without_heads(model)
    rows = 0

    def predict(x) -> np.ndarray:
        nonlocal rows
        x = np.asarray(x)
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
        raise ValueError(f"`predict` must give probabilities of shape {shape}. Received: {probabilities.shape}")
    outside = probabilities[~((probabilities >= 0) & (probabilities <= 1 + 1e-3))]  # NaN is neither
    if outside.size:
        raise ValueError(f"`predict` must give probabilities, in [0, 1]. Received: {outside[0]}")
    return probabilities
