"""`evaluate`, with a report: mistakes, confused classes, labels that are probably wrong, and "not sure"."""

import contextlib
import os
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_inception import datasets, figures
from keras_inception.evaluation import evaluator, predictions
from keras_inception.evaluation.abstention import accuracy_by_answered, shown_threshold
from keras_inception.evaluation.classifiers import Source, located, name_of
from keras_inception.evaluation.label_errors import find_label_errors
from keras_inception.evaluation.metrics import CHOSEN_ON, Evaluation, ImageResults
from keras_inception.reports import charts, evaluated, html
from keras_inception.reports import output as output_folder
from keras_inception.reports.output import CONFUSION, LABEL_ERRORS, MISTAKES, REPORT
from keras_inception.runs import Run
from keras_inception.utils import files
from keras_inception.utils.progress import Progress, silent
from keras_inception.utils.tables import number

DRAWN_SIDE = 256  # pixels of an image in `MISTAKES`
SHOWN_LABEL_ERRORS = 36
MEMORIZED = "A network may have learned the labels of its training images by heart, wrong ones too"


class LabelErrors(NamedTuple):
    """Labels that are probably wrong.

    Attributes:
        images: indices of the images, the most suspicious first.
        judged: number of images whose labels were judged.
        notes: what is known of the training images among them, as sentences.
    """

    images: np.ndarray
    judged: int
    notes: Sequence[str]


