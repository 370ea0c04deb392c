"""Random access to the images in TFRecord files, by an index of where each image's bytes are."""

import contextlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_inception.datasets.examples import Examples, decoding, tensorflow_decodes
from keras_inception.datasets.reading import examine, read_picture
from keras_inception.datasets.splits import Found, Progress, Skipped
from keras_inception.utils import files

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_inception.datasets.examples import Crop

INDEX = "keras-inception-index.npz"
HEADER, FOOTER = 12, 4  # bytes around a record: its length and a checksum of it; its checksum
# Columns of the index, which has a row per image. They are attributes of `Records`.
COLUMNS = ("labels", "keys", "shard", "record", "offset", "length", "crc", "plain")
ROW = np.dtype({"names": COLUMNS, "formats": ("i4", "O", "i4", "i4", "i8", "i8", "u4", "?")})


class Keys(NamedTuple):
    """Feature names in an image's `tf.train.Example`; None if there is no such feature."""

    image: str = "image/encoded"
    label: str = "image/class/label"
    text: str | None = "image/class/text"
    filename: str | None = "image/filename"


@dataclass(frozen=True, eq=False, kw_only=True)
class Records(Examples):
    """Images in TFRecord files.

    Attributes:
        shards: paths of the files.
        shard: index of each image's file, int32 (n,).
        record: index of its record in the file, int32 (n,).
        offset: position of its encoded bytes in the file, int64 (n,).
        length: number of its encoded bytes, int64 (n,).
        crc: CRC-32 of these bytes, uint32 (n,).
        plain: whether TensorFlow decodes the image as Pillow does, bool (n,).
    """

    shards: tuple[str, ...]
    shard: np.ndarray
    record: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    crc: np.ndarray
    plain: np.ndarray

    def name(self, index: int) -> str:
        return f"{self.shards[self.shard[index]]}#{self.record[index]}"

    def path(self, index: int) -> str:
        return os.path.basename(self.name(index))

    def content(self, index: int) -> bytes:
        """Return the encoded image.

        Raises:
            ValueError: the bytes have changed since they were indexed.
        """
        with open(self.shards[self.shard[index]], "rb", buffering=0) as file:
            file.seek(self.offset[index])
            content = file.read(self.length[index])
        if zlib.crc32(content) != self.crc[index]:
            raise ValueError(f"{self.name(index)}: the record is corrupted, or has changed since it was indexed")
        return content

    def read(self, index: int) -> np.ndarray:
        return read_picture(self.name(index), self.content(index))

    def decoder(self) -> "Callable[[tf.Tensor, Crop], tf.Tensor]":
        import tensorflow as tf

        def content(index: "tf.Tensor") -> "tf.Tensor":
            content = tf.numpy_function(lambda number: self.content(int(number)), [index], tf.string, stateful=False)
            return tf.ensure_shape(content, ())

        return decoding(content, self.plain, self.read)

    def encoded(self, index: int) -> bytes:
        return self.content(index) if self.plain[index] else super().encoded(index)

    def clues(self) -> list[tuple[int, int]]:
        return list(zip(self.length.tolist(), self.crc.tolist(), strict=True))

    def _marks(self) -> list[int]:
        return self._crcs()  # known from the index, so that no image needs to be read

    def _crcs(self) -> list[int]:
        return self.crc.tolist()


class Index(NamedTuple):
    """Contents of TFRecord files.

    Attributes:
        records: readable images, with the labels that the files give them.
        names: class name of each label in the files; empty if they have none.
        skipped: records that cannot be used.
    """

    records: Records
    names: Mapping[int, str]
    skipped: tuple[Skipped, ...]


def find_records(
    splits: dict[str, list[str]], keys: Keys, names: dict[int, str], where: str, strict: bool, progress: Progress | None
) -> Found:
    """Find the images in TFRecord files in one folder. Read the folder's index, or create and save it.

    Args:
        splits: paths of the files of each split.
        keys: feature names in the files.
        names: class name of each label in the files. If it is empty, the names are read from the files, or derived
            from the labels if the files have none. The labels in the result count from 0, in the same order.
        where: name of the dataset in messages.
        strict: read the files and verify their checksums even if there is an index, and raise an error for a record
            that cannot be used.
        progress: called with (files read, total files) while files are read.

    Raises:
        ValueError: a file is corrupted or holds something else, a label has no name, or `strict` is set and a record
            cannot be used.
    """
    shards = [path for paths in splits.values() for path in paths]
    index = None if strict else _load(shards)
    if index is None:
        index = make_index(shards, keys, progress=progress)
        with contextlib.suppress(OSError):  # the folder may be read-only
            save_index(index)
    if strict and index.skipped:
        listed = "\n".join(f"{name}: {reason}" for name, reason in index.skipped)
        raise ValueError(f"{len(index.skipped)} of the records cannot be used:\n{listed}")
    used = np.unique(index.records.labels).tolist()
    names = names or _told_apart(index.names) or {label: f"class {label}" for label in used}
    if nameless := sorted(set(used) - names.keys()):
        raise ValueError(f"{where} has no name for the class with label {nameless[0]}")
    known = sorted(names)
    records = index.records.relabelled(np.searchsorted(known, index.records.labels))
    parts = {}
    for split, paths in splits.items():
        own = np.isin(records.shard, [shards.index(path) for path in paths])
        parts[split] = records.select(np.flatnonzero(own))
    return Found(where, tuple(names[label] for label in known), parts, index.skipped)


