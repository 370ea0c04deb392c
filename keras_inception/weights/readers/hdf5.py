"""HDF5 files as Keras writes them, read in Python: HDF5 File Format Specification, version 3.0.

Why not by h5py: of 12,000 Keras files with a few bytes changed, HDF5's own library (2.0.0) crashed the process on one
and did not come back from three within ten seconds. Here every access is checked and counted.

Of the format this is what HDF5's "earliest" version has, which h5py writes by default and so every Keras: groups by
symbol tables, attributes in the header, data in one piece. Chunked, compressed, virtual and external data, and links
other than hard ones, are refused.
"""

import math
import struct
from collections.abc import Iterator
from functools import cache, cached_property

import ml_dtypes
import numpy as np

from keras_inception.weights.readers.arrays import MAX_AXES, shaped

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_NAME = 255
UNDEFINED = 2**64 - 1

# Messages of object headers (section IV.A.2).
DATASPACE, DATATYPE, EXTERNAL, LAYOUT, ATTRIBUTE, CONTINUATION, SYMBOL_TABLE = 1, 3, 7, 8, 12, 16, 17
LINKS = {2, 6}  # of newer groups
# Classes of datatypes (IV.A.2.d).
INTEGER, FLOAT, STRING, OPAQUE, VARIABLE = 0, 1, 3, 5, 9
# Bit offset and precision, then location and size of exponent and mantissa, and the exponent's bias.
FLOATS = {
    (0, 16, 10, 5, 0, 10, 15): np.dtype("<f2"),
    (0, 16, 7, 8, 0, 7, 127): np.dtype(ml_dtypes.bfloat16),
    (0, 32, 23, 8, 0, 23, 127): np.dtype("<f4"),
    (0, 64, 52, 11, 0, 52, 1023): np.dtype("<f8"),
}
CONTIGUOUS, COMPACT = 1, 0


def read(content: bytes) -> "Node":
    """The root group of a file; ValueError if its form is another, or it is damaged."""
    file = _File(content)
    file.expect(SIGNATURE, 0)
    version, offset_size, length_size = file.unpack("B4xBB", len(SIGNATURE))
    if version > 1 or (offset_size, length_size) != (8, 8):
        raise ValueError(f"its superblock must be as Keras writes it, version 0. Received: version {version}")
    base, _, end, _, _, root = file.unpack("6Q", 28 if version else 24)
    if end > len(content):
        raise ValueError(f"it is cut off: it had {end} bytes and has {len(content)}")
    if base:
        raise ValueError(f"its addresses must count from its beginning. Received: {base}")
    return Node(file, root)


class _File:
    """The parts of a file by address.

    What is handed out is counted: structures that lap over each other or lead back to themselves end in a ValueError
    and not in a flood.
    """

    def __init__(self, content: bytes):
        self._content = memoryview(content)
        self._left = 8 * len(content) + 2**20
        self.heap = cache(self._heap)

    def at(self, address: int, size: int) -> memoryview:
        if address + size > len(self._content):
            raise ValueError(f"it points to {size} bytes at {address}, and ends at {len(self._content)}")
        self.count(size)
        return self._content[address : address + size]

    def count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ValueError("its parts lead back to themselves, or lap over each other")

    def unpack(self, form: str, address: int) -> tuple:
        return struct.unpack("<" + form, self.at(address, struct.calcsize("<" + form)))

    def expect(self, signature: bytes, address: int) -> None:
        if self.at(address, len(signature)) != signature:
            raise ValueError(f"there is no {signature!r} at {address}")

    def name(self, address: int) -> str:
        text, end, _ = bytes(self._content[address : address + MAX_NAME + 1]).partition(b"\0")
        if not end:
            raise ValueError(f"the name at {address} does not end within {MAX_NAME} bytes")
        return str(self.at(address, len(text) + 1)[:-1], "utf-8")

    def _heap(self, address: int) -> dict[int, memoryview]:
        """The objects of a global heap (III.E), by index."""
        self.expect(b"GCOL", address)
        (size,) = self.unpack("Q", address + 8)
        objects, at, end = {}, address + 16, address + size
        while at + 16 <= end:
            index, object_size = self.unpack("H6xQ", at)
            if not index:  # the free space at the end
                break
            objects[index] = self.at(at + 16, object_size)
            at += 16 + _padded(object_size)
        return objects


