"""Callbacks of `model.fit`: what is kept at the end of an epoch, and when a training ends."""

import csv
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_inception.runs import METRICS, MODEL
from keras_inception.training import checkpoints
from keras_inception.training.recipe import Recipe
from keras_inception.training.schedules import Plan, plateaus
from keras_inception.utils import files

BEST = "val_top1"


class DropoutSeeds(keras.callbacks.Callback):
    """Draws the dropout of an epoch from the run's seed and the epoch alone: Keras' checkpoints leave its state out."""

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        generators = (getattr(layer, "seed_generator", None) for layer in self.model.layers)  # none at a rate of 0
        for place, generator in enumerate(filter(None, generators)):
            state = np.random.default_rng([self.seed, epoch, place]).integers(2**32, size=2, dtype=np.uint32)
            generator.state.assign(state)


class Divergence(keras.callbacks.Callback):
    """Ends the training, before anything of it is kept, once the loss or a weight is not a number.

    Raises:
        FloatingPointError: as said.
    """

    def __init__(self, run: Path):
        super().__init__()
        self.run = run

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(logs["loss"]):
            self._stop(f"the loss is {logs['loss']} after step {batch + 1} of epoch {self.epoch + 1}")

    def on_epoch_end(self, epoch, logs=None):
        for variable in self.model.trainable_variables:
            if not np.isfinite(variable.numpy()).all():
                name = getattr(variable, "path", variable.name)
                self._stop(f"{name} is not a number any more after the last step of epoch {epoch + 1}")

    def _stop(self, what: str):
        raise diverged(what, self.run, self.epoch)


def diverged(what: str, run: Path, epoch: int) -> FloatingPointError:
    """The error that a training has come to nothing after so many good epochs."""
    hint = "Begin another run with a lower learning_rate, a clip_norm, or precision=float32"
    return FloatingPointError(f"{what}; {kept_so_far(run, epoch)}. {hint}")


def kept_so_far(run: Path, epoch: int) -> str:
    """What a run has after so many epochs."""
    return f"{run} keeps the weights of epoch {epoch}" if epoch else f"{run} keeps none yet"


class Plateau(keras.callbacks.Callback):
    """Lowers a constant learning rate each time that the validation has not got better for some epochs."""

    def __init__(self, recipe: Recipe, highest: float, rows: Sequence[dict]):
        """`rows` are the metrics of the epochs done, which go on growing."""
        super().__init__()
        self.recipe = recipe
        self.highest = highest
        self.rows = rows

    def on_epoch_begin(self, epoch, logs=None):
        lowered = plateaus(_accuracies(self.rows), self.recipe.decay_epochs)
        self.model.optimizer.learning_rate = self.highest * self.recipe.decay**lowered


class Keeper(keras.callbacks.Callback):
    """Keeps, at the end of an epoch: the metrics, the best network so far, and all it takes to go on from here.

    ``metrics.csv`` has a row an epoch. ``model.keras`` holds the averaged weights that did best on the validation
    pictures. ``checkpoints/epoch-N.weights.h5`` holds the state after N epochs, the optimizer's too; it is written
    last, so that a run killed at any moment goes on from where all three agree.
    """

    def __init__(
        self,
        run: Path,
        kept: Callable[[Any], keras.Model],
        validate: Callable[[keras.Model], dict[str, float]],
        plan: Plan,
        rows: list[dict],
        *,
        writes: bool = True,
    ):
        """`kept` makes of what is trained what is saved, `validate` measures it, `rows` are those of the epochs done.

        What is measured may be a FloatingPointError.

        Of several workers all measure, since what follows from it concerns all, and one writes.
        """
        super().__init__()
        self.run = run
        self.kept = kept
        self.validate = validate
        self.plan = plan
        self.rows = rows
        self.writes = writes

    @property
    def is_complete(self) -> bool:
        """Whether the training has come to its end, planned or early."""
        done = len(self.rows)
        patience = self.plan.recipe.early_stopping
        return done >= self.plan.epochs or bool(patience and plateaus(_accuracies(self.rows), patience))

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        try:
            self._keep(epoch, logs)
        except ConnectionError:  # of another worker
            raise
        except OSError as error:
            kept = f"{self.run} keeps all until epoch {epoch}" if epoch else f"{self.run} keeps nothing yet"
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise OSError(f"{what}. {kept}: make room, then resume") from error
        if self.is_complete:
            self.model.stop_training = True

    def _keep(self, epoch, logs):
        row = {"epoch": epoch + 1, **logs, "learning_rate": float(self.model.optimizer.learning_rate)}
        self.plan.add(time.monotonic() - self.began)
        if (epoch + 1) % self.plan.recipe.validate_every == 0 or epoch + 1 >= self.plan.epochs:
            network = self.kept(self.model)
            try:
                measured = self.validate(network)
            except FloatingPointError as error:
                raise diverged(f"{error} after epoch {epoch + 1}", self.run, epoch) from None
            row |= {f"val_{name}": value for name, value in measured.items()}
            if row[BEST] >= max((accuracy for _, accuracy in _accuracies(self.rows)), default=0.0) and self.writes:
                with files.replacing(self.run / MODEL) as beside:
                    network.save(beside)
            logs.update({name: value for name, value in row.items() if name != "epoch"})
        seconds = time.monotonic() - self.began
        self.plan.seconds[-1] = seconds
        self.rows.append({**row, "seconds": round(seconds, 3)})
        if self.writes:
            files.write_csv(self.run / METRICS, self.rows)
            checkpoints.save(self.model, self.run, epoch + 1)


def averaged_weights(model: keras.Model) -> list:
    """The weights of a model in training, those that train replaced by the optimizer's moving average of them."""
    own = [variable.numpy() for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    weights = model.get_weights()
    for variable, value in zip(model.trainable_variables, own, strict=True):
        variable.assign(value)
    return weights


def read_rows(path: Path, epochs: int) -> list[dict]:
    """The first so many rows of ``metrics.csv``; ValueError naming it if it is not one."""
    if not epochs:
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:epochs]
    if rows and not {"epoch", "seconds"} <= rows[0].keys():
        raise ValueError(f"{path} must have the columns epoch and seconds. Received: {', '.join(map(str, rows[0]))}")
    return rows


def _accuracies(rows: Sequence[dict]) -> list[tuple[int, float]]:
    """Epoch and the validation's top-1, of the epochs that looked."""
    return [(int(row["epoch"]), float(row[BEST])) for row in rows if row.get(BEST, "") != ""]
