"""The callback that draws a run while it trains, and writes its report at the end."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from keras_inception.datasets import Splits
from keras_inception.evaluation import predictions
from keras_inception.evaluation.metrics import Evaluation
from keras_inception.reports import run as report
from keras_inception.reports.reporting import validate
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
        self.best: Evaluation | None = None
        self.next_drawing = 0.0
        self.has_batch = (self.run.path / report.BATCH).exists()

    def on_epoch_begin(self, epoch, logs=None):
        if not self.has_batch:
            report.attempt(self._draw_batch, self.run.path / report.BATCH)
            self.has_batch = True  # or it cannot be drawn
        if epoch >= 2 and time.monotonic() >= self.next_drawing:
            drawn = report.attempt(self._draw_progress, self.run.path / report.CURVES)
            self.next_drawing = time.monotonic() + SECONDS if drawn else math.inf

    def on_epoch_end(self, epoch, logs=None):
        found = accuracies(self.checkpoint.rows)
        if found and found[-1][0] == epoch + 1 and found[-1][1] >= max(accuracy for _, accuracy in found):
            self.best = self.validated()

    def finish(self) -> None:
        """Write the final report. If the best epoch was not trained by this process, evaluate its network first."""
        evaluation = report.attempt(self._evaluation, self.run.path / predictions.FILE)
        results = report.Results(self.splits, evaluation)
        report.attempt(lambda: report.write(self.run, results), self.run.path / report.REPORT)

    def _evaluation(self) -> Evaluation:
        if self.best is not None:
            return report.named(self.best, self.splits)
        return validate(self.run, self.splits)

    def _draw_batch(self) -> None:
        report.draw_batch(*self.batch(), self.splits.labels, self.run)

    def _draw_progress(self) -> bool:
        report.draw_curves(self.run)
        report.write_page(self.run, report.Results(self.splits, planned=self.checkpoint.plan.epochs))
        return True
