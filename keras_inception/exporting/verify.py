"""Verify an exported file: in LiteRT, against Keras, and in phone and browser clients."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from keras_inception.evaluation.metrics import evaluate_batches, wilson
from keras_inception.exporting.clients import BY_DEFAULT, GPU, IMAGES, client, examine
from keras_inception.exporting.variants import Variant
from keras_inception.preprocessing import Preprocessing
from keras_inception.tflite.classifier import TFLiteClassifier, numbered
from keras_inception.tflite.delegate import outside_delegate, without_delegates
from keras_inception.tflite.operations import MULTIPLYING, nodes
from keras_inception.tflite.runtimes import oldest_runtime
from keras_inception.utils.steps import Steps
from keras_inception.utils.subprocesses import ChildError

MARGIN = 4  # clients differed up to 2.5 times as much from LiteRT as its own kernels from each other
LARGEST_TOLERANCE = 0.05  # scores for a wrong normalization part by more
WAY_ON = "to export it all the same, leave out clients (--client none; in Python, clients=()) or choose another variant"
FREQUENT_TIES = 0.01  # share of images from which ties are worth a remark
STEPS_ADVICE = (
    "the most likely classes tie in the 256 steps of the output on {:.1%} of the images: "
    "float32 output (`int8_output`, --int8-output float32) avoids that"
)
LOGITS_ADVICE = (
    "the logits of the most likely classes tie in 256 steps on {:.1%} of the images: "
    "the last layer in float32 (`keep_float`, --keep-float LAYER) avoids that"
)


class Reference(NamedTuple):
    """Keras' predictions for the images that a file is verified on.

    Attributes:
        images: uint8 RGB (n, height, width, 3).
        probabilities: (n, classes).
        labels: class indices (n,), or None.
        independent: whether each score is a probability by itself (multi-label).
    """

    images: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray | None
    independent: bool = False


def accuracy(probabilities: np.ndarray, labels: np.ndarray | None) -> dict[str, Any]:
    """Return top-1 with its 95 % interval, and top-5, from 0 to 1; all None if there are no labels."""
    if labels is None:
        return {"top1": None, "top1_interval": None, "top5": None}
    result = evaluate_batches(lambda _: probabilities, [(None, labels)], numbered(probabilities.shape[1]))
    return {"top1": result.top1, "top1_interval": list(result.top1_interval), "top5": result.top5}


def agreement(probabilities: np.ndarray, reference: np.ndarray) -> float:
    """Return the top-1 agreement: the share of images whose most likely class in `reference` is most likely here too.

    Of classes that tie, the first counts, as in `top_k`. A row of zeros does not agree.

    Args:
        probabilities: (n, classes).
        reference: (n, classes).
    """
    same = probabilities.argmax(axis=1) == reference.argmax(axis=1)
    return float((same & (probabilities.max(axis=1) > 0)).mean())


def decision_agreement(scores: np.ndarray, reference: np.ndarray) -> float:
    """Return the agreement of independent scores: the share of equal decisions at 0.5.

    It is the mean of two shares, for the classes that `reference` finds in the images and for those that it does not:
    these may be so many that a file that never finds anything would agree on nearly all.

    Args:
        scores: (n, classes).
        reference: (n, classes).
    """
    expected = reference >= 0.5
    same = (scores >= 0.5) == expected
    return float(np.mean([same[kind].mean() for kind in (expected, ~expected) if kind.any()]))


def tie_share(probabilities: np.ndarray) -> float:
    """Return the share of images, (n, classes), on which two or more classes are the most likely."""
    best = probabilities.max(axis=1, keepdims=True)
    return float(((probabilities == best).sum(axis=1) > 1).mean())


def verify(
    path: Path,
    variant: Variant,
    input_preprocessing: Preprocessing,
    reference: Reference,
    *,
    min_agreement: float | None = None,
    can_keep_float: bool = True,
    threads: int | None = None,
    clients: Sequence[str] | None = None,
    tried: Mapping[str, dict] = MappingProxyType({}),
    runtime: str | None = None,
    steps: Steps | None = None,
    on_image: Callable[[int], None] | None = None,
) -> dict:
    """Return a file's row of the report but its latency, with the reasons in ``refused`` if the file must not be used.

    Args:
        path: the file.
        variant: its variant.
        input_preprocessing: preprocessing that the file's input must expect (`Variant.input`).
        reference: Keras' predictions.
        min_agreement: minimum share of images on which the file and Keras must predict the same class, or of equal
            decisions (`decision_agreement`); None for the variant's.
        can_keep_float: whether layers can be kept in float32, which is advised against ties: not in a network that was
            trained for int8.
        threads: threads of the interpreter, on which the scores do not depend. Default: one for each core.
        clients: names in `CLIENTS` that must accept the file. By default, all installed clients but slow ones are
            tried, and need not accept it.
        tried: outcomes of clients that have run the file already, by name.
        runtime: release of TensorFlow Lite that must run the file.
        steps: times the steps ``verify`` and ``clients``.
        on_image: called with the number of images done.

    Raises:
        ValueError: LiteRT cannot run the file, or its outputs are not probabilities.
    """
    min_agreement = variant.min_agreement if min_agreement is None else min_agreement
    steps, count = steps or Steps(), len(reference.images)
    with steps.step("verify"):
        classifier = TFLiteClassifier(path, threads or os.cpu_count() or 1, isolated=False)
        probabilities = classifier.predict(reference.images, on_image)
    some = evenly(count, max(IMAGES.values()))
    names = BY_DEFAULT if clients is None else clients
    with steps.step("clients"):
        others = [name for name in names if name not in tried]
        tried = {**try_clients(others, path, variant, reference.images[some], probabilities[some]), **tried}
    compare = decision_agreement if reference.independent else agreement
    agreed = compare(probabilities, reference.probabilities)
    ties = 0.0 if reference.independent else tie_share(probabilities)
    decisive = agreed < min_agreement <= agreed + ties
    quantized = variant.calibrated or variant.output_type != "float32"
    advice = STEPS_ADVICE if variant.output_type != "float32" else LOGITS_ADVICE if can_keep_float else None
    advised = quantized and (ties >= FREQUENT_TIES or decisive)
    row = {
        "mb": path.stat().st_size / 1e6,
        **accuracy(probabilities, reference.labels),
        "agreement": agreed,
        "agreement_interval": list(wilson(round(agreed * count), count)),
        "ties": ties,
        "max_difference": float(np.abs(probabilities - reference.probabilities).max()),
        "outside_delegate": outside_delegate(path),
        "gpu": tried.get(GPU),
        "runtime": (oldest := oldest_runtime(path))._asdict(),
        "clients": tried,
    }
    if advised and advice:
        row["advice"] = advice.format(ties)
    problems = []
    if agreed < min_agreement:
        of = "the decisions on the classes of " if reference.independent else ""
        share = f"{agreed:.1%} of {of}{count} images"
        problem = f"it agrees with Keras on {share}, and {min_agreement:.1%} are required"
        problems.append(f"{problem} ({row['advice']})" if "advice" in row else problem)
    black = {"uint8": 0, "int8": -128}.get(variant.input_type)
    if black is not None and not takes_raw_pixels(classifier.quantization, input_preprocessing, black):
        problems.append(f"its input (scale and zero point {classifier.quantization}) is not raw pixels")
    if runtime is not None and not oldest.runs_on(runtime):
        problems.append(f"it needs {oldest}, and `runtime` (--runtime) is {runtime}")
    problems += client_problems(tried, required=clients is not None)
    return {**row, "refused": "; ".join(problems)} if problems else row


def takes_raw_pixels(quantization: tuple[float, int], preprocessing: Preprocessing, black: int = 0) -> bool:
    """Return True if an 8-bit input takes raw pixels, up to the rounding of its zero point.

    Args:
        quantization: (scale, zero point) of the input.
        preprocessing: preprocessing that the network expects.
        black: value of the input for a pixel of 0: 0 for uint8, -128 for int8.
    """
    scale, zero_point = quantization
    ends = np.array([0, 255])
    meant = (ends + black - zero_point) * scale * preprocessing.std[0] + preprocessing.mean[0]
    return bool(np.abs(meant - ends).max() < 0.51)


def evenly(count: int, most: int) -> np.ndarray:
    """Return the indices of at most `most` of `count` images, evenly spread, since images are ordered by class."""
    return np.linspace(0, count - 1, min(most, count)).astype(int)


def try_clients(
    names: Sequence[str], path: Path, variant: Variant, images: np.ndarray, probabilities: np.ndarray
) -> dict[str, dict]:
    """Run a file in clients, each on as many of the images as `IMAGES` says.

    The `Variant.tolerance` and a step and a half of a quantized output are tolerated. If that is not enough, the file
    is run in LiteRT's other kernels too, without XNNPACK. Some networks amplify rounding much more than others of their
    depth, such as a confident classifier on features that hardly differ between images. `MARGIN` times the difference
    between LiteRT's kernels is tolerated, but not more than `LARGEST_TOLERANCE`.

    Args:
        names: names in `CLIENTS`.
        path: the file.
        variant: its variant.
        images: uint8 RGB (n, height, width, 3).
        probabilities: the interpreter's scores for them, (n, classes).

    Returns:
        For each client, the outcome that `ExportReport` describes.
    """
    tried = {name: _outcome(name, path, images, probabilities) for name in names}
    differences = [outcome["max_difference"] for outcome in tried.values() if "max_difference" in outcome]
    if not differences:
        return tried
    step = TFLiteClassifier(path, isolated=False).described()["output"]["scale"]
    multiplying = sum(node.kind in MULTIPLYING for node in nodes(path))
    tolerance = max(variant.tolerance(multiplying), 1.5 * step)
    if not max(differences) <= tolerance:
        measured = float(np.abs(without_delegates(path).predict(images) - probabilities).max())
        tolerance = max(tolerance, min(MARGIN * measured, LARGEST_TOLERANCE))
    return {
        name: outcome if "reason" in outcome else {**outcome, "tolerance": tolerance} for name, outcome in tried.items()
    }


def client_problems(tried: Mapping[str, dict], *, required: bool) -> list[str]:
    """Return the reasons to refuse a file: wrong scores of a client or, if clients are `required`, missing scores.

    Scores beyond the tolerance refuse a file even if the most likely class is the same everywhere: a wrong
    normalization in the metadata changes scores long before it changes the most likely class.
    """
    problems = []
    for name, outcome in tried.items():
        if "reason" not in outcome and not outcome["max_difference"] <= outcome["tolerance"]:
            difference, tolerance = outcome["max_difference"], outcome["tolerance"]
            problems.append(
                f"{name}'s scores differ from the interpreter's by up to {difference:.2g}, more than the tolerance of "
                f"{tolerance:.2g} for rounding in a network of this depth (the first guess is the same on "
                f"{outcome['agreement']:.0%} of the images)"
            )
        elif "reason" in outcome and required:
            problems.append(f"{name} does not accept it: {outcome['reason']}")
    return [*problems, WAY_ON] if problems else []


def not_accepted(row: Mapping[str, Any]) -> dict[str, str]:
    """Return why clients that are installed do not accept a file, by name, given the file's row of the report."""
    outcomes = row.get("clients", {})
    return {name: outcome["reason"] for name, outcome in outcomes.items() if outcome.get("installed")}


def _outcome(name: str, path: Path, images: np.ndarray, probabilities: np.ndarray) -> dict:
    """Return how far a client's scores are from `probabilities`, or the reason why it gave no scores."""
    if missing := client(name).unavailable():
        return {"installed": False, "reason": missing}
    some = evenly(len(images), IMAGES[name])
    images, probabilities = images[some], probabilities[some]
    try:
        scores, about = examine(name, path, images, probabilities.shape[1])
    except ChildError as error:
        return {"installed": True, "reason": error.last_line}
    return {
        **about,
        "max_difference": float(np.abs(scores - probabilities).max()),
        "agreement": agreement(scores, probabilities),
    }
