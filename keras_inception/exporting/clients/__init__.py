"""What runs exported files where they are used: the phone's libraries and the browser's, one small module each.

Each runs in a process of its own, for none of them can live beside TensorFlow.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from keras_inception.utils.suggestions import did_you_mean

CLIENTS = ("task-library", "mediapipe", "litert-web")


class Client(Protocol):
    """What the module of a client has."""

    def unavailable(self) -> str | None:
        """Why the client is not here, and how to get it; None if it is."""

    def scores(self, path: Path, pictures: np.ndarray, classes: int) -> np.ndarray:
        """What the client says of pictures, uint8 RGB (n, height, width, 3) of the input's very size: (n, classes).

        Raises:
            ChildError: it does not take the file.
        """


def client(name: str) -> Client:
    """The module of one of `CLIENTS`."""
    return cast(Client, importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))


def check(names: Sequence[str] | None) -> None:
    """ValueError if clients that a file is to be tried in are unknown, or not here."""
    if isinstance(names, str):
        raise ValueError(f"`clients` must be a list of some of {', '.join(CLIENTS)}. Received: {names!r}")
    for name in names or ():
        if name not in CLIENTS:
            allowed, hint = ", ".join(CLIENTS), did_you_mean(name, CLIENTS)
            raise ValueError(f"`clients` must be some of {allowed}.{hint} Received: {name!r}")
        missing = client(name).unavailable()
        if missing:
            raise ValueError(f"`clients` must be installed. Received: {name!r}, but {missing}")
