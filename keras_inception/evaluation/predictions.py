"""The table ``predictions.csv``: one row per image, with the probabilities of its classes.

The columns are ``path``, ``label``, ``predicted`` and ``probability``. Up to 100 classes follow as ``p:CLASS`` each;
of more classes the five likeliest, ``top1``, ``p1`` to ``top5``, ``p5``. Without labels there is no ``label``.
"""

import functools
import os
from collections import Counter
from collections.abc import Sequence

import numpy as np

from keras_inception.evaluation.metrics import ImageResults, top_k
from keras_inception.utils import files

FILE = "predictions.csv"
LISTED_CLASSES, TOP = 100, 5


def columns(class_names: Sequence[str], labeled: bool) -> list[str]:
    """Return the names of the columns.

    Args:
        class_names: names of the classes. Those that occur more than once are numbered, ``p:crane (2)``.
        labeled: whether the true classes are known.
    """
    return list(_columns(tuple(class_names), labeled))


@functools.lru_cache(4)  # of each row
def _columns(class_names: tuple[str, ...], labeled: bool) -> list[str]:
    first = ["path", *(["label"] if labeled else []), "predicted", "probability"]
    if len(class_names) > LISTED_CLASSES:
        return first + [f"{name}{place}" for place in range(1, TOP + 1) for name in ("top", "p")]
    seen: Counter[str] = Counter()
    listed = []
    for name in class_names:
        seen[name] += 1
        listed.append(f"p:{name}" if seen[name] == 1 else f"p:{name} ({seen[name]})")
    return first + listed


def row(path: str, probabilities: np.ndarray, class_names: Sequence[str], label: str | None) -> dict[str, str | float]:
    """Return the row of an image.

    Args:
        path: the image's path, relative to the folder of images if there is one.
        probabilities: (classes,).
        class_names: names of the classes.
        label: name of the true class; None if it is not known.
    """
    best = top_k(probabilities, TOP).tolist()
    cells: list[str | float] = [path, *([] if label is None else [label])]
    cells += [class_names[best[0]], _rounded(probabilities[best[0]])]
    if len(class_names) > LISTED_CLASSES:
        cells += [cell for index in best for cell in (class_names[index], _rounded(probabilities[index]))]
    else:
        cells += list(map(_rounded, probabilities))
    return dict(zip(columns(class_names, label is not None), cells, strict=True))


def write(path: str | os.PathLike, results: ImageResults, class_names: Sequence[str]) -> None:
    """Write the table of labeled images, completely or not at all."""
    rows = zip(results.paths, results.probabilities, results.truth.tolist(), strict=True)
    files.write_csv(path, [row(name, values, class_names, class_names[true]) for name, values, true in rows])


def _rounded(probability: float) -> float:
    return float(f"{probability:.6g}")
