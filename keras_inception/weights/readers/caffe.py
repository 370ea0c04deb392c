"""Caffe's .caffemodel files: a NetParameter of caffe.proto in the wire format of protocol buffers."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_inception.weights.readers import wire
from keras_inception.weights.readers.arrays import shaped

# NetParameter's field of layers -> a layer's fields (name, blobs). The second is V1LayerParameter, used in 2014.
LAYERS = {100: (1, 7), 2: (4, 6)}
# Fields of BlobProto. Older files have four sizes instead of a shape.
SIZES = (1, 2, 3, 4)
DATA, SHAPE, DOUBLE_DATA = 5, 7, 8


def begins(head: bytes) -> bool:
    """Return whether a file may be a NetParameter. It has no signature, but starts with the net's name or a layer."""
    return head.startswith((b"\x0a", b"\x12", b"\xa2\x06"))


def read(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the blobs of the layers: ``layer/0`` is the kernel, ``layer/1`` the bias."""
    net = memoryview(Path(path).read_bytes())
    found = False
    for field, (name, blobs) in LAYERS.items():
        for layer in wire.parts(net, field):
            for index, blob in enumerate(wire.parts(layer, blobs)):
                found = True
                yield f"{str(wire.part(layer, name), 'utf-8')}/{index}", _array(blob)
    if not found:
        raise ValueError("no layer in it has weights")


def _array(blob: memoryview) -> np.ndarray:
    floats = wire.numbers(blob, DATA)
    values = np.frombuffer(floats, "<f4") if floats else np.frombuffer(wire.numbers(blob, DOUBLE_DATA), "<f8")
    if any(True for _ in wire.parts(blob, SHAPE)):
        return shaped(values, wire.integers(wire.part(blob, SHAPE), 1))
    return shaped(values, (wire.integer(blob, size) for size in SIZES))
