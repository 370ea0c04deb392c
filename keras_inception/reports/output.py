"""The folder of a report, which appears when it is complete."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_inception.utils import files

REPORT = "report.html"


def check_output(output: str | os.PathLike, overwrite: bool) -> None:
    """Check whether a report can be written to a folder.

    Raises:
        FileExistsError: `output` exists and is not an empty folder, and `overwrite` is false or it is not a report.
    """
    output = Path(output)
    if not os.path.lexists(output) or (output.is_dir() and not any(output.iterdir())):
        return
    if not overwrite:
        raise FileExistsError(f"{output} exists: choose another folder, or overwrite it (--overwrite)")
    if not (output / REPORT).is_file():
        raise FileExistsError(f"{output} is not a report and will not be overwritten: it has no {REPORT}")


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
