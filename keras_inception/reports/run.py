"""The report of a run: its page, its figures, and the table of predictions."""

import contextlib
import dataclasses
import logging
import math
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from keras_inception import figures
from keras_inception.datasets import Augmentation, Splits, training_batches
from keras_inception.datasets.batches import batch_mixing, first_batch
from keras_inception.evaluation import predictions
from keras_inception.evaluation.metrics import Evaluation, ImageResults
from keras_inception.reports import charts, evaluated, html
from keras_inception.reports.output import CONFUSION, MISTAKES, REPORT
from keras_inception.runs import LEFT_OUT, METRICS, MODEL, RECIPE, Run
from keras_inception.utils import files

T = TypeVar("T")
log = logging.getLogger(__name__)

CURVES, BATCH = "curves.png", "batch.png"
SHOWN_LEFT_OUT, DRAWN_IMAGES = 100, 16
SHORT = 200_000  # bytes of the short form, at most
PERCENT = {"top-1": True}


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
    """What is known of a run beside its directory.

    Attributes:
        splits: its images; None if they are not there any more.
        evaluation: the evaluation of its network on the validation images, with the answers to each image; None if
            there is none yet.
        planned: number of epochs that a running training is going to take; None if it has ended.
        notes: sentences that the report begins with.
    """

    splits: Splits | None = None
    evaluation: Evaluation | None = None
    planned: int | None = None
    notes: Sequence[str] = ()


def write(run: Run, results: Results) -> None:
    """Write the report of a run and the files beside it, each of them completely or not at all.

    A figure that cannot be drawn is a warning. The page is written in any case.
    """
    attempt(lambda: draw_curves(run), run.path / CURVES)
    evaluation, splits = results.evaluation, results.splits
    if evaluation is not None and evaluation.images is not None and splits is not None:
        images, names = evaluation.images, evaluation.class_names
        attempt(lambda: predictions.write(run.path / predictions.FILE, images, names), run.path / predictions.FILE)
        attempt(lambda: figures.confusion_picture(evaluation, run.path / CONFUSION), run.path / CONFUSION)
        attempt(lambda: _draw_mistakes(run, images, splits), run.path / MISTAKES)
    write_page(run, results)


def attempt(action: Callable[[], T], what: Path) -> T | None:
    """Do something that a training can do without: an error becomes a warning that names the file `what`."""
    try:
        return action()
    except Exception as error:
        log.warning("%s was not written: %.300s", what, " ".join(str(error).split()) or type(error).__name__)
        return None


def draw_curves(run: Run) -> None:
    """Draw ``curves.png``, if an epoch is finished."""
    if rows := run.metrics:
        figures.curves_picture(rows, run.path / CURVES)


def named(evaluation: Evaluation, splits: Splits) -> Evaluation:
    """Return the evaluation of a run's validation images with the paths of these."""
    assert evaluation.images is not None
    images = dataclasses.replace(evaluation.images, paths=splits.validation.paths())
    return dataclasses.replace(evaluation, images=images)


def draw_batch(pictures: np.ndarray, targets: np.ndarray, class_names: Sequence[str], run: Run) -> None:
    """Draw ``batch.png``: the first images of a batch with their labels.

    Args:
        pictures: (batch, height, width, 3), 0 to 255.
        targets: one-hot or mixed labels, (batch, classes).
        class_names: names of the classes.
        run: the run.
    """
    shown = np.clip(np.rint(pictures[:DRAWN_IMAGES]), 0, 255).astype(np.uint8)
    labels = [_target(target, class_names) for target in targets[:DRAWN_IMAGES]]
    figures.batch_picture(shown, labels, run.path / BATCH)


def draw_first_batch(run: Run, splits: Splits) -> None:
    """Draw ``batch.png`` for a run whose training has not done it."""
    recipe = files.read_json(run.path / RECIPE)
    side = recipe.get("training_size") or recipe.get("size")
    size = run.preprocessing.size if side is None else (side, side) if isinstance(side, int) else tuple(side)
    augmentation, seed = Augmentation.from_dict(recipe.get("augmentation", {})), recipe.get("seed", 0)
    batches = training_batches(
        splits.train,
        run.preprocessing.replace(size=size).without_normalization(),
        batch_size=recipe.get("batch_size", DRAWN_IMAGES),
        seed=seed,
        first_epoch=0,
        epochs=1,
        augmentation=augmentation,
    )
    mixed = batch_mixing(augmentation, len(splits.labels), seed)
    draw_batch(*first_batch(batches, mixed), splits.labels, run)


