"""Commands that classify images: evaluate and predict."""

from pathlib import Path
from typing import Annotated

import typer

from keras_inception.cli import console

SOURCE = "A run directory or a .tflite file."


def evaluate(
    source: Annotated[Path, typer.Argument(metavar="RUN|FILE.tflite", help=SOURCE)],
    images: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]", help="Labeled images; their test split, if any. Default: RUN's held-out images."
        ),
    ] = None,
    crops: Annotated[int, typer.Option(help="Views of each image to average over: 1, 10, 12 or 144.")] = 1,
    ensemble: Annotated[
        list[Path] | None, typer.Option(metavar="RUN|FILE.tflite", help="Another network to average with. Repeatable.")
    ] = None,
    confusion: Annotated[Path | None, typer.Option(help="PNG file for a plot of the confusion matrix.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help=console.STRICT)] = False,
    json: console.Json = False,
) -> None:
    """Evaluate a network: top-1, top-5, calibration, results by class."""
    from keras_inception.evaluation import evaluator
    from keras_inception.utils import files
    from keras_inception.utils.progress import bars

    evaluator.check_evaluation(source, images, crops=crops, ensemble=ensemble or ())
    files.check_parent(confusion)
    console.import_tensorflow()
    result = evaluator.evaluate(source, images, crops=crops, ensemble=ensemble or (), strict=strict, on_progress=bars())
    if confusion:
        from keras_inception import figures

        figures.confusion_picture(result, confusion)
    if json:
        console.print_json(result.to_dict())
        return
    typer.echo(result)
    if confusion:
        typer.echo(f"Confusion matrix: {confusion}")


def predict(
    source: Annotated[Path, typer.Argument(metavar="RUN|FILE.tflite", help=SOURCE)],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files to classify.")],
    top: Annotated[int, typer.Option(min=1, help="Number of classes to print per image.")] = 5,
    json: console.Json = False,
) -> None:
    """Print the most probable classes of images."""
    from keras_inception.evaluation import prediction

    prediction.check_prediction(source, images)
    if source.is_dir():
        console.import_tensorflow()
    result = prediction.predict(source, images, top=top)
    if json:
        console.print_json(result.to_dict())
    else:
        typer.echo(result)
