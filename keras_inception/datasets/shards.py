"""Folders of TFRecord shards: those that `write_shards` writes, and any others in TF-slim's convention."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_inception.datasets.folder import SPLIT_NAMES
from keras_inception.datasets.records import Index, Keys, make_index, open_index
from keras_inception.datasets.splits import Found, Progress
from keras_inception.utils import files

MANIFEST, LABELS = "shards.json", "labels.txt"
MANIFEST_KEYS = {"complete", "shards", "pictures", "files", "skipped"}
ENTRY_KEYS = {"pictures", "bytes", "sha256", "fingerprint"}
# train.tfrecord, train-00000-of-00008, flowers_train_00000-of-00005.tfrecord, mnist-test.tfrecord-00000-of-00001
SHARD = re.compile(
    r"(?:.*[-_.])?(?P<split>train|validation|valid|val|test)"
    r"(?:(?P<ending>\.tfrecords?)|(?:\.tfrecords?)?[-_.](?P<number>\d{5})-of-(?P<count>\d{5})(?:\.tfrecords?)?)",
    re.IGNORECASE,
)
NUMBERED = re.compile(r"(\d+):(.*)")  # a line of TF-slim's labels.txt


def is_shard_folder(folder: str | os.PathLike) -> bool:
    """Whether a folder holds shards, or is to."""
    names = os.listdir(folder)
    return MANIFEST in names or any(map(_named, names))


def find_shards(folder: str | os.PathLike, *, strict: bool = False, progress: Progress | None = None) -> Found:
    """The pictures in a folder of shards.

    The classes are named by ``labels.txt`` (a name a line, or ``number:name``), else by the records, else numbered.

    Args:
        folder: the folder.
        strict: read all shards, compare their SHA-256 with the manifest that `write_shards` wrote, and make a record
            that would be skipped an error.
        progress: called with (shards read, shards in all) if they are read, which is done once.

    Raises:
        ValueError: shards are missing, corrupted or not yet all written, or a class has no name.
    """
    root = Path(folder)
    if (root / MANIFEST).is_file():
        check_manifest(root, strict)
    splits = _splits(root)
    if not splits:
        raise ValueError(f"{root} has no shards")
    paths = [path for split in splits.values() for path in split]
    index = open_index(paths, Keys(), fresh=strict, progress=progress)
    return sorted_into(splits, index, _labels(root) or _told_apart(index.names), where=str(root), strict=strict)


def sorted_into(
    splits: Mapping[str, Sequence[str]], index: Index, names: Mapping[int, str], *, where: str, strict: bool
) -> Found:
    """An index as splits, by the files of each, with its labels as numbers from 0.

    Args:
        splits: the files of each split.
        index: of all of them.
        names: of the labels; if empty they are numbered.
        where: what messages call it.
        strict: a record that cannot be used is an error.

    Raises:
        ValueError: a label has no name, or as `strict` has it.
    """
    if strict and index.skipped:
        listed = "\n".join(f"{name}: {reason}" for name, reason in index.skipped)
        raise ValueError(f"{len(index.skipped)} of the records cannot be used:\n{listed}")
    records = index.records
    used = np.unique(records.labels).tolist()
    names = names or {label: f"class {label}" for label in used}
    nameless = [label for label in used if label not in names]
    if nameless:
        raise ValueError(f"{where} has no name for the class of number {nameless[0]}")
    known = sorted(names)
    records = records.relabelled(np.searchsorted(known, records.labels))
    members = {
        split: np.isin(records.shard, [records.shards.index(path) for path in paths]) for split, paths in splits.items()
    }
    return Found(
        where,
        tuple(names[label] for label in known),
        {split: records.select(np.flatnonzero(chosen)) for split, chosen in members.items()},
        index.skipped,
    )


def check_manifest(folder: Path, hashes: bool) -> None:
    """Compare the shards in a folder with the manifest: their sizes, and if asked for their SHA-256.

    Raises:
        ValueError: they are not all written yet, or one is missing or not what was written.
    """
    manifest = read_manifest(folder)
    if not manifest["complete"]:
        raise ValueError(f"{folder}: its shards are not all written yet: call keras-inception shard again to go on")
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{path} is missing: {MANIFEST} lists it")
        if path.stat().st_size != entry["bytes"]:
            raise ValueError(f"{path} must have {entry['bytes']} bytes. Received: {path.stat().st_size}")
        if hashes and files.sha256(path) != entry["sha256"]:
            make_index([str(path)], Keys(), sound=True)  # names the record, if it is the content of one
            raise ValueError(f"{path} is not the file that was written: its SHA-256 is another")


def read_manifest(folder: Path) -> dict:
    """What is written in the manifest of a folder of shards; ValueError if it is not one."""
    manifest = files.read_json(folder / MANIFEST)
    sound = (
        isinstance(manifest, dict)
        and manifest.keys() >= MANIFEST_KEYS
        and all(isinstance(manifest[key], dict) for key in ("pictures", "files"))
        and all(isinstance(entry, dict) and entry.keys() >= ENTRY_KEYS for entry in manifest["files"].values())
    )
    if not sound:
        raise ValueError(f"{folder / MANIFEST} is not a manifest of shards")
    return manifest


def _named(name: str) -> re.Match | None:
    return None if name.startswith(".") else SHARD.fullmatch(name)


def _splits(folder: Path) -> dict[str, list[str]]:
    """The files of each split in order; ValueError if one is missing."""
    found: dict[str, list[tuple[Path, re.Match]]] = {}
    for path in sorted(folder.iterdir()):
        if (named := _named(path.name)) and path.is_file():
            found.setdefault(SPLIT_NAMES[named["split"].lower()], []).append((path, named))
    for split, shards in found.items():
        counts = {named["count"] or "1" for _, named in shards}
        numbers = [int(named["number"] or 0) for _, named in shards]
        count = int(min(counts))
        if len(counts) > 1 or len(set(numbers)) < len(numbers):
            raise ValueError(f"{folder} has more than one set of {split} shards, such as {shards[0][0].name}")
        missing = sorted(set(range(count)) - set(numbers))
        if missing:
            raise ValueError(f"{folder} lacks {len(missing)} of {count} {split} shards, such as number {missing[0]}")
    return {split: [str(path) for path, _ in shards] for split, shards in found.items()}


def _labels(folder: Path) -> dict[int, str]:
    """The names in ``labels.txt``, if there is one."""
    if not (folder / LABELS).is_file():
        return {}
    lines = files.read_labels(folder / LABELS)
    numbered = [NUMBERED.fullmatch(line) for line in lines]
    if all(numbered):
        return {int(line[1]): line[2] for line in numbered if line}
    return dict(enumerate(lines))


def _told_apart(names: Mapping[int, str]) -> dict[int, str]:
    """The same, but where two are called alike (ImageNet has two cranes) with their numbers."""
    every = list(names.values())
    return {label: name if every.count(name) == 1 else f"{name} ({label})" for label, name in names.items()}
