"""List the folders and files of a dataset, without hidden ones and without running in circles."""

from collections.abc import Iterable, Iterator
from pathlib import Path

HIDDEN_NAMES = {"thumbs.db", "desktop.ini", "__macosx"}


def contents(folder: Path, above: Iterable[Path] = ()) -> tuple[list[Path], list[Path]]:
    """Return the sorted folders and files in a folder, except hidden ones and links back to an enclosing folder."""
    reached = [each.resolve() for each in (*above, folder)]
    folders: list[Path] = []
    files: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name.casefold() in HIDDEN_NAMES:
            continue
        if not entry.is_dir():
            files.append(entry)
        elif not any(each.is_relative_to(entry.resolve()) for each in reached):
            folders.append(entry)
    return folders, files


def files_below(folder: Path, above: Iterable[Path] = ()) -> Iterator[Path]:
    """Yield the files below a folder that was reached through the folders `above`."""
    above = (*above, folder)
    folders, files = contents(folder, above)
    yield from files
    for each in folders:
        yield from files_below(each, above)


def has_files(folder: Path) -> bool:
    """Return whether there is any file below a folder."""
    return next(files_below(folder), None) is not None
