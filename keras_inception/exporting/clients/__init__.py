"""Clients: libraries and processors that run exported files on phones and in browsers, one small module each.

Each runs in a child process, since no library can share a process with TensorFlow. Each module has two functions:

- ``unavailable()`` returns None if the client can be used here, otherwise the reason and how to install it.
- ``scores(path, images, classes)`` returns the client's scores (n, classes) for a .tflite file and uint8 RGB images (n,
  height, width, 3) of exactly the input's size. It raises ChildError if the client does not accept the file.

One that says more than its scores has ``examine``, with the same arguments, which returns both.
"""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from keras_inception.utils import files
from keras_inception.utils.checks import check_some_of

GPU = "litert-gpu"
# The number of images that each client is given at most: some are slow.
IMAGES = {"task-library": 50, "mediapipe": 50, "litert-web": 50, "arm64": 20, GPU: 4, "kotlin": 50}
CLIENTS = tuple(IMAGES)
ON_REQUEST = ("arm64", GPU, "kotlin")  # too slow to be tried by default
BY_DEFAULT = tuple(name for name in CLIENTS if name not in ON_REQUEST)


def client(name: str) -> ModuleType:
    """Return the module of a client in `CLIENTS`."""
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")


def examine(name: str, path: Path, images: np.ndarray, classes: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Return a client's scores, and what else the report says of it."""
    module = client(name)
    if hasattr(module, "examine"):
        return module.examine(path, images, classes)
    return module.scores(path, images, classes), {}


def exchange(run: Callable[[dict], object], path: Path, images: np.ndarray, classes: int) -> np.ndarray:
    """Call `run` with a job for a child process, and return the scores that the process wrote, (n, classes).

    The job has ``model`` (file), ``images`` (.npy file), ``classes`` (number of classes) and ``scores`` (.npy file to
    write).
    """
    with files.temporary_folder() as folder:
        inputs, scores = folder / "images.npy", folder / "scores.npy"
        np.save(inputs, np.ascontiguousarray(images))
        run({"model": str(path), "images": str(inputs), "classes": classes, "scores": str(scores)})
        return np.load(scores)


def check(names: Sequence[str] | None) -> None:
    """Raise ValueError if a client is unknown or not installed."""
    check_some_of("clients", names or (), CLIENTS)
    for name in names or ():
        if missing := client(name).unavailable():
            raise ValueError(f"`clients` must be installed. Received: {name!r}, but {missing}")
