"""Find the files in a folder that `export` wrote."""

import os
from pathlib import Path

from keras_inception.utils import files

REPORT = "report.json"


def is_export(path: str | os.PathLike) -> bool:
    """Return True if a path is a folder with the report of an export."""
    return (Path(path) / REPORT).is_file()


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
