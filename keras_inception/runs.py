"""The run directory: what training writes and everything else reads.

``model.keras`` (best weights), ``labels.txt``, ``preprocessing.json``, ``recipe.json``, ``data.json`` (where the
pictures lie and how they were split), ``metrics.csv``, ``checkpoints/``; ``left_out.csv`` (path, reason) if there are
files that could not be used; and if asked for TensorBoard's ``logs/``.
"""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from keras_inception.preprocessing import Preprocessing
from keras_inception.utils import files

if TYPE_CHECKING:
    import keras

MODEL, LABELS, PREPROCESSING = "model.keras", "labels.txt", "preprocessing.json"
RECIPE, DATA, METRICS, CHECKPOINTS = "recipe.json", "data.json", "metrics.csv", "checkpoints"
LEFT_OUT, LOGS, LOCK = "left_out.csv", "logs", ".lock"


@dataclass(frozen=True)
class Run:
    """An existing run directory.

    Raises:
        ValueError: `path` is not a run directory.
    """

    path: Path

    def __post_init__(self):
        object.__setattr__(self, "path", Path(self.path))
        if not self.path.is_dir():
            raise ValueError(
                f"{self.path} is not a run directory: {'it is a file' if self.path.exists() else 'it is not there'}"
            )
        missing = [name for name in (LABELS, PREPROCESSING, RECIPE, DATA) if not (self.path / name).is_file()]
        if missing:
            raise ValueError(f"{self.path} is not a run directory: it has no {', '.join(missing)}")

    @property
    def labels(self) -> tuple[str, ...]:
        return files.read_labels(self.path / LABELS)

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing.named(str(self.path / PREPROCESSING))

    @property
    def data(self) -> dict:
        """The arguments of `keras_inception.datasets.open_data` that training was given."""
        known = files.read_json(self.path / DATA)
        return {key: value for key, value in known.items() if key not in ("fingerprint", "command")}

    @property
    def command(self) -> str:
        """By which it was begun: ``train`` or ``compress``."""
        return files.read_json(self.path / DATA).get("command", "train")

    @property
    def fingerprint(self) -> dict[str, str]:
        """Of the splits that training has seen, by which it notices that they have changed."""
        return files.read_json(self.path / DATA).get("fingerprint", {})

    def check_trained(self) -> None:
        """Raise ValueError if training has not finished an epoch yet."""
        if not (self.path / MODEL).is_file():
            raise ValueError(f"{self.path} has no {MODEL} yet: no epoch of its training has ended")

    def model(self) -> "keras.Model":
        """The trained network; ValueError if training has not finished an epoch yet."""
        self.check_trained()
        return load(self.path / MODEL)


def locked(path: Path) -> AbstractContextManager:
    """The right to write into a run, taken until it is let go; a killed process lets go of it too.

    What that one was writing is removed.

    Raises:
        BlockingIOError: another process has it.
    """
    try:
        taken = filelock.FileLock(path / LOCK, timeout=0).acquire()
    except filelock.Timeout:
        raise BlockingIOError(f"{path} is being trained by another process: wait for its end, or end it") from None
    files.remove_unfinished(path)
    return taken


def load(path: str | os.PathLike) -> "keras.Model":
    """Open a run directory's network, or any ``.keras`` file, in a process that has imported nothing else.

    Code that a file brings along is never run: Keras' safe mode stays on.

    Raises:
        ValueError: not a run directory and not a Keras file.
        FileNotFoundError: there is nothing at `path`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no run directory or .keras file at {path}")
    if path.is_dir():
        return Run(path).model()
    import keras

    import keras_inception.layers  # noqa: F401  registers the layers that a file may name

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the broken part of the file happens to raise
        raise ValueError(
            f"{path} is not a Keras file that can be opened: {' '.join(str(error).split())[:300]}"
        ) from None
