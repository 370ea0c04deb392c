"""Folders of TFRecord shards, written by `write_shards` or by other tools in TF-slim's convention."""

import os
import re
from pathlib import Path

from keras_inception.datasets.records import Keys, find_records, make_index
from keras_inception.datasets.splits import SPLIT_NAMES, Found, Progress
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
    """Return whether a folder holds shards, finished or not."""
    names = os.listdir(folder)
    return MANIFEST in names or any(map(_named, names))


def find_shards(folder: str | os.PathLike, *, strict: bool = False, progress: Progress | None = None) -> Found:
    """Find the images in a folder of shards.

    Class names come from ``labels.txt`` (one name per line, or ``number:name``), else from the records, else from the
    labels.

    Args:
        folder: the folder.
        strict: read all shards, verify their SHA-256 against the manifest of `write_shards`, and raise an error for a
            record that would be skipped.
        progress: called with (shards read, total shards) while shards are read. Later calls use the index instead.

    Raises:
        ValueError: shards are missing, corrupted or not completely written, or a class has no name.
    """
    root = Path(folder)
    if (root / MANIFEST).is_file():
        check_manifest(root, strict)
    splits = _splits(root)
    if not splits:
        raise ValueError(f"{root} has no shards")
    return find_records(splits, Keys(), _class_names(root), str(root), strict, progress)


def check_manifest(folder: Path, hashes: bool) -> None:
    """Check the sizes of the shards in a folder, and with `hashes` their SHA-256, against the manifest.

    Raises:
        ValueError: the shards are not completely written, or one is missing or has changed.
    """
    manifest = read_manifest(folder)
    if not manifest["complete"]:
        raise ValueError(f"{folder}: its shards are not all written yet: run keras-inception shard again to continue")
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{path} is missing: {MANIFEST} lists it")
        if path.stat().st_size != entry["bytes"]:
            raise ValueError(f"{path} must have {entry['bytes']} bytes. Received: {path.stat().st_size}")
        if hashes and files.sha256(path) != entry["sha256"]:
            make_index([str(path)], Keys(), sound=True)  # raises an error if it finds a damaged record
            raise ValueError(f"{path} is not the file that was written: its SHA-256 differs")


def read_manifest(folder: Path) -> dict:
    """Read the manifest in a folder of shards.

    Raises:
        ValueError: the file is not a manifest.
    """
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
    """Return the files of each split, in order.

    Raises:
        ValueError: a file is missing, or a split has several sets of files.
    """
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


def _class_names(folder: Path) -> dict[int, str]:
    """Return the names in ``labels.txt`` by label, or an empty dictionary without that file."""
    if not (folder / LABELS).is_file():
        return {}
    lines = files.read_labels(folder / LABELS)
    numbered = [NUMBERED.fullmatch(line) for line in lines]
    if all(numbered):
        return {int(line[1]): line[2] for line in numbered if line}
    return dict(enumerate(lines))
