"""Folders of pictures: which files are pictures, of what class, in which split, and what had to be left out."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from keras_inception.datasets.reading import examine

Progress = Callable[[int, int], None]

SPLIT_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
HIDDEN_NAMES = {"thumbs.db", "desktop.ini", "__macosx"}
# A file that cannot be read is worth a word if it ends like a picture; others, such as notes and tables, are not.
PICTURE_ENDING = re.compile(
    r".*\.(jpe?g|jpe|jfif|mpo|jp2|j2k|jpx|jxl|a?png|webp|gif|bmp|dib|tiff?|p[bgpn]m|avif|hei[cf]|svg|psd|ico|tga|dng|cr2|nef)",
    re.IGNORECASE | re.DOTALL,
)


class Picture(NamedTuple):
    """A picture that can be read.

    Attributes:
        path: its file.
        label: the number of its class.
        plain: TensorFlow's decoder reads it as Pillow does: JPEG or PNG of 8 bits, grey or RGB, upright, without alpha.
    """

    path: str
    label: int
    plain: bool


class Skipped(NamedTuple):
    """A file, or a class folder, that was left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Splits:
    """A folder of pictures, opened: `labels[picture.label]` is the class of a picture of any split."""

    root: Path
    labels: tuple[str, ...]
    train: tuple[Picture, ...]
    validation: tuple[Picture, ...]
    test: tuple[Picture, ...]
    skipped: tuple[Skipped, ...]


def open_folder(
    path: str | os.PathLike,
    *,
    validation: float = 0.15,
    seed: int = 0,
    strict: bool = False,
    labels: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Splits:
    """Open a folder of class folders, or of ``train/ validation/ test/`` (also ``val/``, ``valid/``) that hold them.

    Every file is decoded once. Hidden files, and files that are not pictures by their ending nor by their content, are
    passed over; pictures that cannot be read, that lie beside the class folders, and classes without pictures are
    listed as skipped. Class folders may hold folders.

    Args:
        path: the folder.
        validation: share of each class, in [0, 1), that is cut out of ``train`` if there is no other validation split.
            Each class of two or more pictures then has some in both.
        seed: of that cut. It goes by the pictures' names, so that most stay where they are when others are added.
        strict: make what would be skipped an error.
        labels: the classes in their order, for a folder whose classes are known. By default the names of the class
            folders of ``train`` that hold pictures, sorted, in Unicode's composed form (NFC).
        progress: called with (files done, files in all).

    Returns:
        The splits; one that is not there is empty.

    Raises:
        ValueError: `path` is no folder, has fewer than two classes or no pictures, a class of another split is not in
            `labels` or ``train``, an argument is out of range, or `strict` and there is something to skip.
    """
    if not 0 <= validation < 1:
        raise ValueError(f"`validation` must be in [0, 1). Received: validation={validation!r}")
    root = _existing_folder(path)
    folders = _split_folders(root) or {"train": root}
    if "train" not in folders:
        raise ValueError(f"{root} has {', '.join(folders)}, but no train folder")
    names = tuple(labels) if labels is not None else _class_names(folders["train"])
    found, skipped = _scan(folders, names, strict, progress)
    splits = {split: found.get(split, ()) for split in ("train", "validation", "test")}
    if labels is None:
        names, splits = _without_empty_classes(names, splits)
    if len({picture.label for picture in splits["train"]}) < 2:
        raise ValueError(f"{folders['train']} must have pictures of two or more classes{_examples(skipped)}")
    if not splits["validation"]:
        splits["train"], splits["validation"] = cut(splits["train"], validation, seed, folders["train"])
    return Splits(root=root, labels=names, skipped=skipped, **splits)


def open_labelled(
    path: str | os.PathLike,
    labels: Sequence[str],
    *,
    prefer: Sequence[str] = ("test", "validation", "train"),
    strict: bool = False,
    progress: Progress | None = None,
) -> tuple[tuple[Picture, ...], tuple[Skipped, ...]]:
    """The pictures to evaluate a network of known classes on: all of a folder of class folders, or of one split.

    Args:
        path: the folder, as for `open_folder`; it need not have every class.
        labels: the network's classes. Names are compared in NFC, and without regard to case if that is unambiguous.
        prefer: of a folder of splits, the first of these that exists is taken.
        strict, progress: as for `open_folder`.

    Raises:
        ValueError: as `open_folder`, or none of the splits of `prefer` exists.
    """
    root = _existing_folder(path)
    folders = _split_folders(root) or {prefer[0]: root}
    split = next((split for split in prefer if split in folders), None)
    if split is None:
        raise ValueError(f"{root} has {', '.join(folders)}, but none of {', '.join(prefer)}")
    found, skipped = _scan({split: folders[split]}, tuple(labels), strict, progress)
    if not found[split]:
        raise ValueError(f"{folders[split]} has no pictures{_examples(skipped)}")
    return found[split], skipped


def list_pictures(path: str | os.PathLike) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
    """Every picture that can be read below a folder, however nested, sorted, and what could not.

    Raises:
        ValueError: `path` is no folder, or no picture is in it.
    """
    root = _existing_folder(path)
    readable, skipped = _examine([str(file) for file in _files_below(root)], None)
    if not readable:
        raise ValueError(f"{root} has no pictures{_examples(skipped)}")
    return tuple(sorted(readable)), tuple(sorted(skipped))


def cut(
    pictures: Sequence[Picture], share: float, seed: int, base: str | os.PathLike
) -> tuple[tuple[Picture, ...], tuple[Picture, ...]]:
    """Cut the given share out of each class: (the rest, the share), in the order of `pictures`.

    Which ones is decided by a hash of the seed and the path below `base`. At least one picture of each class is kept,
    and if the share is not 0 at least one of each class of two or more is cut out.
    """
    ranked: dict[int, list[tuple[str, Picture]]] = {}
    for picture in pictures:
        name = _nfc(Path(picture.path).relative_to(base).as_posix())
        rank = hashlib.sha256(os.fsencode(f"{seed}/{name}")).hexdigest()
        ranked.setdefault(picture.label, []).append((rank, picture))
    chosen: set[Picture] = set()
    for members in ranked.values():
        count = min(max(round(len(members) * share), 1), len(members) - 1) if share else 0
        chosen.update(picture for _, picture in sorted(members)[:count])
    return tuple(p for p in pictures if p not in chosen), tuple(p for p in pictures if p in chosen)


def _existing_folder(path: str | os.PathLike) -> Path:
    root = Path(path)
    if not root.is_dir():
        raise ValueError(f"{root} is {'a file, not a folder' if root.exists() else 'not there'}")
    return root


def _split_folders(root: Path) -> dict[str, Path]:
    """The folders of splits in `root`; none if it is a folder of class folders, of which one may be named ``train``."""
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
    names = tuple(sorted({_nfc(class_folder.name) for class_folder in folders}))
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
    folders: dict[str, Path], labels: tuple[str, ...], strict: bool, progress: Progress | None
) -> tuple[dict[str, tuple[Picture, ...]], tuple[Skipped, ...]]:
    """The readable pictures of each folder of class folders, sorted by class and path, and what is left out."""
    classes = {split: _class_folders(folder, labels) for split, folder in folders.items()}
    every_class = [each for split in classes.values() for each in split]
    files = [file for each in every_class for file in each.files]
    if not files:
        first = next(iter(folders.values()))
        raise ValueError(f"{first} has no class folders with files in them{_hint(first)}")
    readable, skipped = _examine(files, progress)
    skipped += [file for folder in folders.values() for file in _loose_pictures(folder)]
    empty = (each.path for each in every_class if readable.keys().isdisjoint(each.files))
    skipped += [Skipped(str(folder), "no pictures") for folder in empty]
    skipped.sort()
    if strict and skipped:
        listed = "\n".join(f"{path}: {reason}" for path, reason in skipped)
        raise ValueError(f"{len(skipped)} of the files and classes cannot be used:\n{listed}")
    pictures: dict[str, tuple[Picture, ...]] = {}
    for split, found in classes.items():
        members = (
            Picture(file, each.label, readable[file]) for each in found for file in each.files if file in readable
        )
        pictures[split] = tuple(sorted(members, key=lambda picture: (picture.label, picture.path)))
    return pictures, tuple(skipped)