class Node:
    """A group or a dataset."""

    def __init__(self, file: _File, address: int):
        self._file = file
        self._messages = list(_messages(file, address))
        if any(kind in LINKS for kind, _ in self._messages):
            raise ValueError("its groups must be symbol tables, as Keras writes them, and no newer ones")

    @property
    def is_group(self) -> bool:
        return any(kind == SYMBOL_TABLE for kind, _ in self._messages)

    @cached_property
    def members(self) -> dict[str, int]:
        """The addresses of a group's members, by name."""
        tree, heap = struct.unpack_from("<QQ", self._message(SYMBOL_TABLE))
        self._file.expect(b"HEAP", heap)
        (names,) = self._file.unpack("Q", heap + 24)
        return dict(_members(self._file, tree, names))

    def __contains__(self, name: str) -> bool:
        return self.is_group and name in self.members

    def __getitem__(self, path: str) -> "Node":
        """The member at a path, which may lead through groups; ValueError if there is none."""
        node = self
        for name in path.split("/"):
            if name not in node:
                raise ValueError(f"it has no {path:.200}")
            node = Node(self._file, node.members[name])
        return node

    @cached_property
    def _attributes(self) -> dict[str, tuple[memoryview, memoryview, memoryview]]:
        return dict(_attribute(message) for kind, message in self._messages if kind == ATTRIBUTE)

    def strings(self, name: str) -> list[str] | None:
        """The text of an attribute, one or more; None if there is no such attribute."""
        if name not in self._attributes:
            return None
        datatype, dataspace, data = self._attributes[name]
        return list(_strings(self._file, datatype, _shape(dataspace), data))

    def array(self) -> np.ndarray:
        """The numbers of a dataset."""
        if any(kind == EXTERNAL for kind, _ in self._messages):
            raise ValueError("data in another file are not read")
        dtype, shape = _dtype(self._message(DATATYPE)), _shape(self._message(DATASPACE))
        return shaped(np.frombuffer(self._data(math.prod(shape) * dtype.itemsize), dtype), shape)

    def _data(self, size: int) -> memoryview:
        message = self._message(LAYOUT)
        version, layout = message[0], message[1]
        if version not in (3, 4) or layout not in (CONTIGUOUS, COMPACT):
            raise ValueError(
                "a dataset must lie in one piece, as Keras writes it: not in chunks, compressed or elsewhere. "
                f"Received: version {version}, class {layout}"
            )
        if layout == COMPACT:
            (stored,) = struct.unpack_from("<H", message, 2)
            data = message[4 : 4 + stored]
        else:
            address, stored = struct.unpack_from("<QQ", message, 2)
            data = self._file.at(address, stored) if address != UNDEFINED else message[:0]
        if len(data) != size:
            raise ValueError(f"a dataset of {size} bytes has {len(data)}")
        return data

    def _message(self, wanted: int) -> memoryview:
        for kind, message in self._messages:
            if kind == wanted:
                return message
        raise ValueError(f"an object lacks the header message {wanted}")