def write_page(run: Run, results: Results) -> None:
    """Write ``report.html``."""
    html.write(run.path / REPORT, html.page(f"Report of {run.path.resolve().name}", *_parts(run, results)))


def short(run: Run) -> str:
    """Return a short form of the report for a notebook, below 200 KB, from the files of the run alone."""
    rows = run.metrics
    parts = [html.paragraph(str(run)), *([charts_of(rows)] if rows else [])]
    with contextlib.suppress(OSError):
        from PIL import Image

        with Image.open(run.path / MISTAKES) as drawn:
            shown = html.thumbnail(drawn, 320)
        parts += [html.paragraph("Of the validation images:", faint=True), shown]
    fragment = html.fragment(*parts)
    return fragment if len(fragment.encode()) < SHORT else html.fragment(*parts[:2])


def charts_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the charts of loss, top-1 and learning rate."""
    drawn = []
    for title, lines in figures.curves(rows).items():
        shown = [
            charts.Line(name, points, color=place, dashed=place > 1)
            for place, (name, points) in enumerate(lines.items())
        ]
        drawn.append(charts.line_chart(title, shown, percent=title in PERCENT))
    return '<div class="charts">\n' + "\n".join(drawn) + "\n</div>"


def recipe_of(run: Run) -> dict[str, Any]:
    """Return the fields of a run's recipe, with those of nested fields as ``options.stem_stride``."""
    flat: dict[str, Any] = {}
    for name, value in files.read_json(run.path / RECIPE).items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": each for inner, each in value.items()}
        else:
            flat[name] = value
    return flat


def loss_explained(recipe: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], classes: int, command: str) -> str:
    """Return what the training loss includes and the validation loss does not."""
    said = ["The training loss is the mean over an epoch, while the weights change, on augmented images with dropout"]
    if recipe.get("ema"):
        said[0] += "; validation uses the moving average of the weights"
    smoothing = recipe.get("label_smoothing") or 0
    if smoothing and classes > 1:
        low = _smallest_loss(smoothing, classes)
        said.append(f"It includes label smoothing of {smoothing:g}, with which it cannot fall below {low:.2f}")
    mixed = [name for name in ("mixup", "cutmix") if recipe.get(f"augmentation.{name}")]
    if mixed:
        said.append(f"Images and labels are mixed ({' and '.join(mixed)}), which raises it")
    if recipe.get("class_weights"):
        said.append("Images of rare classes weigh more in it")
    if command == "compress":
        said.append("Its targets are partly the predictions of the network that is compressed, unless that is off")
    if any("predictions_loss" in row for row in rows):
        weight = recipe.get("auxiliary_weight")
        said.append(f"The loss in {METRICS} adds {weight:g} times the loss of each auxiliary head")
    if recipe.get("weight_decay"):
        said.append(f"Weight decay of {recipe['weight_decay']:g} acts on the weights and is not part of the loss")
    if recipe.get("network") is None:
        said.append("Penalties of the network's own layers, if it has any, are part of the training loss")
    return ". ".join(said) + "."


def next_commands(run: Run) -> list[str]:
    """Return the commands that go on from a run."""
    path, recipe, done = shlex.quote(str(run.path)), files.read_json(run.path / RECIPE), len(run.metrics)
    longer = "" if done < recipe["epochs"] and not recipe.get("minutes") else f" --epochs {2 * done}"
    again = [
        f"keras-inception train --resume --output {path}{longer}",
        f"keras-inception compress {path} --output small --macs 0.5",
    ]
    return [
        f"keras-inception evaluate {path}",
        f"keras-inception predict {path} IMAGE",
        f"keras-inception export {path} --output exported",
        *(again if run.command == "train" else ()),
    ]


def best(rows: Sequence[Mapping[str, Any]]) -> tuple[float, int] | None:
    """Return the best validation top-1 and its epoch; ties go to the later epoch, as in training."""
    return max(((row["val_top1"], row["epoch"]) for row in rows if "val_top1" in row), default=None)