def _told_apart(names: Mapping[int, str]) -> dict[int, str]:
    """Return the names, with the label added to those that are not unique (ImageNet has two cranes)."""
    every = list(names.values())
    return {label: name if every.count(name) == 1 else f"{name} ({label})" for label, name in names.items()}


def make_index(shards: Sequence[str], keys: Keys, *, sound: bool = False, progress: Progress | None = None) -> Index:
    """Read TFRecord files completely and index them.

    Args:
        shards: paths of the files.
        keys: feature names in the files.
        sound: skip decoding the images, because TensorFlow is known to decode all of them.
        progress: called with (files read, total files).

    Raises:
        ValueError: a file is corrupted or holds something else.
    """
    rows: list[tuple] = []
    names: dict[int, str] = {}
    skipped: list[Skipped] = []
    with ThreadPoolExecutor() as pool:
        indexed = pool.map(lambda number, path: _read(number, path, keys, sound), range(len(shards)), shards)
        for done, (some_rows, some_names, some_skipped) in enumerate(indexed, start=1):
            rows += some_rows
            names |= some_names
            skipped += some_skipped
            if progress:
                progress(done, len(shards))
    return Index(_records(shards, np.array(rows, ROW)), names, tuple(skipped))


def _records(shards: Sequence[str], table: Mapping[str, np.ndarray] | np.ndarray) -> Records:
    return Records(shards=tuple(shards), **{name: np.asarray(table[name], ROW[name]) for name in COLUMNS})


def save_index(index: Index) -> None:
    """Write an index next to its files."""
    records = index.records
    columns = {name: getattr(records, name) for name in COLUMNS}
    columns["keys"] = np.array([os.fsencode(key) for key in records.keys], bytes)
    skipped = [(os.path.basename(path), reason) for path, reason in index.skipped]
    rest = _state(records.shards) | {"names": sorted(index.names.items()), "skipped": skipped}
    with files.replacing(os.path.join(os.path.dirname(records.shards[0]), INDEX)) as beside:
        np.savez_compressed(beside, rest=np.array(json.dumps(rest)), **columns)


def _state(shards: Sequence[str]) -> dict:
    """Return the names and sizes of files, which detect an index of other files."""
    return {"files": list(map(os.path.basename, shards)), "sizes": list(map(os.path.getsize, shards))}


def _load(shards: Sequence[str]) -> Index | None:
    """Return the index next to these files, or None if there is none or it belongs to other files."""
    folder = os.path.dirname(shards[0])
    try:
        with np.load(os.path.join(folder, INDEX), allow_pickle=False) as stored:
            columns = {name: stored[name] for name in COLUMNS}
            rest = json.loads(str(stored["rest"]))
        columns["keys"] = np.array([os.fsdecode(key) for key in columns["keys"].tolist()], object)
        skipped = tuple(Skipped(os.path.join(folder, name), reason) for name, reason in rest["skipped"])
        index = Index(_records(shards, columns), {int(label): str(name) for label, name in rest["names"]}, skipped)
        fits = rest | _state(shards) == rest and len(set(map(len, columns.values()))) == 1
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    return index if fits else None


def _read(shard: int, path: str, keys: Keys, sound: bool) -> tuple[list[tuple], dict[int, str], list[Skipped]]:
    """Return the `ROW`s of one file, the class names in it by label, and the records that cannot be used."""
    rows, names, skipped = [], {}, []
    for number, (offset, image, label, text, filename) in enumerate(_walk(path, keys)):
        verdict = "it has no label" if label < 0 else sound or examine(path, image)
        if isinstance(verdict, str):
            skipped.append(Skipped(f"{path}#{number}", verdict))
            continue
        plain = sound or (verdict and tensorflow_decodes(image))
        key = os.fsdecode(filename) or f"{os.path.basename(path)}#{number:08}"
        rows.append((label, key, shard, number, offset, len(image), zlib.crc32(image), plain))
        if text:
            names[label] = text.decode(errors="replace")
    return rows, names, skipped


def _walk(path: str, keys: Keys) -> Iterator[tuple[int, bytes, int, bytes, bytes]]:
    """Yield (offset, image, label, text, filename) for each record, verifying checksums."""
    import tensorflow as tf

    features = {keys.image: tf.io.FixedLenFeature((), tf.string), keys.label: tf.io.FixedLenFeature((), tf.int64)}
    optional = {key: tf.io.FixedLenFeature((), tf.string, "") for key in (keys.text, keys.filename) if key}

    def parsed(record):
        return record, tf.io.parse_single_example(record, features | optional)

    done, position = 0, 0
    try:
        for record, values in tf.data.TFRecordDataset(path).map(parsed).as_numpy_iterator():
            image = values[keys.image]
            offset = position + HEADER + record.index(image)
            yield offset, image, int(values[keys.label]), values.get(keys.text, b""), values.get(keys.filename, b"")
            done, position = done + 1, position + HEADER + len(record) + FOOTER
    except tf.errors.DataLossError:
        raise ValueError(f"{path}#{done}: the record is corrupted, or this is not a TFRecord file") from None
    except tf.errors.InvalidArgumentError:
        wanted = f"{keys.image}, bytes, and {keys.label}, an integer"
        raise ValueError(f"{path}#{done}: the record must be a tf.train.Example with {wanted}") from None
