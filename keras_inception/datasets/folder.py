"""Folders of images: find the images with their classes and splits, and the files to skip."""

import os
import re
import unicodedata
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from keras_inception.datasets.examples import Files
from keras_inception.datasets.listing import contents, files_below
from keras_inception.datasets.reading import examine
from keras_inception.datasets.split_folders import split_folders
from keras_inception.datasets.splits import (
    NO_IMAGES,
    SPLITS,
    Found,
    Progress,
    Skipped,
    check_none_skipped,
    class_numbers,
    such_as,
    unknown_class,
)
from keras_inception.utils.files import clean_label

# Unreadable files are reported if they have the suffix of an image; others, such as notes and tables, are ignored.
IMAGE_SUFFIX = re.compile(
    r".*\.(jpe?g|jpe|jfif|mpo|jp2|j2k|jpx|jxl|a?png|webp|gif|bmp|dib|tiff?|p[bgpn]m|avif|hei[cf]|hif|svg|psd|ico|tga|dng|cr2|nef)",
    re.IGNORECASE | re.DOTALL,
)


def find_folder(
    root: Path,
    labels: Sequence[str] | None,
    prefer: Sequence[str],
    strict: bool,
    progress: Progress | None,
    *,
    survey: bool = False,
    excluded: Container[str] = (),
) -> Found:
    """Find the images in a folder, as described in `open_folder`, sorted by class and path.

    Args:
        root: the folder.
        labels: names of the classes in order; None takes the class folders of ``train``.
        prefer: split names, of which only the first that exists is read. If it is empty, or none exists, all splits are
            read. A folder without split folders counts as the first name, or as ``train``.
        strict: raise an error for anything that would be skipped.
        progress: called with (files done, total files).
        survey: decode nothing, so that any file is found, and take the classes and splits that there are.
        excluded: paths relative to the folder, with slashes, of files that are passed over.

    Raises:
        ValueError: there are no class folders with files in them, or as for `open_folder`.
    """
    given = existing_folder(root)
    folders, beside = split_folders(root, labels)
    folders = folders or {prefer[0] if prefer else "train": root}
    if not prefer and not survey and "train" not in folders:
        raise ValueError(f"{root} has {', '.join(sorted(folders))}, but no train folder")
    if chosen := _preferred(folders, prefer):
        root, folders = folders[chosen], {chosen: folders[chosen]}
    if labels is not None:
        class_names = tuple(labels)
    else:
        class_names = _all_class_names(folders) if survey else _class_names(folders["train"])
    classes = [(split, *found) for split, folder in folders.items() for found in _class_folders(folder, class_names)]
    every = [file for *_, inside in classes for file in inside]
    passed_over = {file for file in every if _relative(file, given) in excluded} if excluded else set()
    files = [file for file in every if file not in passed_over]
    if not files:
        first = next(iter(folders.values()))
        raise ValueError(f"{first} has no class folders with files in them{_hint(first)}")
    readable, unreadable = (dict.fromkeys(files, False), []) if survey else examine_files(files, progress)
    skipped = [*filter(_is_named_image, unreadable), *beside]
    skipped += [file for folder in folders.values() for file in _loose_images(folder)]
    seen = readable.keys() | passed_over
    skipped += [Skipped(str(path), NO_IMAGES) for _, path, _, inside in classes if seen.isdisjoint(inside)]
    skipped = sorted(each for each in skipped if _relative(each.path, given) not in excluded)
    check_none_skipped(skipped, strict)
    rows: dict[str, list[tuple[int, str]]] = {split: [] for split in folders}
    for split, _, label, inside in classes:
        rows[split] += [(label, file) for file in inside if file in readable]
    splits = {split: _files(folder, sorted(rows[split]), readable, given) for split, folder in folders.items()}
    return Found(str(root), class_names, splits, tuple(skipped), len(passed_over))


def _preferred(folders: Mapping[str, Path], prefer: Sequence[str]) -> str | None:
    """Return the first split in `prefer` that exists, or instead of one without class folders the next held-out one."""
    present = [split for split in prefer if split in folders]
    if not present or contents(folders[present[0]])[0]:
        return present[0] if present else None
    held_out = [split for split in present if split != "train" and contents(folders[split])[0]]
    return (held_out or present)[0]


