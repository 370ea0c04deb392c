"""TF-slim's checkpoints: TensorFlow's of version 1, one file, and of version 2, an index and files of data.

Why not by TensorFlow: of 2,500 indices with a byte or two changed and their checksums set right, its reader (2.19)
aborted the process on 499. Read like this, neither TensorFlow nor its seconds to import are needed.

Both versions are tables as LevelDB has them (its doc/table_format.md) of protocol buffers: TensorFlow's
saved_tensor_slice.proto (1) and tensor_bundle.proto (2).
"""

import os
import re
import struct
from collections.abc import Container, Iterator
from pathlib import Path
from typing import BinaryIO

import ml_dtypes
import numpy as np

from keras_inception.weights.readers import wire
from keras_inception.weights.readers.arrays import shaped
from keras_inception.weights.readers.checksums import crc32c, masked

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER, TRAILER = 48, 5
MAX_KEY = 1024
MAX_ENTRIES = 2**16

# By TensorFlow's numbers (types.proto).
DTYPES: dict[int, np.dtype] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    9: np.dtype("<i8"),
    14: np.dtype(ml_dtypes.bfloat16),
    19: np.dtype("<f2"),
}
# The fields of TensorProto that hold numbers of these types in version 1.
VALUES = {1: 5, 2: 6}

AVERAGE = "/ExponentialMovingAverage"
# Of training, beside the optimizers' slots.
COUNTERS = {"global_step", "beta1_power", "beta2_power"}


def begins(file: BinaryIO) -> bool:
    """Whether a file is such a table; it ends with the mark, so `file` must be one that can be sought."""
    if file.seek(0, os.SEEK_END) < FOOTER:
        return False
    file.seek(-len(MAGIC), os.SEEK_END)
    return file.read() == MAGIC


def index_of(path: str | os.PathLike) -> str | os.PathLike:
    """The index of a checkpoint of version 2 that is given by its prefix or a file of data; else the path itself."""
    prefix = re.sub(r"\.data-\d{5}-of-\d{5}$", "", os.fspath(path))
    index = f"{prefix}.index"
    return index if (prefix != os.fspath(path) or not os.path.exists(path)) and os.path.exists(index) else path


