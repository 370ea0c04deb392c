"""Read a file in a child process, for libraries that a damaged file can crash or hang.

Out of 12,000 Keras files with a few bytes changed, the HDF5 library crashed on one and hung on three; out of 2,500
damaged checkpoint indexes, TensorFlow's reader aborted on 499. In a child process with time and memory limits, each of
these becomes a ValueError.

The child streams arrays to a .npy file in a temporary folder, and writes the rest of its answer as JSON. Nothing is
pickled.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from keras_inception.utils import files
from keras_inception.utils.subprocesses import ChildError, run_module

ANSWER, TENSORS = "answer.json", "tensors.npy"
# Limits for a child: enough to start and to read a small file, plus an allowance per byte of the file.
SECONDS, BYTES_A_SECOND = 120, 10 * 2**20
MEMORY, MEMORY_A_BYTE = 2**31, 4
MAX_MESSAGE = 500
ENVIRONMENT = {
    "HDF5_PLUGIN_PRELOAD": "::",  # load no filters from other libraries
    "HDF5_USE_FILE_LOCKING": "FALSE",
    "OMP_NUM_THREADS": "1",  # thread stacks count toward the memory limit, and NumPy starts a thread per core
    "OPENBLAS_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def ask(module: str, job: dict, size: int) -> dict:
    """Run a reader's child process and return its answer.

    Args:
        module: The child's module.
        job: The argument of its ``main``; the answer goes to ``folder``. ``size`` is added.
        size: Size of the file in bytes. The limits grow with it.

    Raises:
        ValueError: The file is damaged, or reading it crashed, took too long or needed too much memory.
    """
    timeout, memory = SECONDS + size / BYTES_A_SECOND, MEMORY + MEMORY_A_BYTE * size
    try:
        run_module(module, {**job, "size": size}, ENVIRONMENT, timeout=timeout, memory=memory)
    except ChildError as error:
        raise ValueError(f"reading it failed: {error}") from None
    answer = files.read_json(Path(job["folder"]) / ANSWER)
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer


def read(module: str, job: dict, size: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the names and arrays that a reader's child process finds: float32, or int64, which the caller refuses."""
    with files.temporary_folder() as folder:
        names = ask(module, {**job, "folder": str(folder)}, size)["names"]
        with open(folder / TENSORS, "rb") as file:
            for name in names:
                yield name, np.load(file, allow_pickle=False)


def reply(folder: str | os.PathLike, answer: Callable[[], Mapping]) -> None:
    """Write the answer of a child process, or the reason why it cannot read its file."""
    try:
        content = answer()
    except Exception as error:  # libraries raise exceptions of any class for damaged files
        reason = " ".join(str(error).split())[:MAX_MESSAGE]
        content = {"error": reason if type(error) is ValueError else f"{type(error).__name__}: {reason}"}
    (Path(folder) / ANSWER).write_text(json.dumps(content), encoding="utf-8")


def saved(folder: str | os.PathLike, tensors: Iterable[tuple[str, np.ndarray]]) -> dict[str, list[str]]:
    """Save arrays for `read` in a child process, and return their names as its answer."""
    names = []
    with open(Path(folder) / TENSORS, "wb") as file:
        for name, tensor in tensors:
            names.append(name)
            with np.errstate(over="ignore"):  # infinity is refused later, by name
                np.save(file, tensor.astype(np.int64 if tensor.dtype.kind in "iu" else np.float32), allow_pickle=False)
    return {"names": names}
