"""Check the shapes and sizes that files claim for their arrays."""

import math
import os
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

MAX_AXES = 8


def shaped(values: np.ndarray, shape: Iterable[int]) -> np.ndarray:
    """Reshape `values` to the `shape` that a file gives. Raise ValueError if the sizes differ."""
    shape = tuple(islice(shape, MAX_AXES + 1))
    if len(shape) > MAX_AXES:
        raise ValueError(f"a tensor has more than {MAX_AXES} axes")
    if min(shape, default=0) < 0 or math.prod(shape) != values.size:
        raise ValueError(f"a tensor of shape {shape} has {values.size} numbers")
    return values.reshape(shape)


def distinct(tensors: Iterable[tuple[str, np.ndarray]], path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """Yield `tensors`, which may share storage. Raise ValueError if they have more numbers than the file has bytes.

    Otherwise a small file could list one block of numbers under a thousand names.
    """
    left = os.path.getsize(path)
    for name, tensor in tensors:
        left -= tensor.size
        if left < 0:
            raise ValueError("its tensors have more numbers than the file has bytes")
        yield name, tensor
