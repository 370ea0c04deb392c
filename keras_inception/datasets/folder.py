"""Folders of images: find the images, their classes and splits, and what has to be skipped."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_inception.datasets.examples import Examples, Files
from keras_inception.datasets.reading import examine
from keras_inception.datasets.splits import (
    SPLIT_NAMES,
    Found,
    Progress,
    Skipped,
    Splits,
    check_share,
    class_numbers,
    first_split,
    make_splits,
    nfc,
    such_as,
    unknown_class,
)

HIDDEN_NAMES = {"thumbs.db", "desktop.ini", "__macosx"}
# Unreadable files are reported if they have the suffix of an image; others, such as notes and tables, are ignored.
IMAGE_SUFFIX = re.compile(
    r".*\.(jpe?g|jpe|jfif|mpo|jp2|j2k|jpx|jxl|a?png|webp|gif|bmp|dib|tiff?|p[bgpn]m|avif|hei[cf]|svg|psd|ico|tga|dng|cr2|nef)",
    re.IGNORECASE | re.DOTALL,
)


def open_folder(
    path: str | os.PathLike,
    *,
    validation: float = 0.15,
    seed: int = 0,
    strict: bool = False,
    labels: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Splits:
    """Open a folder of class folders, or of ``train/ validation/ test/`` (or ``val/``, ``valid/``) with class folders.

    Every file is decoded once. Hidden files, and files that are images neither by name nor by content, are ignored.
    Unreadable images, images next to the class folders, and classes without images are listed as skipped. Class folders
    may have subfolders.

    Args:
        path: the folder.
        validation: share of each class, in [0, 1), to cut out of ``train`` if there is no other validation split. Each
            class with two or more images then has some in both.
        seed: seed of that cut. The cut depends on file names, so that most images stay in their split when others are
            added.
        strict: raise an error for anything that would be skipped.
        labels: names of the classes in order, if they are known. By default the names of the class folders of ``train``
            that have images, sorted, in Unicode's composed form (NFC).
        progress: called with (files done, all files).

    Returns:
        The splits; missing ones are empty.

    Raises:
        ValueError: `path` is not a folder, has fewer than two classes or no images; another split has a class that is
            not in `labels` or ``train``; an argument is out of range; or `strict` is set and a file would be skipped.
    """
    check_share(validation)
    root = existing_folder(path)
    folders = _split_folders(root) or {"train": root}
    if "train" not in folders:
        raise ValueError(f"{root} has {', '.join(folders)}, but no train folder")
    names = tuple(labels) if labels is not None else _class_names(folders["train"])
    found = _scan(root, folders, names, strict, progress)
    return make_splits(found, validation=validation, seed=seed, all_classes=labels is not None)


def labelled_folder(
    path: str | os.PathLike, class_names: Sequence[str], prefer: Sequence[str], strict: bool, progress: Progress | None
) -> tuple[Examples, tuple[Skipped, ...]]:
    """Open a folder as `open_labelled` does; it need not have every class."""
    root = existing_folder(path)
    folders = _split_folders(root) or {prefer[0]: root}
    wanted = next(([split] for split in prefer if split in folders), list(folders))
    found = _scan(root, {split: folders[split] for split in wanted}, tuple(class_names), strict, progress)
    examples, skipped = first_split(found, prefer)
    if not len(examples):
        raise ValueError(f"{folders[wanted[0]]} has no images{such_as(skipped)}")
    return examples, skipped


def list_pictures(path: str | os.PathLike) -> tuple[Files, tuple[Skipped, ...]]:
    """Return all readable images below a folder, sorted, and what was skipped.

    The labels number the folders that hold the images.

    Raises:
        ValueError: `path` is not a folder, or has no images.
    """
    root = existing_folder(path)
    readable, skipped = _examine([str(file) for file in _files_below(root)], None)
    if not readable:
        raise ValueError(f"{root} has no images{such_as(skipped)}")
    numbers: dict[str, int] = {}
    rows = [(file, numbers.setdefault(os.path.dirname(file), len(numbers))) for file in sorted(readable)]
    return _files(root, rows, readable), tuple(sorted(skipped))


def existing_folder(path: str | os.PathLike) -> Path:
    """Return `path`; raise ValueError if it is not a folder."""
    root = Path(path)
    if not root.is_dir():
        raise ValueError(f"{root} {'is a file, not a folder' if root.exists() else 'does not exist'}")
    return root


def _split_folders(root: Path) -> dict[str, Path]:
    """Return the split folders in `root`; none if it has class folders, one of which may be named ``train``."""
    folders, _ = _contents(root)
    named = [folder for folder in folders if folder.name.casefold() in SPLIT_NAMES]
    if len(named) < len(folders) and not any(_contents(folder)[0] for folder in named):
        return {}
    splits: dict[str, Path] = {}
    for folder in named:
        split = SPLIT_NAMES[folder.name.casefold()]
        if split in splits:
            raise ValueError(f"{root} has two {split} folders: {splits[split].name} and {folder.name}")
        splits[split] = folder
    return splits


def _class_names(folder: Path) -> tuple[str, ...]:
    folders, _ = _contents(folder)
    names = tuple(sorted({nfc(class_folder.name) for class_folder in folders}))
    for name in names:
        if not name.strip() or len(name.splitlines()) != 1 or name.encode(errors="ignore").decode() != name:
            raise ValueError(f"{folder}: the name of a class folder must be a line of text. Received: {name!r}")
    if not names:
        raise ValueError(f"{folder} has no class folders{_hint(folder)}")
    if len(names) == 1:
        raise ValueError(f"{folder} must have two or more class folders. Received: only {names[0]}")
    return names


class _ClassFolder(NamedTuple):
    path: Path
    label: int
    files: list[str]


def _scan(
    root: Path, folders: dict[str, Path], class_names: tuple[str, ...], strict: bool, progress: Progress | None
) -> Found:
    """Return the readable images of each folder of class folders, sorted by class and path, and what is skipped."""
    classes = {split: _class_folders(folder, class_names) for split, folder in folders.items()}
    every_class = [each for split in classes.values() for each in split]
    files = [file for each in every_class for file in each.files]
    if not files:
        first = next(iter(folders.values()))
        raise ValueError(f"{first} has no class folders with files in them{_hint(first)}")
    readable, skipped = _examine(files, progress)
    skipped += [file for folder in folders.values() for file in _loose_images(folder)]
    empty = (each.path for each in every_class if readable.keys().isdisjoint(each.files))
    skipped += [Skipped(str(folder), "no images") for folder in empty]
    skipped.sort()
    if strict and skipped:
        listed = "\n".join(f"{path}: {reason}" for path, reason in skipped)
        raise ValueError(f"{len(skipped)} of the files and classes cannot be used:\n{listed}")
    splits = {}
    for split, found in classes.items():
        rows = ((file, each.label) for each in found for file in each.files if file in readable)
        splits[split] = _files(folders[split], sorted(rows, key=lambda row: row[::-1]), readable)
    return Found(str(root), class_names, splits, tuple(skipped))


def _files(base: Path, rows: list[tuple[str, int]], plain: dict[str, bool]) -> Files:
    """Return files below `base` with their labels."""
    return Files(
        labels=np.array([label for _, label in rows], np.int32),
        keys=np.array([Path(file).relative_to(base).as_posix() for file, _ in rows], object),
        base=str(base),
        plain=np.array([plain[file] for file, _ in rows], bool),
    )


def _loose_images(folder: Path) -> list[Skipped]:
    _, files = _contents(folder)
    reason = "is not in a class folder"
    return [Skipped(str(file), reason) for file in files if _has_image_suffix(file.name)]


def _hint(folder: Path) -> str:
    loose = "; its images are not in class folders: put those of each class into a folder of their own"
    return loose if _loose_images(folder) else ""


def _class_folders(folder: Path, class_names: tuple[str, ...]) -> list[_ClassFolder]:
    paths, _ = _contents(folder)
    found = []
    for path, label in zip(paths, class_numbers([path.name for path in paths], class_names), strict=True):
        if label is None:
            raise unknown_class(str(path), path.name, class_names)
        found.append(_ClassFolder(path, label, [str(file) for file in _files_below(path, (folder,))]))
    return found


def _examine(files: list[str], progress: Progress | None) -> tuple[dict[str, bool], list[Skipped]]:
    """Decode all files. Return the readable ones, with whether they are plain, and the images that are not readable."""
    readable: dict[str, bool] = {}
    skipped = []
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside Python's global lock
        for done, (file, verdict) in enumerate(zip(files, pool.map(_verdict, files), strict=True), start=1):
            if isinstance(verdict, bool):
                readable[file] = verdict
            elif _has_image_suffix(file):
                skipped.append(Skipped(file, verdict))
            if progress:
                progress(done, len(files))
    return readable, skipped


def _verdict(file: str) -> bool | str:
    try:
        return examine(file)
    except ValueError as error:
        return str(error).removeprefix(f"{file}: ")


def _files_below(folder: Path, above: Iterable[Path] = ()) -> Iterator[Path]:
    """Yield the files below a folder that was reached through the folders `above`."""
    above = (*above, folder)
    folders, files = _contents(folder, above)
    yield from files
    for each in folders:
        yield from _files_below(each, above)


def _contents(folder: Path, above: Iterable[Path] = ()) -> tuple[list[Path], list[Path]]:
    """Return the folders and files in a folder, sorted, without hidden ones and links back to an enclosing folder."""
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


def _has_image_suffix(file: str) -> bool:
    return IMAGE_SUFFIX.fullmatch(file) is not None