def evaluate(
    source: Source,
    images: str | os.PathLike | None = None,
    *,
    output: str | os.PathLike | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Evaluation:
    """Evaluate a trained or exported network on labeled images, and write a report.

    ``print(keras_inception.evaluate("run"))`` shows accuracy, calibration, a table by class, and how accuracy grows if
    the network may say "not sure". Images that are left out are logged as warnings.

    Args:
        source: a run directory, a `Run`, a ``.tflite`` file, a model file (`keras_inception.load`), or a `Classifier`
            such as ``KerasClassifier(model, class_names, preprocessing)``.
        images: labeled images of the network's classes, as for `keras_inception.datasets.open_data`. If there are
            splits, the test split is preferred. None uses the held-out images of a run.
        output: folder to create for the report: ``report.html`` with the worst mistakes and the labels that are
            probably wrong, ``predictions.csv``, ``confusion.png``, ``mistakes.png``, and ``label_errors.csv`` if there
            are any. Default: no report.
        overwrite: replace an earlier report in `output`.
        **options: `crops`, `ensemble`, `preprocessing`, `labels`, `root`, `columns`, `strict`, `custom_objects` and
            `on_progress`, as for `keras_inception.evaluation.evaluate`.

    Raises:
        FileExistsError: `output` exists and `overwrite` is false, or it is not a report.
        FileNotFoundError: a source does not exist.
        ValueError: as for `keras_inception.evaluation.evaluate`.
    """
    check_output(output, overwrite)
    result = evaluator.evaluate(source, images, **options)
    if output is not None:
        sources = [source, *options.get("ensemble", ())]
        write(result, sources, images, output, options.get("on_progress") or silent)
    return result


def check_output(output: str | os.PathLike | None, overwrite: bool) -> None:
    """Raise FileExistsError if a report cannot be written to a folder, such as one that exists."""
    if output is None:
        return
    if os.path.lexists(output) and not overwrite:
        raise FileExistsError(f"{output} exists: choose another folder, or overwrite it (--overwrite)")
    output_folder.check_output(output, overwrite)


def write(
    result: Evaluation,
    sources: Sequence[Source],
    images: str | os.PathLike | None,
    output: str | os.PathLike,
    progress: Progress = silent,
) -> None:
    """Write the report of an evaluation to a folder, completely or not at all.

    Args:
        result: result of `keras_inception.evaluation.evaluate`.
        sources: the networks that were evaluated.
        images: the images as they were given to it.
        output: the folder, which is replaced if it exists.
        progress: called with (description, number done, total), for a progress bar.
    """
    answers = result.images
    assert answers is not None
    assert answers.examples is not None
    errors = label_errors(answers, sources, images, result.class_names, progress)
    with output_folder.report_folder(output, overwrite=True) as folder:
        predictions.write(folder / predictions.FILE, answers, result.class_names)
        figures.confusion_picture(result, folder / CONFUSION)
        chosen = evaluated.drawn_mistakes(answers)
        drawn = [_reduced(answers.examples.read(index)) for index in chosen]
        truth = answers.truth[chosen].tolist()
        figures.prediction_picture(drawn, answers.probabilities[chosen], result.class_names, truth, folder / MISTAKES)
        if len(errors.images):
            files.write_csv(folder / LABEL_ERRORS, _rows(errors, answers, result.class_names))
        parts = _parts(result, answers, errors, sources, output, folder)
        html.write(folder / REPORT, html.page(f"Evaluation of {Path(result.models[0]).name}", *parts))


def label_errors(
    answers: ImageResults,
    sources: Sequence[Source],
    images: str | os.PathLike | None,
    class_names: Sequence[str],
    progress: Progress = silent,
) -> LabelErrors:
    """Find labels that are probably wrong among the images that the networks were not trained on.

    Args:
        answers: the answers to each image.
        sources: the networks that were evaluated.
        images: the images as they were given to `evaluate`; None for the held-out images of the first network.
        class_names: names of the classes.
        progress: called with (description, number done, total), for a progress bar.
    """
    assert answers.examples is not None
    judged, notes = np.ones(len(answers), bool), []
    for place, source in enumerate(sources):
        name, found = name_of(source), located(source)
        if not isinstance(found, Run):
            notes.append(f"It is unknown which images {name} was trained on: they may be among these. {MEMORIZED}.")
        elif images is None and place == 0:
            notes.append(f"None of these is a training image of {name}: they were held out.")
        else:
            try:
                training = _training(found, images, class_names, progress)
            except (OSError, ValueError) as error:
                notes.append(f"The training images of {name} may be among these, since they cannot be opened: {error}")
                continue
            same = answers.examples.among(training)
            judged &= ~same
            known = number(int(same.sum()), "training image")
            notes.append(f"Training images of {name} are not judged: {known} of these. {MEMORIZED}.")
    indices = np.flatnonzero(judged)
    suspicious = indices[find_label_errors(answers.probabilities[indices], answers.truth[indices])]
    return LabelErrors(suspicious, len(indices), notes)


def _training(
    run: Run, images: str | os.PathLike | None, class_names: Sequence[str], progress: Progress
) -> datasets.Examples:
    """Return the training images of a run, or the same ones in `images` if they were moved there.

    Raises:
        OSError, ValueError: they are in neither.
    """
    scan = partial(progress, "Scanning training images")
    arguments = {**run.data, "labels": class_names, "progress": scan}
    try:
        return datasets.open_data(**arguments).train
    except (OSError, ValueError):
        if images is not None and run.fingerprint:
            with contextlib.suppress(OSError, ValueError):
                moved = datasets.open_data(**{**arguments, "source": images})
                if not moved.changed(run.fingerprint, ["train"]):
                    return moved.train
        raise


def _rows(errors: LabelErrors, answers: ImageResults, class_names: Sequence[str]) -> list[dict[str, str | float]]:
    """Return the rows of ``label_errors.csv``."""
    rows: list[dict[str, str | float]] = []
    for index in errors.images.tolist():
        label, guess = class_names[answers.truth[index]], class_names[answers.predicted[index]]
        reason = f"probably {guess} ({answers.confidence[index]:.1%}), not {label}"
        rows.append({"path": answers.paths[index], "reason": reason, "label": label, "predicted": guess})
    return rows


def _reduced(picture: np.ndarray) -> np.ndarray:
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((DRAWN_SIDE, DRAWN_SIDE))
    return np.asarray(image)


def _parts(
    result: Evaluation,
    answers: ImageResults,
    errors: LabelErrors,
    sources: Sequence[Source],
    output: str | os.PathLike,
    folder: Path,
) -> list[str]:
    """Return the parts of the page. The figures are in `folder`."""
    assert answers.examples is not None
    about = [", ".join(result.models), evaluated.accuracy(result)]
    if result.crops > 1 or len(result.models) > 1:
        crops, networks = number(result.crops, "crop"), number(len(result.models), "network")
        about.append(f"Averaged over {crops} of each image and {networks}.")
    return [
        *map(html.paragraph, about),
        html.section('If it may say "not sure"', *_not_sure(result, answers)),
        *evaluated.mistakes(result, answers.examples),
        *_confused(result),
        html.section("Labels that are probably wrong", *_suspicious(errors, answers, result.class_names)),
        html.section("Confusion", evaluated.confusion(result, folder / CONFUSION)),
        html.section("Calibration", evaluated.calibration(result)),
        html.section("By class", evaluated.by_class(result)),
        html.section("How to go on", html.commands(*_commands(result, errors, sources[0], output))),
    ]


def _not_sure(result: Evaluation, answers: ImageResults) -> list[str]:
    rows = [
        (shown_threshold(row.threshold), f"{row.answered:.1%}", None if row.top1 is None else f"{row.top1:.1%}")
        for row in result.not_sure
    ]
    right = answers.predicted == answers.truth
    said = "Below a threshold of its highest probability, the network gives no answer."
    return [
        html.paragraph(f"{said} {CHOSEN_ON[result.not_sure_chosen_on]}"),
        html.table(["not sure below", "answered", "top-1"], rows, align="rrr"),
        charts.abstention_chart(*accuracy_by_answered(answers.confidence, right), result.not_sure),
    ]


def _confused(result: Evaluation) -> list[str]:
    if not result.confused_pairs:
        return []
    rows = [(*pair[:2], pair.pictures, *pair[2:]) for pair in result.confused_pairs]
    headers = ["class", "and class", "images", "first as second", "second as first"]
    return [html.section("Classes that are taken for each other", html.table(headers, rows, align="llrrr"))]


def _suspicious(errors: LabelErrors, answers: ImageResults, class_names: Sequence[str]) -> list[str]:
    assert answers.examples is not None
    count = len(errors.images)
    said = f"{number(count, 'label')} of {errors.judged}, found by confident learning (Northcutt et al. 2021)."
    parts = list(map(html.paragraph, [said, *errors.notes]))
    if not count:
        return parts
    listed = f"The most suspicious come first; {LABEL_ERRORS} lists all. The less accurate the network, the more of"
    shown = errors.images[:SHOWN_LABEL_ERRORS].tolist()
    gallery = evaluated.gallery(answers, class_names, shown, answers.examples.read)
    return [*parts, html.paragraph(f"{listed} these are mistakes of its own."), gallery]


def _commands(result: Evaluation, errors: LabelErrors, source: Source, output: str | os.PathLike) -> list[str]:
    lines = []
    if isinstance(located(source), Run) and result.not_sure:
        threshold = shown_threshold(result.not_sure[1].threshold)
        lines.append(f"keras-inception export {shlex.quote(name_of(source))} --not-sure {threshold}")
    if len(errors.images):
        lines.append(f"keras-inception train PICTURES --exclude {shlex.quote(str(Path(output) / LABEL_ERRORS))}")
    return [*lines, "keras-inception check PICTURES"]