def _loose_pictures(folder: Path) -> list[Skipped]:
    _, files = _contents(folder)
    reason = "lies beside the class folders, in none of them"
    return [Skipped(str(file), reason) for file in files if _ends_like_a_picture(file.name)]


def _hint(folder: Path) -> str:
    loose = "; its pictures lie loose: put those of each class into a folder of its own"
    return loose if _loose_pictures(folder) else ""


def _class_folders(folder: Path, labels: tuple[str, ...]) -> list[_ClassFolder]:
    exact = {_nfc(label): number for number, label in enumerate(labels)}
    folded = {_folded(label): number for number, label in enumerate(labels)}
    found = []
    for path in _contents(folder)[0]:
        label = exact.get(_nfc(path.name))
        if label is None and len(folded) == len(labels):
            label = folded.get(_folded(path.name))
        if label is None:
            raise ValueError(f"{path}: {path.name!r} is not one of the {len(labels)} classes: {', '.join(labels):.300}")
        found.append(_ClassFolder(path, label, [str(file) for file in _files_below(path, (folder,))]))
    return found


def _without_empty_classes(
    names: tuple[str, ...], splits: dict[str, tuple[Picture, ...]]
) -> tuple[tuple[str, ...], dict[str, tuple[Picture, ...]]]:
    """Names and splits numbered anew, without the classes that have no training pictures."""
    kept = sorted({picture.label for picture in splits["train"]})
    number = {label: place for place, label in enumerate(kept)}
    for picture in splits["validation"] + splits["test"]:
        if picture.label not in number:
            raise ValueError(f"{picture.path}: train has no pictures of the class {names[picture.label]!r}")
    numbered = {
        split: tuple(picture._replace(label=number[picture.label]) for picture in pictures)
        for split, pictures in splits.items()
    }
    return tuple(names[label] for label in kept), numbered


def _examine(files: list[str], progress: Progress | None) -> tuple[dict[str, bool], list[Skipped]]:
    """Decode all files: the readable ones with whether they are plain, and the pictures that are not readable."""
    readable: dict[str, bool] = {}
    skipped = []
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside Python's global lock
        for done, (file, verdict) in enumerate(zip(files, pool.map(_verdict, files), strict=True), start=1):
            if isinstance(verdict, bool):
                readable[file] = verdict
            elif _ends_like_a_picture(file):
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
    """The files below a folder that was reached through the folders `above`."""
    above = (*above, folder)
    folders, files = _contents(folder, above)
    yield from files
    for each in folders:
        yield from _files_below(each, above)


def _contents(folder: Path, above: Iterable[Path] = ()) -> tuple[list[Path], list[Path]]:
    """The folders and the files in a folder, sorted, without hidden ones and links back to a folder that it is in."""
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


def _ends_like_a_picture(file: str) -> bool:
    return PICTURE_ENDING.fullmatch(file) is not None


def _examples(skipped: Sequence[Skipped]) -> str:
    """The end of a sentence that tells what was left out."""
    if not skipped:
        return ""
    return f"; {len(skipped)} left out, such as {skipped[0].path}: {skipped[0].reason}"


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _nfc(_nfc(name).casefold())
