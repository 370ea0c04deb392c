"""The run directory, which training writes and everything else reads.

It holds ``model.keras`` (the best weights), ``labels.txt``, ``preprocessing.json``, ``recipe.json``, ``data.json``
(where the images are and how they were split), ``split.csv`` (path, label and split of each image, and its group if
there are any), ``metrics.csv`` and ``checkpoints/``, which also hold the weights that
the training began with, if not random ones; also ``left_out.csv`` (path,
reason) if some files could not be used, and TensorBoard's ``logs/`` if the recipe asks for them. Its report is
``report.html``, with figures and ``predictions.csv`` beside it (`keras_inception.reports.run`).
"""

import csv
import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from keras_inception import model_files
from keras_inception.preprocessing import Preprocessing
from keras_inception.utils import files

if TYPE_CHECKING:
    import keras

MODEL, LABELS, PREPROCESSING = files.MODEL, "labels.txt", files.PREPROCESSING
RECIPE, DATA, SPLIT, METRICS, CHECKPOINTS = "recipe.json", "data.json", "split.csv", "metrics.csv", "checkpoints"
INITIAL = f"{CHECKPOINTS}/initial"  # the weights that the training began with; .safetensors, or as Keras reads them
RESULTS = ("command", "excluded", "fingerprint", "groups", "ungrouped")  # in data.json, beside the arguments
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
        needed = (LABELS, PREPROCESSING, RECIPE, DATA)
        missing = [name for name in needed if not (self.path / name).is_file()]
        if missing:
            other = ", and no saved_model.pb of a SavedModel" if len(missing) == len(needed) else ""
            raise ValueError(f"{self.path} is not a run directory: it has no {', '.join(missing)}{other}")

    def __fspath__(self) -> str:
        return os.fspath(self.path)  # so that a run can be given wherever its path can

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
        return {key: value for key, value in recorded if key not in RESULTS}

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of groups, of images in none and of excluded images, if there are any (`Splits.counts`)."""
        recorded = files.read_json(self.path / DATA)
        return {key: recorded[key] for key in ("groups", "ungrouped", "excluded") if key in recorded}

    @property
    def command(self) -> str:
        """The command that created the run: ``train`` or ``compress``."""
        return files.read_json(self.path / DATA).get("command", "train")

    @property
    def fingerprint(self) -> dict[str, str]:
        """Hashes of the training and validation images by split, to detect changes."""
        return files.read_json(self.path / DATA).get("fingerprint", {})

    def record(self, data: Mapping[str, Any]) -> None:
        """Replace `data` in data.json, such as after the images were moved."""
        recorded = files.read_json(self.path / DATA)
        kept = {key: recorded[key] for key in RESULTS if key in recorded}
        files.write_json(self.path / DATA, {**data, **kept})

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

    @property
    def checkpoints(self) -> list[int]:
        """The epochs that have a checkpoint, from which training goes on, in ascending order."""
        found = (
            re.fullmatch(r"epoch-(\d+)\.weights\.h5", path.name) for path in (self.path / CHECKPOINTS).glob("*.h5")
        )
        return sorted(int(match[1]) for match in found if match)

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

    def _repr_html_(self) -> str | None:
        """Return a short form of the report for a notebook; None if the run cannot be read."""
        from keras_inception.reports.run import short

        try:
            return short(self)
        except (OSError, ValueError):
            return None

    def check_trained(self) -> None:
        """Raise ValueError if the training has not finished an epoch yet."""
        if not (self.path / MODEL).is_file():
            raise ValueError(f"{self.path} has no {MODEL} yet: its training has not finished an epoch")

    def model(self, custom_objects: str | os.PathLike | None = None) -> "keras.Model":
        """Load the trained network; ValueError if the training has not finished an epoch yet.

        Args:
            custom_objects: as for `load`.
        """
        self.check_trained()
        return model_files.load(self.path / MODEL, custom_objects)


def kept_so_far(path: Path, epoch: int) -> str:
    """Describe which weights a run has saved after `epoch` epochs."""
    return f"{path} keeps the weights of epoch {epoch}" if epoch else f"{path} has no weights yet"


def locked(path: Path) -> AbstractContextManager:
    """Lock a run for writing until the returned context exits, and remove unfinished files of a killed process.

    The operating system releases the lock of a killed process.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    import filelock  # not above: it takes as long to import as all the rest

    try:
        taken = filelock.FileLock(path / LOCK, timeout=0).acquire()
    except filelock.Timeout:
        raise BlockingIOError(f"{path} is being trained by another process: wait for it, or stop it") from None
    files.remove_unfinished(path)
    return taken


def run_of(path: Path) -> Path | None:
    """Return the run directory whose network a file is, or None."""
    try:
        return Run(path.parent).path if path.name == MODEL else None
    except ValueError:
        return None


def is_run(source: object) -> TypeGuard[str | os.PathLike]:
    """Return True if `source` is a directory that is no SavedModel, which is always taken for a run."""
    is_folder = isinstance(source, (str, os.PathLike)) and Path(source).is_dir()
    return is_folder and not model_files.is_saved_model(source)


def load(path: str | os.PathLike, custom_objects: str | os.PathLike | None = None) -> "keras.Model":
    """Open the network of a run directory or of a model file as a Keras 3 model that is not compiled.

    Opening a file runs no code from it: Lambdas, unknown classes, and SavedModels that could reach files or processes
    are refused by name.

    Args:
        path: a run directory, a ``.keras`` file, an ``.h5`` file of Keras 3, Keras 2 or tf_keras, or a SavedModel
            folder. tf_keras opens what Keras 3 cannot (``pip install "keras-inception[mobile]"``). A SavedModel becomes
            a model of one layer.
        custom_objects: Python file whose classes and functions the model needs, with a warning, since it is run. The
            model's Lambdas are then run too; a function of the Python file that is named like a Lambda takes its place.

    Raises:
        ValueError: `path` is no model that can be opened, or would run code; or the file of `custom_objects` cannot be
            run.
        FileNotFoundError: `path` or `custom_objects` does not exist.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"`path` must be a run directory or a model file. Received: {type(path).__name__}")
    if is_run(path):
        return Run(Path(path)).model(custom_objects)
    return model_files.load(path, custom_objects)