def read(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """The model's variables: no optimizer's slots and no counters, and their moving averages where there are any."""
    entries = dict(_entries(memoryview(Path(path).read_bytes())))
    header = entries.pop(b"", memoryview(b""))
    number, value = next(wire.fields(header), (0, 0))
    if number != 1:
        raise ValueError("it is a table, but not that of a checkpoint")
    return _bundle(path, header, entries) if isinstance(value, int) else _slices(header, entries)


def _bundle(path, header: memoryview, entries: dict[bytes, memoryview]) -> Iterator[tuple[str, np.ndarray]]:
    """Version 2: fields of BundleHeaderProto and BundleEntryProto."""
    prefix, shards = os.fspath(path).removesuffix(".index"), wire.integer(header, 1)
    if wire.integer(header, 2):
        raise ValueError("its numbers must be little-endian")
    names = [str(key, "utf-8") for key in entries if not key.startswith(b"\0")]  # which the keys of slices do
    left: dict[str, int] = {}
    for name, stored in _of_the_model(names):
        entry = entries[stored.encode()]
        dtype, size = _dtype(name, wire.integer(entry, 1), DTYPES), wire.integer(entry, 5)
        if any(True for _ in wire.parts(entry, 7)):
            raise ValueError(f"{name:.200} is stored in slices, which are not read")
        shard = f"{prefix}.data-{wire.integer(entry, 3):05d}-of-{shards:05d}"
        left[shard] = left.get(shard, os.path.getsize(shard)) - size
        data = _part_of_file(shard, wire.integer(entry, 4), size) if left[shard] >= 0 else b""
        if len(data) != size:
            raise ValueError(f"{name:.200} is larger than the file of data has room for")
        if struct.pack("<I", masked(crc32c(data))) != wire.part(entry, 6):
            raise ValueError(f"the data of {name:.200} are damaged: they do not have their checksum")
        yield name, shaped(np.frombuffer(data, dtype), _shape(wire.part(entry, 2)))


def _slices(header: memoryview, entries: dict[bytes, memoryview]) -> Iterator[tuple[str, np.ndarray]]:
    """Version 1: fields of SavedTensorSlices, SavedTensorSliceMeta, SavedSliceMeta, SavedSlice and TensorProto."""
    metas = {wire.text(meta, 1): meta for meta in wire.parts(wire.part(header, 1), 1)}
    slices = [wire.part(entry, 2) for entry in entries.values()]
    stored = {wire.text(part, 1): part for part in slices}
    if len(stored) < len(slices) or not metas.keys() <= stored.keys():
        raise ValueError("a variable in it is missing or stored in slices, which are not read")
    for name, source in _of_the_model(list(metas)):
        number = wire.integer(metas[source], 3)
        dtype = _dtype(name, number, VALUES)
        values = wire.numbers(wire.part(stored[source], 3), VALUES[number])
        yield name, shaped(np.frombuffer(values, dtype), _shape(wire.part(metas[source], 2)))


def _of_the_model(names: list[str]) -> Iterator[tuple[str, str]]:
    """The names of a model's variables, and of what is read for them.

    Whatever stands below a variable belongs to its training: ``weights/RMSProp``, ``weights/ExponentialMovingAverage``.
    """
    known = set(names)
    for name in names:
        parent, _, last = name.rpartition("/")
        if parent not in known and last not in COUNTERS:
            yield name.removesuffix(AVERAGE), name + AVERAGE if name + AVERAGE in known else name


def _dtype(name: str, number: int, allowed: Container[int]) -> np.dtype:
    if number not in allowed:
        raise ValueError(f"{name:.200} must be of floating-point numbers. Received: TensorFlow's type {number}")
    return DTYPES[number]


def _shape(message: memoryview) -> Iterator[int]:
    return (wire.integer(axis, 1) for axis in wire.parts(message, 2))


def _part_of_file(path: str, offset: int, size: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(min(offset, os.path.getsize(path)))
        return file.read(size)


def _entries(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Keys and values of a table: those of the blocks that its index lists."""
    at, handle = 0, [0, 0, 0, 0]
    for index in range(4):  # where the index of other things is, which is empty, then where that of the blocks
        handle[index], at = wire.varint(content[-FOOTER:], at)
    left, count = len(content), 0
    for _, block in _block(content, *handle[2:]):
        offset, at = wire.varint(block, 0)
        size, _ = wire.varint(block, at)
        left -= size + TRAILER
        if left < 0:
            raise ValueError("its blocks lap over each other")
        for entry in _block(content, offset, size):
            count += 1
            if count > MAX_ENTRIES:
                raise ValueError(f"it has more than {MAX_ENTRIES} entries")
            yield entry


def _block(content: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
    """Keys and values of a block. A key gives only where it differs from the one before."""
    if offset + size + TRAILER > len(content):
        raise ValueError(f"it points to {size} bytes at {offset}, and ends at {len(content)}")
    compression, checksum = struct.unpack_from("<BI", content, offset + size)
    if compression:
        raise ValueError("it is compressed, which TensorFlow's checkpoints are not")
    if masked(crc32c(content[offset : offset + size + 1])) != checksum:
        raise ValueError("a block of its table is damaged: it does not have its checksum")
    block = content[offset : offset + size]
    (restarts,) = struct.unpack_from("<I", block, size - 4)
    block, key, at = block[: max(0, size - 4 - 4 * restarts)], b"", 0
    while at < len(block):
        shared, at = wire.varint(block, at)
        own, at = wire.varint(block, at)
        length, at = wire.varint(block, at)
        end = at + own + length
        if shared > len(key) or end > len(block) or shared + own > MAX_KEY:
            raise ValueError("a key or a value is longer than its table has room for")
        key = key[:shared] + bytes(block[at : at + own])
        yield key, block[at + own : end]
        at = end
