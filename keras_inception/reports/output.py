"""The folder of a report, which appears when it is complete."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_inception.evaluation import predictions
from keras_inception.utils import files

REPORT, CONFUSION, MISTAKES, LABEL_ERRORS = "report.html", "confusion.png", "mistakes.png", "label_errors.csv"
FILES = (REPORT, predictions.FILE, CONFUSION, MISTAKES, LABEL_ERRORS)  # a run has others, and is not replaced


def check_output(output: str | os.PathLike, overwrite: bool) -> None:
    """Check whether a report can be written to a folder.

    Raises:
        FileExistsError: `output` exists and is not an empty folder, and `overwrite` is false or it is not a report, or
            it has other files.
    """
    output = Path(output)
    if not os.path.lexists(output) or (output.is_dir() and not any(output.iterdir())):
        return
    if not overwrite:
        raise FileExistsError(f"{output} exists: choose another folder, or overwrite it (--overwrite)")
    if not (output / REPORT).is_file():
        raise FileExistsError(f"{output} is not a report and will not be overwritten: it has no {REPORT}")
    if others := sorted({path.name for path in output.iterdir()} - set(FILES)):
        listed = f"{', '.join(others):.200}"
        raise FileExistsError(f"{output} is not a report alone and will not be overwritten: it also has {listed}")


@contextmanager
def report_folder(output: str | os.PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder to fill, and rename it to `output` afterwards; on an error, remove it.

    Raises:
        FileExistsError: as for `check_output`.
        OSError: the folder cannot be written.
    """
    check_output(output, overwrite)
    with files.new_folder(output) as folder:
        yield folder
        if os.path.lexists(output):  # only now that the new one is complete
            shutil.rmtree(output)
