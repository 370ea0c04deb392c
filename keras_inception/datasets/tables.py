"""Tables of labels: CSV and TSV files with a row for each image, as competitions hand them out."""

import csv
import io
import os
import posixpath
import unicodedata
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_inception.datasets.examples import Files
from keras_inception.datasets.folder import IMAGE_SUFFIX, examine_files, existing_folder
from keras_inception.datasets.split_folders import said_by
from keras_inception.datasets.splits import Found, Progress, Skipped, check_none_skipped, nfc, such_as
from keras_inception.utils import files
from keras_inception.utils.suggestions import did_you_mean

SUFFIXES = (".csv", ".tsv")
# Names of columns, in any case. Of the columns of paths, the first of these is read.
PATHS = ("path", "file", "filename", "image", "image_id", "id")
LABELS = ("label", "class", "category")
SPLIT, GROUP = "split", "group"
CHOICE = "choose them by `columns` (--columns PATH,LABEL)"

Columns = str | Sequence[str]  # the names of the columns of paths and of labels: a pair, or "PATH,LABEL"


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        line: its last line in the file, from 1.
        path: the cell with the path or name of the image, as it stands.
        label: the name of the class, without blanks around it, in NFC.
        split: "train", "validation" or "test"; None without such a column.
        group: name of the group; empty if the image has none.
    """

    line: int
    path: str
    label: str
    split: str | None
    group: str


def is_table(source: str | os.PathLike) -> bool:
    """Return whether a source is a file with the suffix of a table."""
    return Path(source).suffix.lower() in SUFFIXES and os.path.isfile(source)


def read_table(path: str | os.PathLike, columns: Columns | None = None) -> list[Row]:
    """Read a table of labels.

    The text is UTF-8 or UTF-16, with or without a byte order mark. Cells are separated by tabs in ``.tsv`` files, and
    in others by commas, semicolons or tabs: whichever gives the most columns.

    Args:
        path: the table.
        columns: names of the columns of paths and of labels. Default: the first of `PATHS`, and one of `LABELS`.

    Raises:
        ValueError: the file is no such table. The message names the file, the line or column, and what is expected.
    """
    records = _records(path)
    header = [cell.strip() for cell in records[0][1]] if records else []
    _check_text(path, *header)
    place = _places(path, header, columns)
    rows = []
    for line, cells in records[1:]:
        if any(cell.strip() for cell in cells[len(header) :]):
            hint = "put cells that hold the separator into quotes"
            raise ValueError(f"{path}, line {line} must have {len(header)} cells. Received: {len(cells)}; {hint}")
        cell = {name: cells[number] if number < len(cells) else "" for name, number in place.items()}
        label = unicodedata.normalize("NFC", files.clean_label(cell["label"].strip()))
        for name, text in (("path", cell["path"].strip()), ("label", label)):
            if not text or (name == "label" and len(text.splitlines()) != 1):
                column = header[place[name]]
                kind = "a line of text" if text else "a value"
                raise ValueError(f"{path}, line {line}: {column} must be {kind}. Received: {text!r}")
        split = _split(path, line, cell[SPLIT]) if SPLIT in cell else None
        rows.append(Row(line, cell["path"], label, split, cell.get(GROUP, "").strip()))
    _check_text(path, *{text for row in rows for text in (row.label, row.group)})
    if not rows:
        raise ValueError(f"{path} must have a row for each image below its header. Received: no rows")
    return rows


def find_table(
    path: Path,
    labels: Sequence[str] | None,
    prefer: Sequence[str],
    strict: bool,
    progress: Progress | None,
    *,
    root: str | os.PathLike | None = None,
    columns: Columns | None = None,
    survey: bool = False,
    excluded: Container[str] = (),
) -> Found:
    """Find the images that a table lists, each split ordered by class and path.

    Args:
        path: the table.
        labels: names of the classes in order; None takes those of the table.
        prefer: as for `find_folder`.
        strict: as for `find_folder`.
        progress: as for `find_folder`.
        root: the folder that paths are relative to. Default: that of the table.
        columns: as for `read_table`.
        survey: decode nothing, so that any file is found.
        excluded: as for `find_folder`.

    Raises:
        ValueError: as for `read_table`; an image has two labels or splits; or there are no images.
    """
    rows = read_table(path, columns)
    folder = path.parent if root is None else existing_folder(root)
    splits: dict[str, list[Row]] = {}
    for row in rows:
        splits.setdefault(row.split or (prefer[0] if prefer else "train"), []).append(row)
    if chosen := next((split for split in prefer if split in splits), None):
        splits = {chosen: splits[chosen]}
    every, skipped = _listed(path, splits, folder, excluded)
    listed = {key: row for key, row in every.items() if key not in excluded}
    paths = [os.path.join(folder, key) for key in listed]
    readable, unreadable = (dict.fromkeys(paths, False), []) if survey else examine_files(paths, progress)
    skipped += unreadable
    if not readable:
        hint = "; give the folder of the images as `root` (--pictures)" if root is None and not unreadable else ""
        raise ValueError(f"{path} names no image that is in {folder}{such_as(skipped)}{hint}")
    check_none_skipped(skipped, strict)
    class_names = tuple(sorted({row.label for _, row in listed.values()}))
    numbers = {name: number for number, name in enumerate(class_names)}
    found: dict[str, list[str]] = {split: [] for split in splits}
    for key, (split, _) in listed.items():
        if os.path.join(folder, key) in readable:
            found[split].append(key)
    groups = {key: row.group for key, (_, row) in listed.items()}
    has_groups = any(groups.values())
    examples = {
        split: Files(
            labels=np.array([numbers[listed[key][1].label] for key in keys], np.int32),
            keys=np.array(keys, object),
            groups=np.array([groups[key] for key in keys], object) if has_groups else None,
            base=str(folder),
            plain=np.array([readable[os.path.join(folder, key)] for key in keys], bool),
        )
        for split, keys in found.items()
    }
    return Found(str(path), class_names, examples, tuple(skipped), len(every) - len(listed)).arranged(labels)


def read_paths(path: str | os.PathLike) -> list[str]:
    """Return the column ``path`` of a table, which may be empty.

    Raises:
        ValueError: the file is no table with this column.
    """
    records = _records(path)
    header = [cell.strip().casefold() for cell in records[0][1]] if records else []
    if header.count("path") != 1:
        raise _no_column(path, "named path", header)
    place = header.index("path")
    return [cells[place].strip() for _, cells in records[1:] if place < len(cells) and cells[place].strip()]


def _records(path: str | os.PathLike) -> list[tuple[int, list[str]]]:
    """Return the last line and the cells of each row that is not empty."""
    text = files.read_text(path, errors="surrogateescape")  # for names of files that are not UTF-8
    first = text.partition("\n")[0]
    separators = "\t" if Path(path).suffix.lower() == ".tsv" else ",;\t"
    separator = max(separators, key=lambda each: len(next(csv.reader([first], delimiter=each), [])))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        return [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num} is no row of a table: {error}") from None


def _check_text(path: str | os.PathLike, *texts: str) -> None:
    """Raise ValueError for a text that is not UTF-8 in the file."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        files.read_text(path)