def list_pictures(path: str | os.PathLike) -> tuple[Files, tuple[Skipped, ...]]:
    """Return all readable images below a folder, sorted by path, and what was skipped.

    The labels number the folders that contain the images, in the same order.

    Raises:
        ValueError: `path` is not a folder, or has no images.
    """
    root = existing_folder(path)
    readable, unreadable = examine_files([str(file) for file in files_below(root)], None)
    skipped = list(filter(_is_named_image, unreadable))
    if not readable:
        raise ValueError(f"{root} has no images{such_as(skipped)}")
    numbers: dict[str, int] = {}
    rows = [(numbers.setdefault(os.path.dirname(file), len(numbers)), file) for file in sorted(readable)]
    return _files(root, rows, readable, root), tuple(sorted(skipped))


def existing_folder(path: str | os.PathLike) -> Path:
    """Return `path`; raise ValueError if it is not a folder."""
    root = Path(path)
    if not root.is_dir():
        raise ValueError(f"{root} {'is a file, not a folder' if root.exists() else 'does not exist'}")
    return root


def _class_names(folder: Path) -> tuple[str, ...]:
    folders, _ = contents(folder)
    names = tuple(sorted({unicodedata.normalize("NFC", clean_label(each.name)) for each in folders}))
    for name in names:
        if not name.strip() or len(name.splitlines()) != 1 or name.encode(errors="ignore").decode() != name:
            raise ValueError(f"{folder}: the name of a class folder must be a line of text. Received: {name!r}")
    if not names:
        raise ValueError(f"{folder} has no class folders{_hint(folder)}")
    if len(names) == 1:
        inner = contents(folder / folders[0].name)[0]
        hint = f"; give {folders[0]} if the classes are {', '.join(each.name for each in inner[:3])}" * (len(inner) > 1)
        raise ValueError(f"{folder} must have two or more class folders. Received: only {names[0]}{hint}")
    return names


def _all_class_names(folders: Mapping[str, Path]) -> tuple[str, ...]:
    """Return the class names of the first split, and those of the others that mean none of its classes."""
    first, *others = (folders[split] for split in SPLITS if split in folders)
    names = _class_names(first)
    for folder in others:
        found = [clean_label(each.name) for each in contents(folder)[0]]
        names += tuple(name for name, number in zip(found, class_numbers(found, names), strict=True) if number is None)
    return tuple(sorted(names))


def _files(base: Path, rows: list[tuple[int, str]], plain: dict[str, bool], root: Path) -> Files:
    """Return `Files` below `base`, a folder in `root` or `root` itself, from rows of (label, path)."""
    return Files(
        labels=np.array([label for label, _ in rows], np.int32),
        keys=np.array([_relative(file, base) for _, file in rows], object),
        base=str(base),
        folder="" if base == root else base.relative_to(root).as_posix(),
        plain=np.array([plain[file] for _, file in rows], bool),
    )


def _loose_images(folder: Path) -> list[Skipped]:
    _, files = contents(folder)
    return [Skipped(str(file), "is not in a class folder") for file in files if IMAGE_SUFFIX.fullmatch(file.name)]


def _hint(folder: Path) -> str:
    if not _loose_images(folder):
        return ""
    way_out = "put the images of each class into their own folder, or give a table of labels (.csv, .tsv)"
    return f"; its images are not in class folders: {way_out}"


def _class_folders(folder: Path, class_names: tuple[str, ...]) -> Iterator[tuple[Path, int, list[str]]]:
    """Yield (path, label, files) for each class folder in a folder."""
    paths, _ = contents(folder)
    for path, label in zip(paths, class_numbers([path.name for path in paths], class_names), strict=True):
        if label is None:
            raise unknown_class(str(path), path.name, class_names)
        yield path, label, [str(file) for file in files_below(path, (folder,))]


def _relative(path: str, root: Path) -> str:
    return Path(path).relative_to(root).as_posix()


def _is_named_image(skipped: Skipped) -> bool:
    return IMAGE_SUFFIX.fullmatch(skipped.path) is not None


def examine_files(files: list[str], progress: Progress | None) -> tuple[dict[str, bool], list[Skipped]]:
    """Decode all files. Return the readable ones, mapped to whether they are plain, and the others."""
    readable: dict[str, bool] = {}
    skipped = []
    with ThreadPoolExecutor() as pool:  # Pillow releases the GIL while decoding
        for done, (file, verdict) in enumerate(zip(files, pool.map(examine, files), strict=True), start=1):
            if isinstance(verdict, bool):
                readable[file] = verdict
            else:
                skipped.append(Skipped(file, verdict))
            if progress:
                progress(done, len(files))
    return readable, skipped
