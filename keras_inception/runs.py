"""The run directory, which training writes and everything else reads.

It holds ``model.keras`` (the best weights), ``labels.txt``, ``preprocessing.json``, ``recipe.json``, ``data.json``
(where the images are and how they were split), ``metrics.csv`` and ``checkpoints/``; also ``left_out.csv`` (path,
reason) if some files could not be used, and TensorBoard's ``logs/`` if the recipe asks for them.
"""

import csv
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

    Example::

        run = Run("run")
        print(run)  # run: googlenet, 19 classes, 30 epochs, best val_top1 52.1 % (epoch 30)
        model = run.model()

    Raises:
        ValueError: `path` is not a run directory.
    """

    path: Path

    def __post_init__(self):
        object.__setattr__(self, "path", Path(self.path))
        if not self.path.is_dir():
            reason = "it is a file" if self.path.exists() else "it does not exist"
            raise ValueError(f"{self.path} is not a run directory: {reason}")
        missing = [name for name in (LABELS, PREPROCESSING, RECIPE, DATA) if not (self.path / name).is_file()]
        if missing:
            raise ValueError(f"{self.path} is not a run directory: it has no {', '.join(missing)}")

    def __str__(self) -> str:
        network = files.read_json(self.path / RECIPE).get("network", "googlenet") or "a network of one's own"
        text = f"{self.path}: {network}, {len(self.labels)} classes, {len(self.metrics)} epochs"
        validated = [(row["val_top1"], row["epoch"]) for row in self.metrics if "val_top1" in row]
        if not validated:
            return text
        top1, epoch = max(validated)  # ties go to the later epoch, as in training
        return f"{text}, best val_top1 {top1:.1%} (epoch {epoch})"

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of the network's outputs."""
        return files.read_labels(self.path / LABELS)

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of the network's input."""
        return Preprocessing.named(str(self.path / PREPROCESSING))

    @property
    def data(self) -> dict:
        """The arguments of `keras_inception.datasets.open_data` that the training used."""
        recorded = files.read_json(self.path / DATA).items()
        return {key: value for key, value in recorded if key not in ("fingerprint", "command")}

    @property
    def command(self) -> str:
        """The command that created the run: ``train`` or ``compress``."""
        return files.read_json(self.path / DATA).get("command", "train")

    @property
    def fingerprint(self) -> dict[str, str]:
        """Hashes of the training and validation images by split, to detect changes."""
        return files.read_json(self.path / DATA).get("fingerprint", {})

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.csv`` as numbers, one per finished epoch, without its empty cells."""
        path = self.path / METRICS
        if not path.is_file():
            return []
        try:
            with open(path, newline="", encoding="utf-8") as file:
                rows = [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]
            return [{**row, "epoch": int(row["epoch"])} for row in rows]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path} must be a table of numbers by epoch") from None

    def to_dict(self) -> dict[str, Any]:
        """Return the run's settings and metrics as JSON types.

        The keys are ``path``, ``command``, ``labels``, ``preprocessing``, ``data``, ``recipe`` and ``metrics``.
        """
        return {
            "path": str(self.path),
            "command": self.command,
            "labels": list(self.labels),
            "preprocessing": files.read_json(self.path / PREPROCESSING),
            "data": self.data,
            "recipe": files.read_json(self.path / RECIPE),
            "metrics": self.metrics,
        }

    def check_trained(self) -> None:
        """Raise ValueError if the training has not finished an epoch yet."""
        if not (self.path / MODEL).is_file():
            raise ValueError(f"{self.path} has no {MODEL} yet: its training has not finished an epoch")

    def model(self) -> "keras.Model":
        """Load the trained network; ValueError if the training has not finished an epoch yet."""
        self.check_trained()
        return load(self.path / MODEL)


def locked(path: Path) -> AbstractContextManager:
    """Lock a run for writing until the returned context exits, and remove unfinished files of a killed process.

    The operating system releases the lock of a killed process.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    try:
        taken = filelock.FileLock(path / LOCK, timeout=0).acquire()
    except filelock.Timeout:
        raise BlockingIOError(f"{path} is being trained by another process: wait for it, or stop it") from None
    files.remove_unfinished(path)
    return taken


def load(path: str | os.PathLike) -> "keras.Model":
    """Load the network of a run directory, or any ``.keras`` file, with the package's layers registered.

    Code inside a file is never run: Keras' safe mode stays on.

    Raises:
        ValueError: `path` is neither a run directory nor a Keras file.
        FileNotFoundError: `path` does not exist.
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
    except Exception as error:  # a damaged file can make Keras raise anything
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} is not a Keras file that can be opened: {reason}") from None
