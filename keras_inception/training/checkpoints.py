"""Checkpoints: what a training needs to go on, the optimizer's state too, after each epoch."""

import logging
import re
from pathlib import Path

import keras

from keras_inception.runs import CHECKPOINTS
from keras_inception.utils import files

KEPT = 2

log = logging.getLogger(__name__)


def save(model: keras.Model, run: Path, epoch: int) -> None:
    """Keep a compiled model's state after so many epochs, and of earlier ones but the last."""
    path = _path(run, epoch)
    with files.replacing(path) as beside:
        model.save_weights(beside)
        files.write_text(_hash_path(path), files.sha256(beside))  # one that has no checkpoint yet does no harm
    for old in epochs(run)[:-KEPT]:
        _path(run, old).unlink()
        _hash_path(_path(run, old)).unlink(missing_ok=True)


def load(model: keras.Model, run: Path, epoch: int) -> bool:
    """Set a compiled model to its state after so many epochs; False if that checkpoint cannot be read.

    The file is compared with the hash that was written with it: HDF5's own library can crash on a damaged one.
    """
    path = _path(run, epoch)
    try:
        if files.sha256(path) != _hash_path(path).read_text(encoding="utf-8"):
            raise ValueError("it is not what was written")
        model.optimizer.build(model.trainable_variables)
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        log.warning("%s cannot be used, so the checkpoint before it is, or the training begins anew: %s", path, error)
        return False
    return True


def epochs(run: Path) -> list[int]:
    """The epochs after which there is a checkpoint, in order."""
    found = (re.fullmatch(r"epoch-(\d+)\.weights\.h5", path.name) for path in (run / CHECKPOINTS).glob("*.h5"))
    return sorted(int(match[1]) for match in found if match)


def _path(run: Path, epoch: int) -> Path:
    return run / CHECKPOINTS / f"epoch-{epoch}.weights.h5"


def _hash_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
