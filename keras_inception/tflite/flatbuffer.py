"""FlatBuffers, tables whose fields have numbers: read as data from strangers, and written.

Reading, no offset is followed unchecked, and the work is bounded.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flatbuffers

# Tables can share what they refer to, so that a file of a few kilobytes could stand for billions of tables.
LIMIT = 2**24  # bytes read of one buffer
COST = 16  # of these, of any look at it


class Data:
    """The bytes of a buffer, of which so many are read at most.

    Raises:
        ValueError: what is asked for, or what an offset refers to, is not there; or `LIMIT` is reached.
    """

    def __init__(self, whole: bytes):
        self._whole = whole
        self._left = LIMIT

    @property
    def identifier(self) -> bytes:
        """The four letters that name its format."""
        return self._whole[4:8]

    def root(self) -> "Table":
        """The table that all others hang from."""
        return Table(self, self.follow(0))

    def take(self, position: int, size: int) -> bytes:
        """The bytes at a position."""
        self._left -= COST + size
        if self._left < 0:
            raise ValueError("it is too large, or refers to the same over and over")
        if not 0 <= position <= len(self._whole) - size:
            raise ValueError(f"it refers to {size} bytes at {position}, and has {len(self._whole)}")
        return self._whole[position : position + size]

    def number(self, position: int, kind: str):
        """The number at a position, of a format of `struct`."""
        return struct.unpack(f"<{kind}", self.take(position, struct.calcsize(kind)))[0]

    def follow(self, position: int) -> int:
        """What the offset at a position refers to, as a position."""
        target = position + self.number(position, "I")
        if target >= len(self._whole):
            raise ValueError(f"it refers to byte {target}, and has {len(self._whole)}")
        return target

    def content(self, position: int) -> bytes:
        """A vector of bytes."""
        return self.take(position + 4, self.number(position, "I"))

    def text(self, position: int) -> str:
        """A string, with U+FFFD where it is not UTF-8."""
        return self.content(position).decode("utf-8", errors="replace")

    def places(self, position: int) -> range:
        """The positions of the elements of a vector, each of four bytes."""
        return range(position + 4, position + 4 + 4 * self.number(position, "I"), 4)


class Table(NamedTuple):
    """A table. Its fields are known by their numbers, and one that is missing is None, or empty, or 0.

    Raises:
        ValueError: as of `Data`.
    """

    data: Data
    position: int

    def places(self) -> dict[int, int]:
        """By field the position of its number, or of its offset."""
        vtable = self.position - self.data.number(self.position, "i")
        entries = range(vtable + 4, vtable + self.data.number(vtable, "H") - 1, 2)
        offsets = [self.data.number(entry, "H") for entry in entries]
        return {field: self.position + offset for field, offset in enumerate(offsets) if offset}

    def number(self, field: int, kind: str):
        """A number of a format of `struct`."""
        place = self.places().get(field)
        return 0 if place is None else self.data.number(place, kind)

    def target(self, field: int) -> int | None:
        """The position of what a field refers to."""
        place = self.places().get(field)
        return None if place is None else self.data.follow(place)

    def text(self, field: int) -> str | None:
        """A string."""
        target = self.target(field)
        return None if target is None else self.data.text(target)

    def numbers(self, field: int, kind: str) -> list:
        """A vector of numbers of a format of `struct` of four bytes."""
        target = self.target(field)
        return [] if target is None else [self.data.number(place, kind) for place in self.data.places(target)]

    def tables(self, field: int) -> "list[Table]":
        """A vector of tables."""
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
    """Write a table behind which all that it refers to is written already, and tell where it is.

    Args:
        offsets: by field where it refers to, as builders tell it: counted from the end.
        numbers: by field the format of `struct` and the number.
    """
    numbers = numbers or {}
    builder.StartObject(1 + max([*offsets, *numbers], default=-1))
    for field, written in offsets.items():
        builder.PrependUOffsetTRelativeSlot(field, written, 0)
    for field, (kind, number) in numbers.items():
        PUT[kind](builder, field, number, 0)
    return builder.EndObject()


def put_offsets(builder: flatbuffers.Builder, written: Sequence[int]) -> int:
    """Write a vector that refers to what is written already, and tell where it is."""
    builder.StartVector(4, len(written), 4)
    for each in reversed(written):
        builder.PrependUOffsetTRelative(each)
    return builder.EndVector()


def put_bytes(builder: flatbuffers.Builder, content: bytes, alignment: int) -> int:
    """Write a vector of bytes, of which the first is aligned, and tell where it is."""
    builder.Prep(alignment, len(content))
    return builder.CreateByteVector(content)
