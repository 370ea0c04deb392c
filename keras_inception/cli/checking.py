"""The command that looks through labeled images: check."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from keras_inception.cli import console
from keras_inception.utils.progress import bars


def check(
    images: Annotated[str, Argument(metavar="IMAGES", help=console.DATA)],
    pictures: console.Pictures = None,
    columns: console.Columns = None,
    group: console.Group = None,
    exclude: console.Exclude = None,
    output: Annotated[
        Path | None, Option("--output", "-o", help="Folder for report.html, pairs.csv and suggested.csv.")
    ] = None,
    near: Annotated[
        int, Option(metavar="BITS", help="Of 64, in which the hashes of nearly equal images may differ; at most 16.")
    ] = 4,
    accept: Annotated[
        Path | None, Option(metavar="FILE", help="CSV file with pairs that are known and wanted: path, other.")
    ] = None,
    strict: Annotated[
        bool,
        Option("--strict", help="Exit with 1 for an unreadable image, and for equal ones across classes or splits."),
    ] = False,
    json: console.Json = False,
) -> None:
    """Look through labeled images: the same one twice, wrong labels, images that show little.

    Nothing is changed, and no split is cut. The exit code is 0 whatever is found, unless --strict is given.
    """
    from keras_inception.checking import check as checking
    from keras_inception.datasets.shards import is_shard_folder

    dataset: dict[str, Any] = {"root": pictures, "columns": columns, "group": group, "exclude": exclude}
    options: dict[str, Any] = {"near": near, "accept": accept, "output": output}
    checking.check_arguments(images, dataset, **options)
    if not Path(images).exists() or (Path(images).is_dir() and is_shard_folder(images)):
        console.import_tensorflow()
    found = checking.check(images, **dataset, **options, on_progress=bars())
    console.show(found, json)
    if output and not json:
        typer.echo(f"Report: {output / 'report.html'}")
    if strict and (faults := found.faults()):
        console.fail(f"--strict: {faults[0]}" + (f"; and {len(faults) - 1} more" if len(faults) > 1 else ""))
