"""Clients: the libraries that run exported files on the phone and in the browser, one small module each.

Each runs in a child process, since none of them can share a process with TensorFlow.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from keras_inception.utils.suggestions import did_you_mean

CLIENTS = ("task-library", "mediapipe", "litert-web")


class Client(Protocol):
    """The functions of a client's module."""

    def unavailable(self) -> str | None:
        """Return why the client cannot be used here, and how to install it; None if it can."""

    def scores(self, path: Path, images: np.ndarray, classes: int) -> np.ndarray:
        """Return the client's scores, (n, classes).

        Args:
            path: the .tflite file.
            images: uint8 RGB (n, height, width, 3), exactly of the input's size.
            classes: number of classes.

        Raises:
            ChildError: the client does not accept the file.
        """


def client(name: str) -> Client:
    """Return the module of one of `CLIENTS`."""
    return cast(Client, importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))


def check(names: Sequence[str] | None) -> None:
    """Raise ValueError if a client is unknown or not installed."""
    if isinstance(names, str):
        raise ValueError(f"`clients` must be a list of some of {', '.join(CLIENTS)}. Received: {names!r}")
    for name in names or ():
        if name not in CLIENTS:
            allowed, hint = ", ".join(CLIENTS), did_you_mean(name, CLIENTS)
            raise ValueError(f"`clients` must be some of {allowed}.{hint} Received: {name!r}")
        missing = client(name).unavailable()
        if missing:
            raise ValueError(f"`clients` must be installed. Received: {name!r}, but {missing}")
