"""The command predict, and the formats in which it prints its answers."""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from keras_inception.cli import console
from keras_inception.cli.evaluating import Labels, Preprocessing, Source
from keras_inception.utils import tables

if TYPE_CHECKING:
    from keras_inception.evaluation.prediction import Answer, Prediction

STANDARD_INPUT = "-"
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def predict(
    source: Source,
    images: Annotated[
        list[str],
        Argument(metavar="IMAGE...", help="Images, folders, quoted patterns, or - for paths on standard input."),
    ],
    top: Annotated[int, Option(min=1, help="Number of classes to print per image.")] = 5,
    preprocessing: Preprocessing = None,
    labels: Labels = None,
    custom_objects: console.CustomObjects = None,
    json: console.Json = False,
    jsonl: Annotated[bool, Option("--jsonl", help="Print a line of JSON per image.")] = False,
    csv: Annotated[bool, Option("--csv", help="Print a table with the probabilities of all classes as CSV.")] = False,
    output: Annotated[
        Path | None, Option("--output", "-o", help="Folder to create for predictions.csv and a contact sheet.")
    ] = None,
    overwrite: console.Overwrite = False,
) -> None:
    """Print the most probable classes of images, a line per image."""
    from keras_inception.evaluation import classifiers, prediction
    from keras_inception.reports.output import REPORT, check_output

    if json + jsonl + csv > 1:
        raise ValueError("give one of --json, --jsonl and --csv")
    options: dict[str, Any] = {"preprocessing": preprocessing, "labels": labels, "custom_objects": custom_objects}
    given = _paths(images) if STANDARD_INPUT in images else images
    prediction.check_prediction(source, given, top=top, **options)
    if output:
        check_output(output, overwrite)
    if not prediction.none_there(given) and classifiers.needs_keras(source):
        console.import_tensorflow()
    class_names, answers = prediction.answer(source, given, **options)
    if output:
        from keras_inception.reports.contact_sheet import contact_sheet

        answers = contact_sheet(answers, output, str(source), class_names, overwrite=overwrite)
    unreadable = 0

    def named() -> Iterator["Answer"]:
        nonlocal unreadable
        for answer in answers:
            if answer.error is not None:
                unreadable += 1
                typer.echo(_one_line(f"error: {answer.path}: {answer.error}"), err=True)
            yield answer

    predictions = (answer.prediction(class_names, top) for answer in named())
    shown = _json if json else _json_lines if jsonl else _text
    for text in _csv(named(), class_names) if csv else shown(predictions):
        typer.echo(text, nl=False)
    if output:
        typer.echo(f"Report: {output / REPORT}", err=True)
    if unreadable:
        raise typer.Exit(1)


def _paths(images: Iterable[str]) -> Iterator[str]:
    """Yield paths, with those on standard input, one per line, in place of a dash."""
    for image in images:
        if image == STANDARD_INPUT:
            yield from filter(None, (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer))
        else:
            yield image


def _text(predictions: Iterable["Prediction"]) -> Iterator[str]:
    return (f"{_one_line(str(prediction))}\n" for prediction in predictions if prediction.error is None)


def _one_line(text: str) -> str:
    """Escape line breaks, and what controls a terminal, in the name of a file."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _json_lines(predictions: Iterable["Prediction"]) -> Iterator[str]:
    return (f"{console.as_json(prediction.to_dict())}\n" for prediction in predictions)


def _json(predictions: Iterable["Prediction"]) -> Iterator[str]:
    """Yield the parts of a list on one line."""
    before = "["
    for prediction in predictions:
        yield before + console.as_json(prediction.to_dict())
        before = ", "
    yield "]\n" if before == ", " else "[]\n"


def _csv(answers: Iterable["Answer"], class_names: Sequence[str]) -> Iterator[str]:
    from keras_inception.evaluation import predictions

    yield tables.csv_line(predictions.columns(class_names, labeled=False))
    for answer in answers:
        if answer.probabilities is not None:
            yield tables.csv_line(predictions.row(answer.path, answer.probabilities, class_names, None).values())
