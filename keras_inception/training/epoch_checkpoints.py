"""Checkpoints of the training state after each epoch, including the optimizer's state."""

import logging
from pathlib import Path

import keras

from keras_inception.runs import CHECKPOINTS, Run
from keras_inception.utils import files

KEPT = 2  # number of checkpoints to keep

log = logging.getLogger(__name__)


def save(model: keras.Model, run: Path, epoch: int) -> None:
    """Save a compiled model's state after `epoch` epochs, and remove all but the last two checkpoints."""
    path, hash_path = _paths(run, epoch)
    with files.replacing(path) as beside:
        model.save_weights(beside)
        files.write_text(hash_path, files.sha256(beside))  # a hash without its checkpoint does no harm
    for old in Run(run).checkpoints[:-KEPT]:
        for each in _paths(run, old):
            each.unlink(missing_ok=True)


def load(model: keras.Model, run: Path, epoch: int) -> bool:
    """Restore a compiled model's state after `epoch` epochs. Return False if that checkpoint cannot be read.

    The file's hash is verified first, because the HDF5 library can crash on a damaged file.
    """
    path, hash_path = _paths(run, epoch)
    try:
        if files.sha256(path) != hash_path.read_text(encoding="utf-8"):
            raise ValueError("its hash does not match the recorded one")
        model.optimizer.build(model.trainable_variables)
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        log.warning("%s cannot be used: %s. Falling back to the previous checkpoint or initial weights", path, error)
        return False
    return True


def _paths(run: Path, epoch: int) -> tuple[Path, Path]:
    """Return the paths of a checkpoint and its hash file."""
    path = run / CHECKPOINTS / f"epoch-{epoch}.weights.h5"
    return path, path.with_name(path.name + ".sha256")