def _parts(run: Run, results: Results) -> list[str]:
    """Return the parts of the page."""
    rows, recipe, evaluation = run.metrics, recipe_of(run), results.evaluation
    parts = [html.paragraph(str(run)), *map(html.paragraph, results.notes)]
    if results.planned is not None:
        parts.append(html.paragraph(f"Written during the training, after {len(rows)} of {results.planned} epochs."))
    if rows:
        explained = html.paragraph(loss_explained(recipe, rows, len(run.labels), run.command), faint=True)
        parts.append(html.section("Curves", charts_of(rows), explained))
    if (run.path / BATCH).is_file():
        caption = "Images as the network is fed them, augmented, with their labels."
        parts.append(html.section("A batch", html.picture(run.path / BATCH, "a batch of training images", caption)))
    if evaluation is not None:
        accuracy = html.paragraph(evaluated.accuracy(evaluation))
        matrix = evaluated.confusion(evaluation, run.path / CONFUSION)
        parts.append(html.section("Validation", accuracy, matrix))
        parts.append(html.section("Calibration", evaluated.calibration(evaluation)))
        if results.splits is not None:
            parts += evaluated.mistakes(evaluation, results.splits.validation)
        parts.append(html.section("By class", evaluated.by_class(evaluation)))
    parts.append(html.section("Recipe", html.table((), _shown(recipe))))
    parts.append(html.section("Data", *_data(run, results.splits)))
    if (run.path / MODEL).is_file():
        parts.append(html.section("How to go on", html.commands(*next_commands(run))))
    return parts


def _data(run: Run, splits: Splits | None) -> list[str]:
    """Return what is known of the images of a run, and those that were left out."""
    settings = {key: value for key, value in run.data.items() if key not in ("labels", "exclude")}
    parts = [html.table((), _shown(settings | run.counts))]
    if splits is not None:
        names = ("train", "validation", "test")
        counts = [[int(n) for n in _counts(splits, name)] for name in names]
        rows = [(label, *each) for label, *each in zip(splits.labels, *counts, strict=True)]
        parts.append(html.table(["class", *names], [("all", *map(sum, counts)), *rows], align="lrrr"))
    if (run.path / LEFT_OUT).is_file():
        left = files.read_csv(run.path / LEFT_OUT)
        parts.append(html.paragraph(f"Left out: {len(left)}"))
        parts.append(html.table(["path", "reason"], [(row["path"], row["reason"]) for row in left[:SHOWN_LEFT_OUT]]))
    return parts


def _counts(splits: Splits, name: str) -> Sequence[int]:
    return np.bincount(getattr(splits, name).labels, minlength=len(splits.labels)).tolist()


def _shown(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of a table of settings, without those that are not set."""
    return [(name, _value(value)) for name, value in values.items() if value not in (None, "", [], {})]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_value, value)) if isinstance(value, list) else str(value)


def _target(target: np.ndarray, class_names: Sequence[str]) -> str:
    """Return the label of an image, or the shares of the labels of one that is mixed."""
    classes = np.flatnonzero(target > 0.005)
    if len(classes) == 1:
        return class_names[classes[0]]
    ordered = sorted(classes.tolist(), key=lambda index: -target[index])
    return " + ".join(f"{target[index]:.0%} {class_names[index]}" for index in ordered)


def _smallest_loss(smoothing: float, classes: int) -> float:
    """Return the cross-entropy of perfect predictions with smoothed labels."""
    rest = smoothing / classes
    true = 1 - smoothing + rest
    return -true * math.log(true) - (classes - 1) * rest * math.log(rest)


def _draw_mistakes(run: Run, images: ImageResults, splits: Splits) -> None:
    """Draw ``mistakes.png``: the worst mistakes, or without any the least certain images."""
    fit = run.preprocessing.fit
    chosen = evaluated.drawn_mistakes(images)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        shown = list(pool.map(lambda index: fit(splits.validation.read(index)), chosen))
    truth = [int(images.truth[index]) for index in chosen]
    figures.prediction_picture(shown, images.probabilities[chosen], run.labels, truth, run.path / MISTAKES)
