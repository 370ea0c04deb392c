"""Callbacks for `model.fit`: save a run after each epoch, seed dropout, lower the learning rate, stop on NaN."""

import csv
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_inception.runs import METRICS, MODEL, kept_so_far
from keras_inception.training import epoch_checkpoints
from keras_inception.training.recipe import Recipe
from keras_inception.training.schedules import Plan, plateaus
from keras_inception.utils import files

MONITOR = "val_top1"  # metric that selects the best network
MAKE_ROOM = "free some space, then resume"

# These dataclasses skip the constructor of Keras' Callback, which only resets attributes that `fit` sets.


@dataclass(eq=False)
class SeedDropout(keras.callbacks.Callback):
    """Reseed dropout in each epoch from the run's seed and the epoch: Keras' checkpoints omit seed generators."""

    seed: int

    def on_epoch_begin(self, epoch, logs=None):
        generators = (getattr(layer, "seed_generator", None) for layer in self.model.layers)  # none at a rate of 0
        for place, generator in enumerate(filter(None, generators)):
            state = np.random.default_rng([self.seed, epoch, place]).integers(2**32, size=2, dtype=np.uint32)
            generator.state.assign(state)


@dataclass(eq=False)
class RaiseOnNonFinite(keras.callbacks.Callback):
    """Stop training once the loss or a weight is not finite, before the epoch is saved.

    Raises:
        FloatingPointError: the loss after a step, or a weight at the end of an epoch, is not finite.
    """

    run: Path

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(logs["loss"]):
            problem = f"the loss is {logs['loss']} after step {batch + 1} of epoch {self.epoch + 1}"
            raise diverged(problem, self.run, self.epoch)

    def on_epoch_end(self, epoch, logs=None):
        for variable in self.model.trainable_variables:
            if not np.isfinite(variable.numpy()).all():
                name = getattr(variable, "path", variable.name)  # tf_keras variables have no path
                raise diverged(f"{name} is not finite after the last step of epoch {epoch + 1}", self.run, epoch)


def diverged(problem: str, run: Path, epoch: int) -> FloatingPointError:
    """Return the error for a training run that diverged after `epoch` good epochs."""
    hint = "Start another run with a lower learning_rate, a clip_norm, or precision=float32"
    return FloatingPointError(f"{problem}; {kept_so_far(run, epoch)}. {hint}")


def reduce_rate_on_plateau(recipe: Recipe, highest: float, rows: Sequence[dict]) -> keras.callbacks.Callback:
    """Return a callback that lowers the learning rate when the validation accuracy stalls for `recipe.decay_epochs`.

    Unlike Keras' ReduceLROnPlateau, it derives the rate from the metrics of all finished epochs, so it can resume.

    Args:
        recipe: provides `decay` and `decay_epochs`, the patience.
        highest: the initial learning rate.
        rows: the metrics of the finished epochs. `RunCheckpoint` appends to them.
    """

    def rate(epoch: int, before: float) -> float:
        return float(highest * recipe.decay ** plateaus(accuracies(rows, recipe.extended_at), recipe.decay_epochs))

    return keras.callbacks.LearningRateScheduler(rate)


@dataclass(eq=False)
class RunCheckpoint(keras.callbacks.Callback):
    """Save the metrics, the best network so far and the training state at the end of each epoch.

    ``metrics.csv`` has a row per epoch. ``model.keras`` has the averaged weights with the best validation accuracy.
    ``checkpoints/epoch-N.weights.h5`` has the state after N epochs, including the optimizer's. The checkpoint is
    written last: a run killed at any moment resumes from the last epoch for which all three files agree.

    With several workers, each evaluates the network, because each acts on the result, but only one writes files.

    Args:
        run: the run directory.
        kept: returns the network to save, given the model being trained and whether this is the last epoch.
        validate: evaluates that network. May raise FloatingPointError.
        plan: the number of epochs to train.
        rows: the metrics of the finished epochs. Each epoch appends a row.
        writes: whether this process writes the files.
    """

    run: Path
    kept: Callable[[Any, bool], keras.Model]
    validate: Callable[[keras.Model], dict[str, float]]
    plan: Plan
    rows: list[dict]
    writes: bool = True

    @property
    def is_complete(self) -> bool:
        """True once training has ended, as planned or by early stopping."""
        recipe = self.plan.recipe
        since = accuracies(self.rows, recipe.extended_at)
        stalled = recipe.early_stopping and plateaus(since, recipe.early_stopping)
        return len(self.rows) >= self.plan.epochs or bool(stalled)

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        try:
            self._save(epoch, logs)
        except ConnectionError:  # an OSError, but it concerns another worker
            raise
        except OSError as error:
            problem = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise OSError(f"{problem}. {kept_so_far(self.run, epoch)}: {MAKE_ROOM}") from error
        if self.is_complete:
            self.model.stop_training = True

    def _save(self, epoch, logs):
        row = {"epoch": epoch + 1, **logs, "learning_rate": float(self.model.optimizer.learning_rate)}
        self.plan.add(time.monotonic() - self.began)
        is_last = epoch + 1 >= self.plan.epochs
        if is_last or (epoch + 1) % self.plan.recipe.validate_every == 0:
            network = self.kept(self.model, is_last)
            try:
                row |= {f"val_{name}": value for name, value in self.validate(network).items()}
            except FloatingPointError as error:
                raise diverged(f"{error} after epoch {epoch + 1}", self.run, epoch) from None
            if row[MONITOR] >= max((accuracy for _, accuracy in accuracies(self.rows)), default=0.0) and self.writes:
                with files.replacing(self.run / MODEL) as beside:
                    network.save(beside)
            logs.update({name: value for name, value in row.items() if name != "epoch"})
        seconds = time.monotonic() - self.began
        self.plan.seconds[-1] = seconds
        self.rows.append({**row, "seconds": round(seconds, 3)})
        if self.writes:
            files.write_csv(self.run / METRICS, self.rows)
            epoch_checkpoints.save(self.model, self.run, epoch + 1)


def averaged_weights(model: keras.Model) -> list:
    """Return a model's weights with the trainable ones replaced by the optimizer's moving averages."""
    own = [variable.numpy() for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    weights = model.get_weights()
    for variable, value in zip(model.trainable_variables, own, strict=True):
        variable.assign(value)
    return weights


def read_rows(path: Path, epochs: int) -> list[dict]:
    """Return the first `epochs` rows of a ``metrics.csv``. Raise ValueError if the file lacks required columns."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:epochs]
    if rows and not {"epoch", "seconds"} <= rows[0].keys():
        raise ValueError(f"{path} must have the columns epoch and seconds. Received: {', '.join(map(str, rows[0]))}")
    return rows


def accuracies(rows: Sequence[dict], after: int = 0) -> list[tuple[int, float]]:
    """Return (epoch, validation accuracy) for each validated epoch after the first `after` ones."""
    return [(int(row["epoch"]), float(row[MONITOR])) for row in rows[after:] if row.get(MONITOR, "") != ""]
