"""TFRecord files as images with random access: an index, made once, says where each image's bytes are."""

import contextlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_inception.datasets.examples import Examples, decoding, tensorflow_decodes
from keras_inception.datasets.reading import examine, read_picture
from keras_inception.datasets.splits import Found, Progress, Skipped
from keras_inception.utils import files

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_inception.datasets.examples import Crop

INDEX = "keras-inception-index.npz"
HEADER, FOOTER = 12, 4  # bytes around a record: its length with a checksum; its own checksum
DTYPES: dict[str, type] = {
    "labels": np.int32,
    "keys": object,
    "shard": np.int32,
    "record": np.int32,
    "offset": np.int64,
    "length": np.int64,
    "crc": np.uint32,
    "plain": np.bool_,
}


class Keys(NamedTuple):
    """Names of an image's values in its `tf.train.Example`; None if there is no such value."""

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

    COLUMNS = (*Examples.COLUMNS, "shard", "record", "offset", "length", "crc", "plain")
    shards: tuple[str, ...]
    shard: np.ndarray
    record: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    crc: np.ndarray
    plain: np.ndarray

    def name(self, index: int) -> str:
        return f"{self.shards[self.shard[index]]}#{self.record[index]}"

    def content(self, index: int) -> bytes:
        """Return the encoded image.

        Raises:
            ValueError: it has changed since the index was made.
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

    def _mark(self, index: int) -> int:
        return int(self.crc[index])


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


def open_index(shards: Sequence[str], keys: Keys, *, fresh: bool = False, progress: Progress | None = None) -> Index:
    """Return the index of TFRecord files in one folder; read it from there, or make it and leave it there.

    Args:
        shards: paths of the files.
        keys: names of their values.
        fresh: read the files even if there is an index, which verifies their checksums.
        progress: called with (files read, all files) while they are read.

    Raises:
        ValueError: a file is corrupted or holds something else.
    """
    beside = os.path.join(os.path.dirname(shards[0]), INDEX)
    index = None if fresh else _load(beside, shards)
    if index is None:
        index = make_index(shards, keys, progress=progress)
        with contextlib.suppress(OSError):  # the folder may be read-only
            save_index(index)
    return index


def make_index(shards: Sequence[str], keys: Keys, *, sound: bool = False, progress: Progress | None = None) -> Index:
    """Read TFRecord files to their end and index them.

    Args:
        shards: as for `open_index`.
        keys: as for `open_index`.
        sound: TensorFlow is known to decode all images, so they are not decoded here.
        progress: as for `open_index`.

    Raises:
        ValueError: as for `open_index`.
    """
    columns: dict[str, list] = {name: [] for name in Records.COLUMNS}
    names: dict[int, str] = {}
    skipped: list[Skipped] = []
    with ThreadPoolExecutor() as pool:
        for number, read in enumerate(pool.map(lambda path: _read(path, keys, sound), shards)):
            for name, values in read.columns.items():
                columns[name] += values
            columns["shard"] += [number] * len(read.columns["labels"])
            names |= read.names
            skipped += read.skipped
            if progress:
                progress(number + 1, len(shards))
    typed: dict[str, Any] = {name: np.array(values, DTYPES[name]) for name, values in columns.items()}
    return Index(Records(shards=tuple(shards), **typed), names, tuple(skipped))


def save_index(index: Index) -> None:
    """Write an index next to its files."""
    records = index.records
    columns = {name: getattr(records, name) for name in Records.COLUMNS}
    columns["keys"] = np.array([os.fsencode(key) for key in records.keys], bytes)
    rest = {
        "files": [os.path.basename(path) for path in records.shards],
        "sizes": [os.path.getsize(path) for path in records.shards],
        "names": sorted(index.names.items()),
        "skipped": [(os.path.basename(path), reason) for path, reason in index.skipped],
    }
    with files.replacing(os.path.join(os.path.dirname(records.shards[0]), INDEX)) as beside:
        np.savez_compressed(beside, rest=np.array(json.dumps(rest)), **columns)


def sorted_into(
    splits: Mapping[str, Sequence[str]], index: Index, names: Mapping[int, str], *, where: str, strict: bool
) -> Found:
    """Divide an index into splits by file, and renumber its labels from 0.

    Args:
        splits: the files of each split.
        index: the index of all files.
        names: class name of each label; if empty, names are made from the labels.
        where: name of the dataset in messages.
        strict: raise an error for a record that cannot be used.

    Raises:
        ValueError: a label has no name, or `strict` is set and a record cannot be used.
    """
    if strict and index.skipped:
        listed = "\n".join(f"{name}: {reason}" for name, reason in index.skipped)
        raise ValueError(f"{len(index.skipped)} of the records cannot be used:\n{listed}")
    records = index.records
    used = np.unique(records.labels).tolist()
    names = names or {label: f"class {label}" for label in used}
    nameless = [label for label in used if label not in names]
    if nameless:
        raise ValueError(f"{where} has no name for the class with label {nameless[0]}")
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


def _load(path: str, shards: Sequence[str]) -> Index | None:
    """Return the index in a file; None if there is none or it belongs to other files."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            columns = {name: stored[name] for name in Records.COLUMNS}
            rest = json.loads(str(stored["rest"]))
        columns["keys"] = np.array([os.fsdecode(key) for key in columns["keys"].tolist()], object)
        records = Records(
            shards=tuple(shards), **{name: column.astype(DTYPES[name]) for name, column in columns.items()}
        )
        same = rest["files"] == [os.path.basename(path) for path in shards] and rest["sizes"] == [
            os.path.getsize(path) for path in shards
        ]
        folder = os.path.dirname(shards[0])
        skipped = tuple(Skipped(os.path.join(folder, name), reason) for name, reason in rest["skipped"])
        index = Index(records, {int(label): str(name) for label, name in rest["names"]}, skipped)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    fits = all(len(column) == len(records) for column in columns.values())
    return index if same and fits else None


class _Read(NamedTuple):
    columns: dict[str, list]
    names: dict[int, str]
    skipped: list[Skipped]


def _read(path: str, keys: Keys, sound: bool) -> _Read:
    """Return the index rows of one file, without the column of the file's index."""
    columns: dict[str, list] = {name: [] for name in Records.COLUMNS if name != "shard"}
    names: dict[int, str] = {}
    skipped = []
    for number, (offset, image, label, text, filename) in enumerate(_walk(path, keys)):
        try:
            if label < 0:
                raise ValueError("it has no label")
            plain = sound or (examine(path, image) and tensorflow_decodes(image))
        except ValueError as error:
            skipped.append(Skipped(f"{path}#{number}", str(error).removeprefix(f"{path}: ")))
            continue
        key = os.fsdecode(filename) or f"{os.path.basename(path)}#{number:08}"
        row = {
            "labels": label,
            "keys": key,
            "record": number,
            "offset": offset,
            "length": len(image),
            "crc": zlib.crc32(image),
            "plain": plain,
        }
        for name, value in row.items():
            columns[name].append(value)
        if text:
            names[label] = text.decode(errors="replace")
    return _Read(columns, names, skipped)


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
