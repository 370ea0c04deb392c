"""The command that shows runs: report."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from keras_inception.cli import console
from keras_inception.utils.progress import bars


def report(
    runs: Annotated[list[Path], Argument(metavar="RUN...", help="A run directory, or several to compare.")],
    output: Annotated[
        Path | None, Option("--output", "-o", help="HTML file for several runs. Default: report.html.")
    ] = None,
    custom_objects: console.CustomObjects = None,
) -> None:
    """Make the report of a run anew, or lay several runs side by side.

    A training leaves report.html in its run; this makes it for runs that were killed or are older.
    """
    from keras_inception.reports import reporting
    from keras_inception.utils import files

    reporting.check_report(runs, output)
    files.check_parent(output)
    console.import_tensorflow()
    path = reporting.report(runs, output, custom_objects=custom_objects, on_progress=bars())
    typer.echo(f"Report: {path}")
