"""Proof that an exported file is right: against Keras, in LiteRT, and in the phone's and the browser's clients."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_inception.evaluation.metrics import evaluate_batches, wilson
from keras_inception.exporting.clients import CLIENTS, client
from keras_inception.preprocessing import Preprocessing
from keras_inception.tflite.classifier import TFLiteClassifier, numbered
from keras_inception.tflite.delegate import outside_delegate, outside_gpu
from keras_inception.utils.progress import Progress, silent
from keras_inception.utils.subprocesses import ChildError

MIN_AGREEMENT = {"float32": 0.99, "float16": 0.99, "dynamic": 0.95, "int8": 0.95}
CLIENT_PICTURES = 50
# How far a client's scores may be from the interpreter's. Of GoogLeNet at most 2e-6, 1e-6, 0.01 and 0 were measured:
# what is quantised at run time rounds as each library does. A uint8 output is in steps of 1/256.
CLIENT_TOLERANCE = {"float32": 1e-5, "float16": 1e-5, "dynamic": 0.03, "int8": 1.5 / 256}


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


def accuracy(probabilities: np.ndarray, truth: np.ndarray | None) -> dict[str, float | list[float] | None]:
    """Top-1 with its 95 % interval, and top-5, as fractions of 1; None where the truth is not known."""
    if truth is None:
        return {"top1": None, "top1_interval": None, "top5": None}
    result = evaluate_batches(lambda _: probabilities, [(None, truth)], numbered(probabilities.shape[1]))
    return {"top1": result.top1, "top1_interval": list(result.top1_interval), "top5": result.top5}


def agreement(probabilities: np.ndarray, reference: np.ndarray) -> float:
    """Share of the pictures for which the reference's likeliest class is the likeliest here, or one of several.

    Ties are normal in the 256 steps of a uint8 softmax; but a file that gives nothing but zeros has said nothing.
    """
    best = probabilities.max(axis=1)
    of_reference = np.take_along_axis(probabilities, reference.argmax(axis=1)[:, None], axis=1)[:, 0]
    return float(((of_reference == best) & (best > 0)).mean())


def verify(
    path: Path,
    variant: str,
    given: Preprocessing,
    reference: Reference,
    *,
    min_agreement: float,
    threads: int,
    clients: Sequence[str] | None = None,
    progress: Progress = silent,
) -> dict:
    """A file's row of the report; under ``refused`` it says what falls short, if anything does.

    Args:
        given: what the input is to mean (`graph.input_of`).
        min_agreement: least share of pictures on which the file and Keras name the same class.
        clients: of `CLIENTS`, which must take the file; by default all that are here are asked, and may refuse it.

    Raises:
        ValueError: LiteRT cannot run the file, or it gives NaN or infinity.
    """
    classifier = TFLiteClassifier(path, os.cpu_count() or 1)  # scores do not depend on the number of threads
    probabilities = classifier.predict(
        reference.pictures, lambda done: progress(f"{variant}: verifying", done, len(reference.pictures))
    )
    if not np.isfinite(probabilities).all():
        raise ValueError("it gives NaN or infinity on held-out pictures")
    tried = _tried(path, CLIENTS if clients is None else clients, reference.pictures, probabilities)
    agreed = agreement(probabilities, reference.probabilities)
    row = {
        "mb": path.stat().st_size / 1e6,
        **accuracy(probabilities, reference.truth),
        "agreement": agreed,
        "agreement_interval": list(wilson(round(agreed * len(reference.pictures)), len(reference.pictures))),
        "max_difference": float(np.abs(probabilities - reference.probabilities).max()),
        "latency_ms": TFLiteClassifier(path, threads).latency_ms(),
        "outside_delegate": outside_delegate(path),
        "outside_gpu": outside_gpu(path),
        "clients": tried,
    }
    problems = []
    if agreed < min_agreement:
        share = f"{agreed:.1%} of {len(reference.pictures)} pictures"
        problems.append(f"it agrees with Keras on {share}, and {min_agreement:.1%} are asked for")
    if classifier.takes_bytes and not takes_raw_pixels(classifier.quantization, given):
        problems.append(f"its input (scale and zero point {classifier.quantization}) is not raw pixels")
    # Of a network trained for int8, float pixels lie half-way between steps (`convert`): clients round either way.
    tolerance = CLIENT_TOLERANCE["dynamic" if variant == "int8" and not classifier.takes_bytes else variant]
    problems += client_problems(tried, tolerance, asked=clients is not None)
    return {**row, "refused": "; ".join(problems)} if problems else row


def takes_raw_pixels(quantization: tuple[float, int], given: Preprocessing) -> bool:
    """Whether a uint8 input of this (scale, zero point) means pixels, but for the rounding of the zero point."""
    scale, zero_point = quantization
    ends = np.array([0, 255])
    meant = (ends - zero_point) * scale * given.std[0] + given.mean[0]
    return bool(np.abs(meant - ends).max() < 0.51)


def client_problems(tried: Mapping[str, dict], tolerance: float, *, asked: bool) -> list[str]:
    """Why a row's ``clients`` refuse its file: wrong scores always do, none only if the clients were `asked` for."""
    problems = []
    for name, outcome in tried.items():
        if "reason" not in outcome and not outcome["max_difference"] <= tolerance:
            difference = outcome["max_difference"]
            problems.append(f"{name}'s scores are up to {difference:.2g} from the interpreter's, over {tolerance:.2g}")
        elif "reason" in outcome and asked:
            problems.append(f"{name} does not take it: {outcome['reason']}")
    return problems


def _tried(path: Path, names: Sequence[str], pictures: np.ndarray, probabilities: np.ndarray) -> dict[str, dict]:
    """By client the largest difference of its scores from `probabilities`, or the reason why there are none."""
    chosen = np.linspace(0, len(pictures) - 1, min(CLIENT_PICTURES, len(pictures))).astype(int)
    return {name: _outcome(name, path, pictures[chosen], probabilities[chosen]) for name in names}


def _outcome(name: str, path: Path, pictures: np.ndarray, probabilities: np.ndarray) -> dict:
    missing = client(name).unavailable()
    if missing:
        return {"reason": missing}
    try:
        scores = client(name).scores(path, pictures, probabilities.shape[1])
    except ChildError as error:
        return {"reason": error.last_line}
    return {"max_difference": float(np.abs(scores - probabilities).max())}
