"""TF-slim's checkpoints: TensorFlow's version 1 (one file) and version 2 (an index and data files).

TensorFlow reads them in a child process (`tf_slim_child`).
"""

import errno
import glob
import os
import re
import shutil
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from keras_inception.utils import files
from keras_inception.weights.readers import isolation

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER = 48
INDEX = ".index"
CHILD = f"{__package__}.tf_slim_child"


def begins(file: BinaryIO) -> bool:
    """Return whether a seekable file ends like a LevelDB table, the format of TensorFlow's checkpoints."""
    if file.seek(0, os.SEEK_END) < FOOTER:
        return False
    file.seek(-len(MAGIC), os.SEEK_END)
    return file.read() == MAGIC


def index_of(path: str | os.PathLike) -> str | os.PathLike:
    """Return the index of a version 2 checkpoint, given its prefix or a data file. Return other paths unchanged."""
    prefix = re.sub(r"\.data-\d{5}-of-\d{5}$", "", os.fspath(path))
    index = f"{prefix}{INDEX}"
    return index if (prefix != os.fspath(path) or not os.path.exists(path)) and os.path.exists(index) else path


def read(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the model's variables without optimizer slots and counters; moving averages replace their variables.

    Raises:
        ValueError: The checkpoint is damaged, or a variable is not of floating-point numbers.
        FileNotFoundError: A data file is missing.
    """
    path = os.path.abspath(path)
    prefix = path.removesuffix(INDEX) if path.endswith(INDEX) else path
    sources = [path] if prefix == path else [path, *_shards(prefix)]
    with files.temporary_folder() as folder:  # TensorFlow treats a path as a glob pattern
        for source in sources:
            _link(source, os.path.join(folder, f"model.ckpt{source.removeprefix(prefix)}"))
        job = {"path": os.path.join(folder, "model.ckpt")}
        yield from isolation.read(CHILD, job, sum(map(os.path.getsize, sources)))


def _link(source: str, target: str) -> None:
    """Make a symbolic link, or a copy where links are not allowed."""
    try:
        os.symlink(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _shards(prefix: str) -> list[str]:
    """Return a version 2 checkpoint's data files. Raise FileNotFoundError if one is missing."""
    found = set(glob.glob(f"{glob.escape(prefix)}.data-{'[0-9]' * 5}-of-{'[0-9]' * 5}"))
    count = max((int(path[-5:]) for path in found), default=1)
    shards = [f"{prefix}.data-{number:05d}-of-{count:05d}" for number in range(count)]
    for shard in shards:
        if shard not in found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), shard)
    return shards
