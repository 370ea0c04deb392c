"""The demo: train, export, verify and classify with the bundled images."""

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.utils import files
from keras_inception.utils.progress import Progress

if TYPE_CHECKING:
    from keras_inception.datasets import Examples
    from keras_inception.exporting.report import ExportReport

MINUTES = 8.2


def run(
    output: str | os.PathLike,
    *,
    minutes: float = MINUTES,
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> "ExportReport":
    """Train GoogLeNet on the pictograms, export and verify every variant, and classify with an exported file.

    Write ``pictograms/``, ``run/``, ``exported/``, ``predictions.png`` and ``report.json``. The report is that of
    `keras_inception.export`, except that its ``seconds`` cover the whole demo. An existing run is resumed, or exported
    again if it is complete.

    Args:
        output: folder to write into.
        minutes: time limit for training.
        say: called with a line of text at each step.
        progress: called with (description, number done, total) while the files are made and verified.

    Returns:
        The report.
    """
    output = Path(output)
    import keras_inception
    from keras_inception import datasets
    from keras_inception.training import RECIPES, train

    began = time.monotonic()
    pictures = datasets.pictograms(output / "pictograms")
    say(f"Unpacked the pictograms: {pictures}")
    training = time.monotonic()
    if (output / "run").exists():
        say(f"Resuming {output / 'run'}; to start over, remove {output}")
        trained = train(None, output / "run", resume=True)
    else:
        trained = train(pictures, output / "run", recipe=RECIPES["small"].replace(minutes=minutes))
    say(f"Trained in {(time.monotonic() - training) / 60:.1f} minutes: {trained.path}")
    exported = output / "exported"
    report = keras_inception.export(
        trained.path,
        exported,
        description="Says which of 19 kinds of things a pictogram shows.",
        verify_pictures="all",
        overwrite=True,
        on_step=say,
        on_progress=progress,
    )
    made = [row for row in report["variants"].values() if "path" in row]
    for row in made:
        row["path"] = str((exported / row["path"]).resolve())
    smallest = min(made, key=lambda row: row["mb"])["path"]
    _classify(smallest, datasets.open_folder(pictures).test, output / "predictions.png")
    say(f"Classified test images with the smallest exported file: {output / 'predictions.png'}")
    report = dataclasses.replace(report, seconds=round(time.monotonic() - began, 1))
    files.write_json(output / "report.json", report.to_dict())
    return report


def _classify(file: str, test: "Examples", path: Path) -> None:
    """Draw the predictions of an exported file for up to a dozen test images, one per class."""
    from keras_inception import figures
    from keras_inception.tflite.classifier import TFLiteClassifier

    classifier = TFLiteClassifier(file)
    chosen = np.random.default_rng(0).permutation(len(test))
    first_of_class = {test.labels[index]: index for index in reversed(chosen)}
    shown = list(first_of_class.values())[:12]
    images = np.stack([classifier.preprocessing.fit(test.read(index)) for index in shown])
    truth = [int(test.labels[index]) for index in shown]
    figures.prediction_picture(images, classifier.predict(images), classifier.labels, truth, path)