def _places(path: str | os.PathLike, header: Sequence[str], columns: Columns | None) -> dict[str, int]:
    """Return the numbers of the columns "path" and "label", and of "split" and "group" if they exist."""
    names = [name.casefold() for name in header]
    if columns is None:
        paths = [name for name in PATHS if name in names][:1]
        labels = [name for name in LABELS if name in names]
        if not paths:
            raise _no_column(path, f"of paths, named {_either(PATHS)}", header)
        if not labels:
            raise _no_column(path, f"of labels, named {_either(LABELS)}", header)
        if len(labels) > 1:
            raise ValueError(f"{path} must have one column of labels: {CHOICE}. Received: {' and '.join(labels)}")
        chosen = (*paths, *labels)
    else:
        chosen = tuple(_column(path, name, header) for name in pair(columns))
    places = dict(zip(("path", "label"), chosen, strict=True)) | {
        name: name for name in (SPLIT, GROUP) if name in names and name not in chosen
    }
    for name in places.values():
        if names.count(name) > 1:
            raise ValueError(f"{path} must have one column named {name}. Received: {names.count(name)}")
    return {place: names.index(name) for place, name in places.items()}


def pair(columns: Columns) -> tuple[str, str]:
    """Return the names of the columns of paths and of labels; ValueError if `columns` does not name two."""
    names = next(csv.reader([columns]), []) if isinstance(columns, str) else list(columns)
    if len(names) != 2 or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(
            f"`columns` must name the column of paths and that of labels: PATH,LABEL. Received: {columns!r}"
        )
    return names[0].strip(), names[1].strip()


