"""The wire format of protocol buffers: https://protobuf.dev/programming-guides/encoding.

Fields are read by number, without Caffe's compiled schema. A message that claims more bytes than it holds raises a
ValueError.
"""

from collections import deque
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")
VARINT, BYTES = 0, 2
FIXED = {1: 8, 5: 4}  # bytes, by wire type


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the integer at offset `at`, seven bits per byte, and the offset after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it ends within an integer")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("an integer has more than ten bytes")


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield a message's fields as (number, value): an integer for varints, bytes for all others."""
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = varint(message, at)
            yield number, value
            continue
        if kind == BYTES:
            size, at = varint(message, at)
        elif kind in FIXED:
            size = FIXED[kind]
        else:
            raise ValueError(f"a field has the unknown wire type {kind}")
        if size > len(message) - at:
            raise ValueError(f"a field claims {size} bytes where only {len(message) - at} are left")
        yield number, message[at : at + size]
        at += size


def parts(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """Yield the values of a repeated field of bytes."""
    for number, value in fields(message):
        if number == wanted:
            if isinstance(value, int):
                raise ValueError(f"field {wanted} is an integer where it must not be")
            yield value


def part(message: memoryview, wanted: int) -> memoryview:
    """Return the last value of a field of bytes, or no bytes if there is none."""
    return _last(parts(message, wanted), memoryview(b""))


def integers(message: memoryview, wanted: int) -> Iterator[int]:
    """Yield the values of a repeated field of integers, packed or not."""
    for number, value in fields(message):
        if number == wanted:
            if isinstance(value, int):
                yield value
                continue
            at = 0
            while at < len(value):
                item, at = varint(value, at)
                yield item


def integer(message: memoryview, wanted: int) -> int:
    """Return the last value of a field of integers, or the default of protocol buffers, 0."""
    return _last(integers(message, wanted), 0)


def numbers(message: memoryview, wanted: int) -> bytearray:
    """Return the concatenated bytes of a repeated field of floats or doubles, packed or not."""
    whole = bytearray()
    for chunk in parts(message, wanted):
        whole += chunk
    return whole


def _last(values: Iterator[T], default: T) -> T:
    return next(iter(deque(values, maxlen=1)), default)
