"""`report`: make the report of a run anew, or lay several runs side by side."""

import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from keras_inception import datasets
from keras_inception.evaluation import crops
from keras_inception.evaluation.classifiers import open_classifier
from keras_inception.evaluation.metrics import Evaluation, evaluate_batches
from keras_inception.reports import comparison, html
from keras_inception.reports import run as of_run
from keras_inception.runs import MODEL, RECIPE, Run
from keras_inception.utils.progress import Progress, silent

log = logging.getLogger(__name__)


def report(
    runs: str | os.PathLike | Sequence[str | os.PathLike],
    output: str | os.PathLike | None = None,
    *,
    custom_objects: str | os.PathLike | None = None,
    on_progress: Progress | None = None,
) -> Path:
    """Make the report of a run anew, or lay several runs side by side in one page.

    The report of a run is ``report.html`` in its folder, with the figures and ``predictions.csv`` beside it. Training
    leaves one; this makes it for runs that were killed or that older versions trained. If the images of the run are not
    there any more, it shows what the run itself records.

    Several runs are laid side by side: their curves, what differs in their recipes, and their validation accuracy with
    its interval.

    Args:
        runs: a run directory, or several.
        output: HTML file for several runs; default ``report.html`` in the working directory.
        custom_objects: Python file with the classes and functions of a run's network, which is run
            (`keras_inception.load`).
        on_progress: called with (description, number done, total), for a progress bar.

    Returns:
        The path of the page.

    Raises:
        ValueError: `runs` has no run directories, or `output` is given for one run.
        FileExistsError: `output` is a file that is no report.
    """
    found = check_report(runs, output)
    progress = on_progress or silent
    if len(found) == 1:
        write(found[0], custom_objects, progress)
        return found[0].path / of_run.REPORT
    for run in found:
        if comparison.validated(run) is None:
            write(run, custom_objects, progress)
    target = Path(output or of_run.REPORT)
    html.write(target, comparison.page(found))
    return target


def check_report(
    runs: str | os.PathLike | Sequence[str | os.PathLike], output: str | os.PathLike | None = None
) -> list[Run]:
    """Return the runs of a report. Raise the errors of `report`."""
    paths = [runs] if isinstance(runs, (str, os.PathLike)) else list(runs)
    found = [Run(Path(path)) for path in paths]
    if not found:
        raise ValueError("`runs` must be one run directory or more. Received: none")
    if len(found) == 1 and output is not None:
        raise ValueError(f"`output` is for several runs: the report of one stays in it. Received: output={output}")
    target = Path(output or of_run.REPORT)
    if len(found) > 1 and target.exists() and not _is_report(target):
        raise FileExistsError(f"{target} exists and is no report of several runs: choose another --output")
    return found


def write(run: Run, custom_objects: str | os.PathLike | None = None, progress: Progress = silent) -> None:
    """Write the report of a run, with as much as can be found out."""
    notes: list[str] = []
    splits = _opened(run, notes, progress)
    evaluation = None
    if not (run.path / MODEL).is_file():
        notes.append("The training has not finished an epoch yet.")
    elif splits is not None and len(splits.validation):
        evaluation = validate(run, splits, custom_objects, progress)
    if splits is not None and not (run.path / of_run.BATCH).is_file():
        of_run.attempt(lambda: of_run.draw_first_batch(run, splits), run.path / of_run.BATCH)
    of_run.write(run, of_run.Results(splits, evaluation, notes=notes))


def validate(
    run: Run, splits: datasets.Splits, custom_objects: str | os.PathLike | None = None, progress: Progress = silent
) -> Evaluation:
    """Evaluate the network of a run on its validation images, and keep the answers to each."""
    done, count = 0, len(splits.validation)

    def on_batch(images: int) -> None:
        nonlocal done
        done += images
        progress("Classifying", done, count)

    classifier = open_classifier(run, custom_objects=custom_objects)
    batches = crops.view_batches(splits.validation, [classifier.preprocessing])
    result = evaluate_batches(crops.averaged([classifier]), batches, run.labels, keep=True, on_batch=on_batch)
    return of_run.named(result, splits)


def _is_report(path: Path) -> bool:
    """Return whether a file is a page of this package, and not the report of a run, which belongs to it."""
    is_page = path.is_file() and html.STYLE_CLASS in path.read_text(encoding="utf-8", errors="replace")
    return is_page and not (path.parent / RECIPE).is_file()


def _opened(run: Run, notes: list[str], progress: Progress) -> datasets.Splits | None:
    """Return the images of a run; None, and a note, if they are not there any more."""
    arguments = {**run.data, "labels": run.labels}
    try:
        splits = datasets.open_data(**arguments, progress=partial(progress, "Scanning images"))
    except (OSError, ValueError) as error:
        notes.append(f"The images of this run cannot be opened, so the report has none of them: {error}")
        log.warning("%s: the report shows no images: %s", run.path, error)
        return None
    if splits.changed(run.fingerprint, ["validation"]):
        notes.append("The images have changed since the training: some of these may have been training images.")
    return splits
