"""The command evaluate, and the arguments that it shares with predict."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from keras_inception.cli import console
from keras_inception.utils import files
from keras_inception.utils.progress import bars

Source = Annotated[
    Path, Argument(metavar="RUN|FILE", help="A run directory, a .tflite file, an export's folder, or your own model.")
]
Preprocessing = Annotated[
    str | None, Option(help="Name or JSON file, for a model and for a file that does not say how it normalizes.")
]
Labels = Annotated[Path | None, Option(help="File with one class name per line, for a model or file without them.")]


def evaluate(
    source: Source,
    images: Annotated[
        str | None, Argument(metavar="DATA", help="Labeled images (the test split, if any). Default: held-out images.")
    ] = None,
    pictures: console.Pictures = None,
    columns: console.Columns = None,
    crops: Annotated[int, Option(help="Views of each image to average over: 1, 10, 12 or 144.")] = 1,
    ensemble: Annotated[
        list[Path] | None, Option(metavar="RUN|FILE.tflite", help="Another network to average with. Repeatable.")
    ] = None,
    output: Annotated[Path | None, Option("--output", "-o", help="Folder to create for a report.")] = None,
    confusion: Annotated[Path | None, Option(help="PNG file for a plot of the confusion matrix.")] = None,
    preprocessing: Preprocessing = None,
    labels: Labels = None,
    strict: console.Strict = False,
    custom_objects: console.CustomObjects = None,
    overwrite: console.Overwrite = False,
    json: console.Json = False,
) -> None:
    """Evaluate a network: top-1, top-5, calibration, "not sure", results by class.

    The report of --output shows the mistakes, classes that are confused, and labels that are probably wrong.
    """
    from keras_inception.evaluation import classifiers, evaluator
    from keras_inception.reports import evaluation

    options: dict[str, Any] = {
        **{"crops": crops, "ensemble": ensemble or (), "preprocessing": preprocessing, "labels": labels},
        **{"custom_objects": custom_objects, "root": pictures, "columns": columns},
    }
    evaluator.check_evaluation(source, images, **options)
    evaluation.check_output(output, overwrite)
    files.check_parent(confusion)
    if any(map(classifiers.needs_keras, (source, *(ensemble or ())))) or str(images).startswith("tfds:"):
        console.import_tensorflow()
    options |= {"output": output, "overwrite": overwrite, "strict": strict, "on_progress": bars()}
    result = evaluation.evaluate(source, images, **options)
    if confusion:
        from keras_inception import figures

        figures.confusion_picture(result, confusion)
    console.show(result, json)
    if confusion and not json:
        typer.echo(f"Confusion matrix: {confusion}")
    if output and not json:
        typer.echo(f"Report: {output / evaluation.REPORT}")
