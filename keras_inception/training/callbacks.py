"""Callbacks of `model.fit`: the learning rate by progress, and what is kept at the end of an epoch."""

import csv
import io
import math
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from keras_inception import files
from keras_inception.runs import CHECKPOINTS, METRICS, MODEL
from keras_inception.training.recipe import Recipe

CHECKPOINTS_KEPT = 2
BEST = "val_top1"


class CosineSchedule(keras.callbacks.Callback):
    """Learning rate of every step: linear from zero in the warm-up, then half a cosine down to zero.

    With a budget of minutes, the epochs to come are planned anew after each, and the cosine ends with the last.
    """

    def __init__(self, recipe: Recipe, steps: int):
        super().__init__()
        self.recipe = recipe
        self.steps = steps
        self.epochs = recipe.epochs

    def plan(self, seconds: list[float]) -> None:
        """Set `epochs`, given the seconds that each epoch so far has taken."""
        if self.recipe.minutes is None or not seconds:
            return
        left = self.recipe.minutes * 60 - sum(seconds)
        an_epoch = statistics.mean(seconds[1:] or [seconds[0] / 2])  # half of the first goes into building the graph
        self.epochs = min(self.recipe.epochs, len(seconds) + max(0, int(left / an_epoch)))

    def factor(self, done: float) -> float:
        """Share of the highest learning rate, 0 to 1, after so many epochs."""
        warmup = min(self.recipe.warmup_epochs, self.epochs)
        if done < warmup:
            return min(1.0, (done + 1 / self.steps) / warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warmup) / max(self.epochs - warmup, 1e-9))))

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.recipe.learning_rate * self.factor(self.epoch + batch / self.steps)

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 >= self.epochs:
            self.model.stop_training = True


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


class Keeper(keras.callbacks.Callback):
    """Keeps, at the end of an epoch: the metrics, the best network so far, and all it takes to go on from here.

    ``metrics.csv`` has a row an epoch. ``model.keras`` holds the averaged weights that did best on the validation
    pictures. ``checkpoints/epoch-N.weights.h5`` holds the state after N epochs, the optimizer's too; it is written
    last, so that a run killed at any moment goes on from where all three agree.
    """

    def __init__(
        self,
        run: Path,
        network: keras.Model,
        validate: Callable[[], dict[str, float]],
        schedule: CosineSchedule,
        rows: list[dict],
    ):
        """`network` is what is saved, `validate` measures it, `rows` are the metrics of the epochs done."""
        super().__init__()
        self.run = run
        self.network = network
        self.validate = validate
        self.schedule = schedule
        self.rows = rows
        self.seconds = [float(row["seconds"]) for row in rows]
        schedule.plan(self.seconds)

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1, **logs}
        self.seconds.append(time.monotonic() - self.began)
        self.schedule.plan(self.seconds)
        if (epoch + 1) % self.schedule.recipe.validate_every == 0 or epoch + 1 >= self.schedule.epochs:
            self.network.set_weights(averaged_weights(self.model))
            row |= {f"val_{name}": value for name, value in self.validate().items()}
            if row[BEST] >= max((float(done[BEST]) for done in self.rows if done.get(BEST)), default=0.0):
                with files.replacing(self.run / MODEL) as beside:
                    self.network.save(beside)
            logs.update(row)
        self.seconds[-1] = time.monotonic() - self.began
        self.rows.append({**row, "seconds": round(self.seconds[-1], 3)})
        write_rows(self.run / METRICS, self.rows)
        with files.replacing(self.run / CHECKPOINTS / f"epoch-{epoch + 1}.weights.h5") as beside:
            self.model.save_weights(beside)
        for old in checkpoints(self.run)[:-CHECKPOINTS_KEPT]:
            (self.run / CHECKPOINTS / f"epoch-{old}.weights.h5").unlink()


def checkpoints(run: Path) -> list[int]:
    """The epochs after which there is a checkpoint, in order."""
    found = (re.fullmatch(r"epoch-(\d+)\.weights\.h5", path.name) for path in (run / CHECKPOINTS).glob("*.h5"))
    return sorted(int(match[1]) for match in found if match)


def averaged_weights(model: keras.Model) -> list:
    """The weights of a model in training, those that train replaced by the optimizer's moving average of them."""
    own = [variable.numpy() for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    weights = model.get_weights()
    for variable, value in zip(model.trainable_variables, own, strict=True):
        variable.assign(value)
    return weights


def read_rows(path: Path, epochs: int) -> list[dict]:
    """The first so many rows of ``metrics.csv``."""
    if not epochs:
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))[:epochs]


def write_rows(path: Path, rows: list[dict]) -> None:
    """Write rows that need not all have the same columns."""
    columns = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(path, text.getvalue())
