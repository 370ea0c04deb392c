"""Pictures to a process, and its scores back."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np


def exchange(run: Callable[[dict], None], path: Path, pictures: np.ndarray, classes: int) -> np.ndarray:
    """The scores that a process has written, whose job `run` is given."""
    with tempfile.TemporaryDirectory() as folder:
        given, taken = Path(folder) / "pictures.npy", Path(folder) / "scores.npy"
        np.save(given, np.ascontiguousarray(pictures))
        run({"model": str(path), "pictures": str(given), "classes": classes, "scores": str(taken)})
        return np.load(taken)