def _padded(size: int) -> int:
    return -(-size // 8) * 8


def _messages(file: _File, address: int) -> Iterator[tuple[int, memoryview]]:
    """The messages of an object header (IV.A.1.a)."""
    version, size = file.unpack("B7xI", address)
    if version != 1:
        raise ValueError(f"an object's header must be of version 1, as Keras writes it. Received: {version}")
    blocks = [(address + 16, size)]
    for begin, length in blocks:  # which grows
        at, end = begin, begin + length
        while at + 8 <= end:
            kind, size, flags = file.unpack("HHB3x", at)
            message = file.at(at + 8, size)
            if kind == CONTINUATION:
                blocks.append(struct.unpack_from("<QQ", message))
            elif not flags & 2:  # shared ones lie elsewhere; Keras has none
                yield kind, message
            at += 8 + size


def _members(file: _File, tree: int, names: int, level: int | None = None) -> Iterator[tuple[str, int]]:
    """Names and addresses in the B-tree of a group (III.A.1), whose leaves are symbol table nodes (III.B)."""
    file.expect(b"TREE\0", tree)
    found, used = file.unpack("BH", tree + 5)
    if level not in (None, found):
        raise ValueError(f"a node of level {found} stands on level {level} of a tree")
    for index in range(used):
        (child,) = file.unpack("Q", tree + 32 + 16 * index)
        if found:
            yield from _members(file, child, names, found - 1)
            continue
        file.expect(b"SNOD", child)
        (symbols,) = file.unpack("H", child + 6)
        for symbol in range(symbols):
            name, header, link = file.unpack("QQI", child + 8 + 40 * symbol)
            if link not in (0, 1):
                raise ValueError("links other than hard ones are not followed")
            yield file.name(names + name), header


def _attribute(message: memoryview) -> tuple[str, tuple[memoryview, memoryview, memoryview]]:
    """Name, and datatype, dataspace and data of an attribute (IV.A.2.m)."""
    version, flags, *sizes = struct.unpack_from("<BB3H", message)
    if version not in (1, 2, 3) or (version > 1 and flags):
        raise ValueError("an attribute is of an unknown kind")
    parts, at = [], 9 if version == 3 else 8
    for size in sizes:
        parts.append(message[at : at + size])
        at += _padded(size) if version == 1 else size
    name, datatype, dataspace = parts
    return str(name, "utf-8").rstrip("\0"), (datatype, dataspace, message[at:])


def _strings(file: _File, datatype: memoryview, shape: tuple[int, ...], data: memoryview) -> Iterator[str]:
    kind, variable, size = struct.unpack_from("<BB2xI", datatype)
    count = math.prod(shape)
    if not count:
        return
    if not 0 < count * size <= len(data):
        raise ValueError(f"an attribute of {count} times {size} bytes has {len(data)}")
    if kind & 15 == STRING:
        for at in range(0, count * size, size):
            yield bytes(data[at : at + size]).partition(b"\0")[0].decode()
    elif kind & 15 == VARIABLE and variable & 15 == 1 and size == 16:
        for length, heap, index in struct.iter_unpack("<IQI", data[: count * size]):
            objects = file.heap(heap) if length else {}
            if length and index not in objects:
                raise ValueError(f"a text of an attribute is not at {heap}")
            file.count(length)
            yield bytes(objects[index][:length]).decode() if length else ""
    else:
        raise ValueError("an attribute is no text")


def _shape(message: memoryview) -> tuple[int, ...]:
    version, axes, _, kind = struct.unpack_from("<4B", message)
    if version not in (1, 2) or axes > MAX_AXES or (version == 2 and kind == 2):
        raise ValueError(f"a dataspace is of an unknown kind or has more than {MAX_AXES} axes")
    return struct.unpack_from(f"<{axes}Q", message, 8 if version == 1 else 4)


def _dtype(message: memoryview) -> np.dtype:
    kind, bits, size = struct.unpack_from("<BB2xI", message)
    if kind & 15 == FLOAT:
        found = FLOATS.get(struct.unpack_from("<HH4BI", message, 8))
        if found is not None and found.itemsize == size and not bits & 0x41:
            return found
    if kind & 15 == INTEGER and size in (1, 2, 4, 8):
        return np.dtype(f"{'>' if bits & 1 else '<'}{'i' if bits & 8 else 'u'}{size}")
    if kind & 15 == OPAQUE and size == 2:  # what h5py makes of bfloat16
        return np.dtype(ml_dtypes.bfloat16)
    raise ValueError("a dataset does not hold little-endian numbers")
