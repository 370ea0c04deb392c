"""Proof that an exported file is right: against Keras, in LiteRT, and in the phone's Task Library."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_inception.evaluation import evaluate
from keras_inception.mobile import metadata, task_library
from keras_inception.mobile.classifier import TFLiteClassifier, numbered
from keras_inception.mobile.delegate import outside_delegate, outside_gpu
from keras_inception.preprocessing import Preprocessing

MIN_AGREEMENT = {"float32": 0.99, "float16": 0.99, "dynamic": 0.95, "int8": 0.95}
TASK_LIBRARY_PICTURES = 20
TASK_LIBRARY_TOLERANCE = 0.02


class Reference(NamedTuple):
    """What Keras says of the pictures that a file is held against.

    Attributes:
        pictures: uint8 RGB (n, height, width, 3).
        probabilities: (n, classes).
        truth: class numbers, (n,), or None.
    """

    pictures: np.ndarray
    probabilities: np.ndarray
    truth: np.ndarray | None


def accuracy(probabilities: np.ndarray, truth: np.ndarray | None) -> dict[str, float | None]:
    """Top-1 and top-5 as fractions of 1; None where the truth is not known."""
    if truth is None:
        return {"top1": None, "top5": None}
    result = evaluate(lambda _: probabilities, [(None, truth)], numbered(probabilities.shape[1]))
    return {"top1": result.top1, "top5": result.top5}


def agreement(probabilities: np.ndarray, reference: np.ndarray) -> float:
    """Share of the pictures for which the reference's likeliest class is the likeliest here, or one of several.

    Ties are normal in the 256 steps of a uint8 softmax; but a file that gives nothing but zeros has said nothing.
    """
    best = probabilities.max(axis=1)
    of_reference = np.take_along_axis(probabilities, reference.argmax(axis=1)[:, None], axis=1)[:, 0]
    return float(((of_reference == best) & (best > 0)).mean())


def verify(
    path: Path, variant: str, given: Preprocessing, reference: Reference, *, min_agreement: float, threads: int
) -> dict:
    """A file's row of the report; under ``refused`` it says what falls short, if anything does.

    Args:
        given: what the input is to mean (`graph.input_of`).
        min_agreement: least share of pictures on which the file and Keras name the same class.

    Raises:
        ValueError: LiteRT cannot run the file, or it gives NaN or infinity.
        ChildError: the Task Library cannot run it.
    """
    classifier = TFLiteClassifier(path, threads)
    probabilities = classifier.predict(reference.pictures)
    if not np.isfinite(probabilities).all():
        raise ValueError("it gives NaN or infinity on held-out pictures")
    row = {
        "mb": path.stat().st_size / 1e6,
        **accuracy(probabilities, reference.truth),
        "agreement": agreement(probabilities, reference.probabilities),
        "max_difference": float(np.abs(probabilities - reference.probabilities).max()),
        "latency_ms": classifier.latency_ms(),
        "outside_delegate": outside_delegate(path),
        "outside_gpu": outside_gpu(path),
        **_task_library(path, variant, reference.pictures, probabilities),
    }
    problems = []
    if row["agreement"] < min_agreement:
        share = f"{row['agreement']:.1%} of {len(reference.pictures)} pictures"
        problems.append(f"it agrees with Keras on {share}, and {min_agreement:.1%} are asked for")
    if variant == "int8" and not takes_raw_pixels(classifier.quantization, given):
        problems.append(f"its input (scale and zero point {classifier.quantization}) is not raw pixels")
    if (row["task_library"] or 0) > TASK_LIBRARY_TOLERANCE:
        problems.append(f"the Task Library's scores are up to {row['task_library']:.3f} from the interpreter's")
    return {**row, "refused": "; ".join(problems)} if problems else row


def takes_raw_pixels(quantization: tuple[float, int], given: Preprocessing) -> bool:
    """Whether a uint8 input of this (scale, zero point) means pixels, but for the rounding of the zero point."""
    scale, zero_point = quantization
    ends = np.array([0, 255])
    meant = (ends - zero_point) * scale * given.std[0] + given.mean[0]
    return bool(np.abs(meant - ends).max() < 0.51)


def _task_library(path: Path, variant: str, pictures: np.ndarray, probabilities: np.ndarray) -> dict:
    """The largest difference of the Task Library's scores from `probabilities`, or None and why."""
    missing = metadata.unavailable()
    if variant == "dynamic":
        missing = "the Task Library does not run dynamic range files"
    if missing:
        return {"task_library": None, "task_library_reason": missing}
    chosen = np.linspace(0, len(pictures) - 1, min(TASK_LIBRARY_PICTURES, len(pictures))).astype(int)
    scores = task_library.scores(path, pictures[chosen], probabilities.shape[1])
    return {"task_library": float(np.abs(scores - probabilities[chosen]).max())}