def _column(path: str | os.PathLike, name: str, header: Sequence[str]) -> str:
    """Return the name of a column in lower case; raise ValueError if the table has no such column."""
    if name.casefold() not in map(str.casefold, header):
        raise _no_column(path, f"named {name}", header, did_you_mean(name, header))
    return name.casefold()


def _no_column(path: str | os.PathLike, which: str, header: Sequence[str], hint: str = "") -> ValueError:
    way_out = f"; or {CHOICE}." if which.startswith("of ") else f".{hint}"
    shown = ", ".join(header)[:300] or "no columns"
    return ValueError(f"{path} must have a column {which}{way_out} Received: {shown}")


def _either(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _split(path: str | os.PathLike, line: int, text: str) -> str:
    said = said_by(text.strip())
    if said is None or said.rest:
        raise ValueError(
            f"{path}, line {line}: {SPLIT} must be train, validation or test, or what a folder of these may be called. "
            f"Received: {text!r}"
        )
    return said.split


def _listed(
    path: Path, splits: Mapping[str, Sequence[Row]], folder: Path, excluded: Container[str]
) -> tuple[dict[str, tuple[str, Row]], list[Skipped]]:
    """Return the split and row of each file that exists, by its path relative to the folder, and what is left out.

    Raises:
        ValueError: a file is listed with two labels, splits or groups.
    """
    finder = _Finder(folder)
    listed: dict[str, tuple[str, Row]] = {}
    skipped = []
    for split, rows in splits.items():
        for row in rows:
            key, reason = finder.find(row.path)
            if reason and key in excluded:
                continue
            if reason:
                _check_text(path, key)
                skipped.append(Skipped(os.path.join(folder, key), reason))
                continue
            before, first = listed.setdefault(key, (split, row))
            if first is row:
                continue
            for what, one, other in (
                ("label", first.label, row.label),
                (SPLIT, before, split),
                (GROUP, first.group, row.group),
            ):
                if one != other:
                    raise ValueError(
                        f"{path} must list each image with one {what}. Received: {key} with {one!r} in line "
                        f"{first.line} and {other!r} in line {row.line}"
                    )
            skipped.append(Skipped(os.path.join(folder, key), f"is listed again in line {row.line} of {path.name}"))
    return listed, skipped


class _Finder:
    """Finds the files that the cells of a table mean. Each folder is listed once."""

    def __init__(self, root: Path):
        self.root = root
        self.start = f"{Path(os.path.abspath(root)).as_posix().rstrip('/')}/"
        self.listings: dict[str, tuple[set[str], dict[str, list[str]]]] = {}

    def find(self, cell: str) -> tuple[str, str]:
        """Return the path of the file relative to the root, and why there is none or an empty string."""
        stripped = cell.strip()
        for text in dict.fromkeys((cell, stripped, stripped.replace("\\", "/"))):
            path = posixpath.normpath(text)
            folder, name = posixpath.split(path)
            names, alike = self._listing(folder)
            fitting = [name] if name in names else alike.get(nfc(name), [])
            if len(fitting) == 1:
                return posixpath.join(folder, fitting[0]).removeprefix(self.start), ""
            if fitting:
                return stripped, f"{len(fitting)} files fit: {', '.join(sorted(fitting)[:4])}"
        return stripped, "does not exist"

    def _listing(self, folder: str) -> tuple[set[str], dict[str, list[str]]]:
        """Return the names of the files in a folder; and these by the names, in NFC, under which they may be listed."""
        if folder not in self.listings:
            try:
                with os.scandir(os.path.join(self.root, folder)) as entries:
                    names = {entry.name for entry in entries if not entry.is_dir()}
            except (OSError, ValueError):  # no such folder, or no name of one
                names = set()
            alike: dict[str, list[str]] = {}
            for name in names:
                alike.setdefault(nfc(name), []).append(name)
                if IMAGE_SUFFIX.fullmatch(name):
                    alike.setdefault(nfc(name.rpartition(".")[0]), []).append(name)
            self.listings[folder] = names, alike
        return self.listings[folder]
