"""Find the files in a folder that `export` wrote."""

import os
from pathlib import Path

from keras_inception.runs import RECIPE, run_of
from keras_inception.utils import files

REPORT = "report.json"


def is_export(path: str | os.PathLike) -> bool:
    """Return True if a path is a folder with the report of an export."""
    return (Path(path) / REPORT).is_file()


def folder_of(path: str | os.PathLike) -> Path:
    """Return the folder that `export` wrote, given it or a file in it.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the path is a run or a model, which must be exported first.
    """
    path = Path(path)
    if path.is_file() and is_export(path.parent):
        return path.parent
    source = run_of(path) or path
    if (source / RECIPE).exists() or source.is_file():
        raise ValueError(f"{path} must be a folder that `export` wrote. To make one: keras-inception export {source}")
    if not is_export(path):
        raise FileNotFoundError(f"{path} must be a folder that `export` wrote: it has no {REPORT}")
    return path


def smallest(folder: str | os.PathLike) -> Path:
    """Return the smallest file of an export that was not refused.

    Raises:
        ValueError: the report is not one of `export`, or none of its files is there.
    """
    path = Path(folder) / REPORT
    try:
        rows = files.read_json(path)["variants"].values()
        names = [Path(row["path"]).name for row in rows if "refused" not in row]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a report of `export`: {error!r}") from None
    found = [path.with_name(name) for name in names if path.with_name(name).is_file()]
    if not found:
        raise ValueError(f"{folder} has none of the files that {REPORT} lists. Received: {names!r:.200}")
    return min(found, key=lambda each: each.stat().st_size)
