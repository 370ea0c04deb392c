"""Evaluate runs and exported files on labeled images."""

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from keras_inception import datasets
from keras_inception.datasets.sources import check_there
from keras_inception.datasets.splits import Progress as ScanProgress
from keras_inception.datasets.splits import left_out
from keras_inception.evaluation import crops as cropping
from keras_inception.evaluation import predictions
from keras_inception.evaluation.abstention import abstentions, choose_thresholds
from keras_inception.evaluation.classifiers import (
    Classifier,
    Labels,
    Source,
    check_description,
    located,
    name_of,
    open_classifier,
)
from keras_inception.evaluation.metrics import EVALUATED, VALIDATION, Evaluation, ImageResults, evaluate_batches
from keras_inception.model_files import check_custom_objects
from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import MODEL, Run
from keras_inception.utils import files
from keras_inception.utils.checks import check_one_of
from keras_inception.utils.progress import Progress, silent

log = logging.getLogger(__name__)


def evaluate(
    source: Source,
    images: str | os.PathLike | None = None,
    *,
    root: str | os.PathLike | None = None,
    columns: str | Sequence[str] | None = None,
    crops: int = 1,
    ensemble: Sequence[Source] = (),
    preprocessing: str | os.PathLike | Preprocessing | None = None,
    labels: Labels | None = None,
    strict: bool = False,
    custom_objects: str | os.PathLike | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a trained or exported network on labeled images.

    ``print(keras_inception.evaluate("run"))`` shows accuracy, calibration and a table by class. Images that are left
    out are logged as warnings.

    Args:
        source: a run directory, a `Run`, a ``.tflite`` file, a model file (`keras_inception.load`), or a `Classifier`
            such as ``KerasClassifier(model, class_names, preprocessing)``.
        images: labeled images of the network's classes, as for `keras_inception.datasets.open_data`. If there are
            splits, the test split is preferred. None uses the held-out images of a run.
        root: the folder that the paths in a table of labels are relative to. Default: that of the table.
        columns: names of the table's columns of paths and of labels. Default: as for `open_data`.
        crops: views of each image to average over: 1, 10, 12 or 144 (`keras_inception.evaluation.crops`).
        ensemble: more networks with the same classes, whose probabilities are averaged with those of `source`.
        preprocessing: preprocessing of a file: a `Preprocessing`, the name of one, or its JSON file. It is required for
            a model file, and for a ``.tflite`` file that does not say how its input is normalized; otherwise, it takes
            precedence.
        labels: class names of a file, or a text file with one per line. Default: those in a ``.tflite`` file.
        strict: raise an error if an image cannot be read.
        custom_objects: Python file with the classes and functions of a run's network or a model file, which is run
            (`keras_inception.load`).
        on_progress: called with (description, number done, total), for a progress bar.

    Raises:
        FileNotFoundError: a source does not exist.
        ValueError: a source is not a classifier; the classes differ or have no names; there are no labeled images; or
            `preprocessing` or `labels` is invalid, missing, or given for anything but a file.
    """
    described: dict[str, Any] = {"preprocessing": preprocessing, "labels": labels}
    table: dict[str, Any] = {"root": root, "columns": columns}
    check_evaluation(
        source, images, **table, crops=crops, ensemble=ensemble, custom_objects=custom_objects, **described
    )
    progress = on_progress or silent
    sources = [source, *ensemble]
    names = tuple(name_of(located(each)) for each in sources)
    others = [open_classifier(each, custom_objects=custom_objects) for each in ensemble]
    classifiers = [open_classifier(source, preprocessing, labels, custom_objects), *others]
    for name, each in zip(names, classifiers, strict=True):
        if not getattr(each, "has_labels", True):
            raise ValueError(f"{name} does not name its classes: give `labels` (--labels), a file with one per line")
    class_names = classifiers[0].labels
    cropping.check_class_names(names, [each.labels for each in classifiers])
    scan = partial(progress, "Scanning images")
    validation: datasets.Examples | None
    if images is None:
        labeled, validation, skipped = _held_out(_run(source), class_names, strict, scan)
    else:
        labeled, skipped = datasets.open_labelled(images, class_names, **table, strict=strict, progress=scan)
        validation = _validation(images, class_names, table, scan)
    for line in left_out(skipped):
        log.warning("%s", line)

    def classified(examples: datasets.Examples, step: str) -> Evaluation:
        return _classified(examples, classifiers, crops, partial(progress, step))

    result = classified(labeled, "Classifying")
    assert result.images is not None
    recorded = None if crops > 1 or ensemble else _recorded_confidence(source)
    confidence = None
    if not _is_validation(labeled, result.images, validation, recorded):
        confidence = recorded
        if recorded is None and validation:
            answers = classified(validation, "Classifying validation images").images
            confidence = None if answers is None else answers.confidence
    thresholds = choose_thresholds(result.images.confidence if confidence is None else confidence)
    right = result.images.predicted == result.images.truth
    named = dataclasses.replace(result.images, paths=labeled.paths(), examples=labeled)
    return dataclasses.replace(
        result,
        models=names,
        crops=crops,
        images=named,
        not_sure=abstentions(named.confidence, right, thresholds),
        not_sure_chosen_on=EVALUATED if confidence is None else VALIDATION,
    )


def check_evaluation(
    source: Source,
    images: str | os.PathLike | None,
    *,
    root: str | os.PathLike | None = None,
    columns: str | Sequence[str] | None = None,
    crops: int = 1,
    ensemble: Sequence[Source] = (),
    preprocessing: str | os.PathLike | Preprocessing | None = None,
    labels: Labels | None = None,
    custom_objects: str | os.PathLike | None = None,
) -> None:
    """Raise the errors of `evaluate` that can be found without loading a network."""
    check_one_of("crops", crops, cropping.CROPS)
    check_custom_objects(custom_objects)
    check_description(source, preprocessing, labels)
    for each in (source, *ensemble):
        located(each)
    if images is not None:
        datasets.recorded(images, root=root, columns=columns)
    elif root is not None or columns is not None:
        raise ValueError("`root` and `columns` are for a table of labels, which must be given as the images")
    else:
        run = _run(source)
        check_there(run, run.data, f"Give labeled images: keras-inception evaluate {run.path} IMAGES. ")


def _run(source: Source) -> Run:
    """Return `source` as a run, which records its held-out images; raise ValueError if it is not one."""
    found = located(source)
    if isinstance(found, Run):
        return found
    raise ValueError(f"labeled images must be given: {name_of(source)} is not a run with held-out images")


def _held_out(
    run: Run, class_names: Sequence[str], strict: bool, progress: ScanProgress
) -> tuple[datasets.Examples, datasets.Examples, Sequence[datasets.Skipped]]:
    """Return the test images of a run, or its validation images if it has none, both, and the images left out."""
    splits = datasets.open_data(**{**run.data, "labels": class_names}, strict=strict, progress=progress)
    if not splits.test and splits.changed(run.fingerprint, ["validation"]):
        warning = "%s has changed since %s was started: the images may include some of its training images"
        log.warning(warning, run.data["source"], run.path)
    return splits.test or splits.validation, splits.validation, splits.skipped


def _validation(
    images: str | os.PathLike, class_names: Sequence[str], table: Mapping[str, Any], progress: ScanProgress
) -> datasets.Examples | None:
    """Return the validation images beside the test images, None if there are none that can be used."""
    try:
        return datasets.open_validation(images, class_names, **table, progress=progress)
    except (OSError, ValueError) as error:
        log.warning("thresholds are chosen without the validation images: %s", error)
        return None


def _classified(
    examples: datasets.Examples, classifiers: Sequence[Classifier], crops: int, progress: ScanProgress
) -> Evaluation:
    """Evaluate networks together, and keep their answers to each image."""
    done = 0

    def on_batch(count: int) -> None:
        nonlocal done
        done += count
        progress(done, len(examples))

    batches = cropping.view_batches(examples, [each.preprocessing for each in classifiers], crops)
    predict, class_names = cropping.averaged(classifiers), classifiers[0].labels
    return evaluate_batches(predict, batches, class_names, keep=True, on_batch=on_batch)


def _is_validation(
    examples: datasets.Examples,
    answers: ImageResults,
    validation: datasets.Examples | None,
    recorded: np.ndarray | None,
) -> bool:
    """Return whether the images that are evaluated are the validation images on which thresholds would be chosen.

    Args:
        examples: the images that are evaluated.
        answers: the answers to them.
        validation: the validation images, if they are known.
        recorded: confidence on the validation images of the run, if it is known.
    """
    names = [[each.name(index) for index in range(len(each))] for each in (examples, validation) if each is not None]
    if len(names) == 2 and names[0] == names[1]:
        return True
    if recorded is None or len(recorded) != len(examples):
        return False
    return np.allclose(np.sort(recorded), np.sort(answers.confidence), rtol=0, atol=1e-3)


def _recorded_confidence(source: Source) -> np.ndarray | None:
    """Return the confidence of a run on its validation images, as its report recorded it; None if it is not known."""
    found = located(source)
    if not isinstance(found, Run):
        return None
    table, network = found.path / predictions.FILE, found.path / MODEL
    try:
        if table.stat().st_mtime_ns < network.stat().st_mtime_ns:  # of an earlier epoch
            return None
        confidence = np.array([float(row["probability"]) for row in files.read_csv(table)])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return confidence if len(confidence) and ((confidence >= 0) & (confidence <= 1)).all() else None
