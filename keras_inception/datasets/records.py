"""TFRecord files as randomly accessible pictures: where in them each picture's bytes lie, found out once."""

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
from keras_inception.datasets.splits import Progress, Skipped
from keras_inception.utils import files

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_inception.datasets.examples import Crop

INDEX = "keras-inception-index.npz"
HEADER, FOOTER = 12, 4  # bytes around a record: its length and that one's checksum; its own checksum
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
    """What the values of a picture are called in its `tf.train.Example`; None if there are none such."""

    image: str = "image/encoded"
    label: str = "image/class/label"
    text: str | None = "image/class/text"
    filename: str | None = "image/filename"


@dataclass(frozen=True, eq=False, kw_only=True)
class Records(Examples):
    """Pictures in TFRecord files.

    Attributes:
        shards: paths of the files.
        shard: which of them each is in, int32 (n,).
        record: its place there, counted from 0, int32 (n,).
        offset, length: where there its encoded bytes lie, int64 (n,).
        crc: their CRC-32, uint32 (n,).
        plain: whether TensorFlow decodes them as Pillow does, bool (n,).
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
        """The encoded picture; ValueError if it is not what it was when the index was made."""
        with open(self.shards[self.shard[index]], "rb", buffering=0) as file:
            file.seek(self.offset[index])
            content = file.read(self.length[index])
        if zlib.crc32(content) != self.crc[index]:
            raise ValueError(f"{self.name(index)}: the record is corrupted, or the file is no longer the one indexed")
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
    """What is in some TFRecord files.

    Attributes:
        records: those that can be read; their labels are as the files have them.
        names: what the files call each label; empty if they do not.
        skipped: the others.
    """

    records: Records
    names: Mapping[int, str]
    skipped: tuple[Skipped, ...]


def open_index(shards: Sequence[str], keys: Keys, *, fresh: bool = False, progress: Progress | None = None) -> Index:
    """The index of TFRecord files in one folder: the one that lies beside them, or one made now and left there.

    Args:
        shards: paths of the files.
        keys: what their values are called.
        fresh: read the files in any case, which proves their checksums.
        progress: called with (files read, files in all) while they are read.

    Raises:
        ValueError: a file is corrupted, or holds other things.
    """
    beside = os.path.join(os.path.dirname(shards[0]), INDEX)
    index = None if fresh else _load(beside, shards)
    if index is None:
        index = make_index(shards, keys, progress=progress)
        with contextlib.suppress(OSError):  # the folder may be somebody else's
            save_index(index)
    return index


def make_index(shards: Sequence[str], keys: Keys, *, sound: bool = False, progress: Progress | None = None) -> Index:
    """Read TFRecord files to their end.

    Args:
        shards, keys, progress: as for `open_index`.
        sound: every picture is known to be one that TensorFlow decodes, so they are not decoded.

    Raises:
        ValueError: as `open_index`.
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
    """Leave an index beside its files."""
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


def _load(path: str, shards: Sequence[str]) -> Index | None:
    """The index in a file; None if there is none, or not of these files."""
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
    """The rows of an index that one file makes, without the number of the file."""
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
    """Of each record of a file, its checksums proven: where its picture begins, that, label, text and file name."""
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
