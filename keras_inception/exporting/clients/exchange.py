"""Pass images to a child process, and read its scores."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np


def exchange(run: Callable[[dict], None], path: Path, images: np.ndarray, classes: int) -> np.ndarray:
    """Call `run` with the job of a child process, and return the scores that the process wrote, (n, classes).

    The job: ``model`` (file), ``images`` (.npy file), ``classes`` (their number), ``scores`` (.npy file to write).
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs, scores = Path(folder) / "images.npy", Path(folder) / "scores.npy"
        np.save(inputs, np.ascontiguousarray(images))
        run({"model": str(path), "images": str(inputs), "classes": classes, "scores": str(scores)})
        return np.load(scores)
