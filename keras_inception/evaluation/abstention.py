"""Accuracy if a network may say "not sure": below a threshold it gives no answer (Chow 1970, 1705.08500)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SHARES = (0.95, 0.9, 0.8)  # of images to answer, for which thresholds are chosen


class Abstention(NamedTuple):
    """Accuracy of a network that answers only if its highest probability is at least `threshold`.

    Attributes:
        answered: fraction of images that are answered.
        threshold: probability below which the network is not sure.
        top1: fraction of the answers that are correct, None without answers.
    """

    answered: float
    threshold: float
    top1: float | None


def choose_thresholds(confidence: np.ndarray, shares: Sequence[float] = SHARES) -> tuple[float, ...]:
    """Return the highest threshold at which at least a share of the images is answered, for each share.

    Args:
        confidence: highest probability of each of 1 or more images, (n,).
        shares: fractions of the images, in (0, 1].
    """
    descending = np.sort(np.asarray(confidence, np.float64))[::-1]
    # Rounding, since 0.95 * 20 may exceed 19 slightly.
    return tuple(float(descending[math.ceil(round(share * len(descending), 6)) - 1]) for share in shares)


def abstentions(confidence: np.ndarray, right: np.ndarray, thresholds: Sequence[float]) -> tuple[Abstention, ...]:
    """Return the accuracy at each threshold.

    Args:
        confidence: highest probability of each of 1 or more images, (n,).
        right: whether each image is classified correctly, bool (n,).
        thresholds: probabilities, in any order.
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, bool)
    rows = []
    for threshold in thresholds:
        answered = confidence >= threshold
        count = int(answered.sum())
        top1 = int((answered & right).sum()) / count if count else None
        rows.append(Abstention(count / len(confidence), threshold, top1))
    return tuple(rows)


def shown_threshold(threshold: float) -> str:
    """Return a threshold as text, rounded down, so that as many images are answered with what is shown."""
    return f"{math.floor(threshold * 1e4) / 1e4:.4f}"


def accuracy_by_answered(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the curve of accuracy against the share of images that are answered, most confident first.

    Images of equal confidence are answered together.

    Args:
        confidence: highest probability of each of 1 or more images, (n,).
        right: whether each image is classified correctly, bool (n,).

    Returns:
        The shares, ascending in (0, 1], and the top-1 accuracy at each.
    """
    confidence = np.asarray(confidence, np.float64)
    order = np.argsort(-confidence, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True)) + 1
    return ends / len(order), np.cumsum(np.asarray(right, bool)[order])[ends - 1] / ends
