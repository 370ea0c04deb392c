"""The callback that draws a run while it trains, and writes its report at the end."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_inception.datasets import Splits
from keras_inception.evaluation.metrics import Evaluation
from keras_inception.reports import run as report
from keras_inception.reports.reporting import attempt, validate
from keras_inception.runs import Run
from keras_inception.training.callbacks import RunCheckpoint, accuracies

SECONDS = 10.0  # between two drawings of the curves, at least


@dataclass(eq=False)
class ReportRun(keras.callbacks.Callback):
    """Draw ``batch.png`` before the first epoch, and the curves while training goes on. No error in it ends a training.

    It comes after the checkpoint of the run among the callbacks. It draws when an epoch begins, so that `minutes` of a
    recipe include the time that this takes.

    Args:
        run: the run.
        splits: its images.
        checkpoint: the callback that saves the run.
        batch: returns images of a batch, (batch, height, width, 3), 0 to 255, and their targets, (batch, classes).
        validated: returns the latest evaluation of the network that the run keeps.
    """

    run: Run
    splits: Splits
    checkpoint: RunCheckpoint
    batch: Callable[[], tuple[np.ndarray, np.ndarray]]
    validated: Callable[[], Evaluation | None]

    def __post_init__(self):
        self.drawn = -SECONDS
        self.best: Evaluation | None = None

    def on_epoch_begin(self, epoch, logs=None):
        if not (self.run.path / report.BATCH).exists():
            attempt(self._draw_batch, self._path(report.BATCH))
        if epoch >= 2 and time.monotonic() - self.drawn >= SECONDS:
            attempt(self._draw_progress, self._path(report.CURVES))
            self.drawn = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        found = accuracies(self.checkpoint.rows)
        if found and found[-1][0] == epoch + 1 and found[-1][1] >= max(accuracy for _, accuracy in found):
            self.best = self.validated()

    def finish(self) -> None:
        """Write the final report. If the best epoch was not trained by this process, evaluate its network first."""
        attempt(self._write, self._path(report.REPORT))

    def _path(self, name: str) -> Path:
        return self.run.path / name

    def _draw_batch(self) -> None:
        report.draw_batch(*self.batch(), self.splits.labels, self.run)

    def _draw_progress(self) -> None:
        report.draw_curves(self.run)
        report.write_page(self.run, report.Results(self.splits, planned=self.checkpoint.plan.epochs))

    def _write(self) -> None:
        best = self.best and report.named(self.best, self.splits, self.run)
        report.write(self.run, report.Results(self.splits, best or validate(self.run, self.splits)))
