"""Read and write FlatBuffers: tables with numbered fields.

Buffers may come from untrusted files, so every offset is checked before it is followed, and the work is bounded.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flatbuffers

# Tables may share what they refer to, so a file of a few kilobytes could expand to billions of tables.
LIMIT = 2**24  # bytes that may be read from one buffer, counting repeated reads
COST = 16  # bytes that each read costs in addition to its size


class Data:
    """The bytes of a buffer, with checked and limited reads.

    Every method raises ValueError if it would read outside of the buffer or more than `LIMIT` bytes in all.
    """

    def __init__(self, whole: bytes):
        self._whole = whole
        self._left = LIMIT

    @property
    def identifier(self) -> bytes:
        """Return the four bytes that name the format."""
        return self._whole[4:8]

    def root(self) -> "Table":
        """Return the root table."""
        return Table(self, self.follow(0))

    def take(self, position: int, size: int) -> bytes:
        """Return `size` bytes at a position."""
        self._left -= COST + size
        if self._left < 0:
            raise ValueError("it is too large or refers to the same data over and over")
        if not 0 <= position <= len(self._whole) - size:
            raise ValueError(f"it refers to {size} bytes at {position}, but has {len(self._whole)}")
        return self._whole[position : position + size]

    def number(self, position: int, kind: str):
        """Return the number at a position; `kind` is its `struct` format."""
        return struct.unpack(f"<{kind}", self.take(position, struct.calcsize(kind)))[0]

    def follow(self, position: int) -> int:
        """Return the position that the offset at a position refers to."""
        target = position + self.number(position, "I")
        if target >= len(self._whole):
            raise ValueError(f"it refers to byte {target}, but has {len(self._whole)}")
        return target

    def content(self, position: int) -> bytes:
        """Return the vector of bytes or the string at a position."""
        return self.take(position + 4, self.number(position, "I"))

    def places(self, position: int) -> range:
        """Return the position of each element of a vector of four-byte elements."""
        return range(position + 4, position + 4 + 4 * self.number(position, "I"), 4)


class Table(NamedTuple):
    """A table, whose fields are read by their numbers. A missing field is None, empty or 0.

    Methods raise ValueError as those of `Data` do.
    """

    data: Data
    position: int

    def places(self) -> dict[int, int]:
        """Return the position of the number or offset of each field that is not missing."""
        vtable = self.position - self.data.number(self.position, "i")
        entries = range(vtable + 4, vtable + self.data.number(vtable, "H") - 1, 2)
        offsets = [self.data.number(entry, "H") for entry in entries]
        return {field: self.position + offset for field, offset in enumerate(offsets) if offset}

    def number(self, field: int, kind: str):
        """Return a numeric field; `kind` is its `struct` format."""
        place = self.places().get(field)
        return 0 if place is None else self.data.number(place, kind)

    def target(self, field: int) -> int | None:
        """Return the position that a field refers to."""
        place = self.places().get(field)
        return None if place is None else self.data.follow(place)

    def content(self, field: int) -> bytes:
        """Return a field that is a string or a vector of bytes."""
        target = self.target(field)
        return b"" if target is None else self.data.content(target)

    def numbers(self, field: int, kind: str) -> list:
        """Return a field that is a vector of numbers; `kind` is their `struct` format, of four bytes."""
        target = self.target(field)
        return [] if target is None else [self.data.number(place, kind) for place in self.data.places(target)]

    def tables(self, field: int) -> "list[Table]":
        """Return a field that is a vector of tables."""
        target = self.target(field)
        return [] if target is None else [Table(self.data, self.data.follow(at)) for at in self.data.places(target)]


PUT = {
    "B": flatbuffers.Builder.PrependUint8Slot,
    "i": flatbuffers.Builder.PrependInt32Slot,
    "I": flatbuffers.Builder.PrependUint32Slot,
    "f": flatbuffers.Builder.PrependFloat32Slot,
}


def put_table(
    builder: flatbuffers.Builder, offsets: Mapping[int, int], numbers: Mapping[int, tuple[str, float]] | None = None
) -> int:
    """Write a table and return its offset. Write everything that it refers to first.

    Args:
        builder: the builder to write with.
        offsets: for each reference field, the offset that the builder returned.
        numbers: for each numeric field, its `struct` format and value.
    """
    numbers = numbers or {}
    builder.StartObject(1 + max([*offsets, *numbers], default=-1))
    for field, written in offsets.items():
        builder.PrependUOffsetTRelativeSlot(field, written, 0)
    for field, (kind, number) in numbers.items():
        PUT[kind](builder, field, number, 0)
    return builder.EndObject()


def put_offsets(builder: flatbuffers.Builder, written: Sequence[int]) -> int:
    """Write a vector of references to objects that are already written, and return its offset."""
    builder.StartVector(4, len(written), 4)
    for each in reversed(written):
        builder.PrependUOffsetTRelative(each)
    return builder.EndVector()


def put_bytes(builder: flatbuffers.Builder, content: bytes, alignment: int) -> int:
    """Write a vector of bytes that starts at a multiple of `alignment`, and return its offset."""
    builder.Prep(alignment, len(content))
    return builder.CreateByteVector(content)
