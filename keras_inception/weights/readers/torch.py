"""Read torch.save files without torch: a pickled state dict, with the numbers stored separately.

`state_dicts` finds the state dict in the checkpoint of a training script. Whatever else is in there is skipped.

There are two formats: the zip file of torch 1.6 and later, and the earlier stream of pickles, which torchvision's first
files use.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import ml_dtypes
import numpy as np

from keras_inception.weights.readers.archives import Archive
from keras_inception.weights.readers.arrays import MAX_AXES, distinct
from keras_inception.weights.readers.pickles import Opaque, load, ordered_dict
from keras_inception.weights.readers.state_dicts import state_dict

STREAM_MAGIC = 0x1950A86A20F9469CFC6C
STREAM_PROTOCOL = 1001

STORAGES = {
    f"torch.{kind}Storage": np.dtype(code)
    for kind, code in {
        **{"Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": ml_dtypes.bfloat16},
        **{"Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1", "Bool": "?"},
    }.items()
}


@dataclass(frozen=True)
class Storage:
    """A block of `count` numbers."""

    dtype: np.dtype
    key: str
    count: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage. Offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _tensor(*arguments: object) -> Tensor | Opaque:
    match arguments:
        case [Opaque() as storage, *_]:
            return storage
        case [Storage() as storage, int() as offset, tuple() as shape, tuple() as strides, *_] if (
            all(isinstance(number, int) and number >= 0 for number in (offset, *shape, *strides))
            and len(shape) == len(strides) <= MAX_AXES
        ):
            return Tensor(storage, offset, shape, strides)
    raise ValueError("a tensor in it is not made of a storage, an offset, a shape and strides")


def _parameter(*arguments: object) -> Tensor | Opaque:
    if not arguments or not isinstance(arguments[0], Tensor | Opaque):
        raise ValueError("a parameter in it is not made of a tensor")
    return arguments[0]


NAMES = {
    "collections.OrderedDict": ordered_dict,
    **STORAGES,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}


def read_zip(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the tensors of a zip file: ``data.pkl`` and the storages ``data/0``, ... in a folder of any name."""
    with Archive(path) as archive:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError(f"it must have one entry data.pkl. Received: {len(pickles)}")
        folder = pickles[0].removesuffix("data.pkl")
        big_endian = f"{folder}byteorder" in archive and archive.content(f"{folder}byteorder") == b"big"
        storages: dict[str, Storage] = {}
        content = load(BytesIO(archive.content(pickles[0])), NAMES, _remembering(storages), Opaque)
        tensors = state_dict(content, Tensor, path)
        arrays = {
            key: _array(memoryview(archive.content(f"{folder}data/{key}")), storages[key], big_endian)
            for key in {tensor.storage.key for tensor in tensors.values()}
        }
    yield from distinct(_views(tensors, arrays), path)


def read_stream(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the tensors of the older format: five pickles, then the count and the numbers of each storage."""
    whole = Path(path).read_bytes()
    file = BytesIO(whole)
    storages: dict[str, Storage] = {}
    if load(file, NAMES, _remembering(storages)) != STREAM_MAGIC:
        raise ValueError("it is a pickle, but not one of torch.save")
    protocol, system = (load(file, NAMES, _remembering(storages)) for _ in range(2))
    content = load(file, NAMES, _remembering(storages), Opaque)
    keys = load(file, NAMES, _remembering(storages))
    if protocol != STREAM_PROTOCOL or not isinstance(system, dict):
        raise ValueError(f"its protocol must be {STREAM_PROTOCOL}. Received: {protocol!s:.20}")
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in storages for key in keys):
        raise ValueError("its list of storages names some that no tensor has")
    rest, arrays = memoryview(whole)[file.tell() :], {}
    for key in keys:
        storage = storages[key]
        size = 8 + storage.count * storage.dtype.itemsize
        if int.from_bytes(rest[:8], "little") != storage.count:
            raise ValueError(f"the storage {key:.200} must have {storage.count} numbers")
        arrays[key] = _array(rest[8:size], storage, not system.get("little_endian", True))
        rest = rest[size:]
    yield from distinct(_views(state_dict(content, Tensor, path), arrays), path)


def _remembering(storages: dict[str, Storage]) -> Callable[[object], Storage | Opaque]:
    """Return a function that turns persistent IDs into storages and collects them in `storages`.

    Storages of other types than `STORAGES` are opaque.
    """

    def storage(persistent_id: object) -> Storage | Opaque:
        match persistent_id:
            case ("storage", Opaque() as dtype, *_):
                return dtype
            case ("storage", np.dtype() as dtype, str() as key, _, int() as count, *view) if view in ([], [None]):
                found = Storage(dtype, key, count)
                if storages.setdefault(key, found) == found:
                    return found
        raise ValueError("a storage in it has no type, key, place and count, or two of them")

    return storage


def _array(data: memoryview, storage: Storage, big_endian: bool) -> np.ndarray:
    if len(data) != storage.count * storage.dtype.itemsize:
        raise ValueError(f"the storage {storage.key:.200} of {storage.count} {storage.dtype} has {len(data)} bytes")
    if big_endian:
        return np.frombuffer(data, f"u{storage.dtype.itemsize}").byteswap().view(storage.dtype)
    return np.frombuffer(data, storage.dtype)


def _views(tensors: dict[str, Tensor], arrays: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    for name, tensor in tensors.items():
        yield name, _view(tensor, arrays)


def _view(tensor: Tensor, arrays: dict[str, np.ndarray]) -> np.ndarray:
    values, count = arrays.get(tensor.storage.key), math.prod(tensor.shape)
    last = tensor.offset + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True))
    if values is None or (count and last >= values.size):
        raise ValueError(f"a tensor of shape {tensor.shape} reaches beyond its storage")
    if not count:
        return np.zeros(tensor.shape, values.dtype)
    strides = [step * values.itemsize for step in tensor.strides]
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides, writeable=False)
