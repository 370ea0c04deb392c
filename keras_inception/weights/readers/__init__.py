"""Readers of weights files: one module per file format.

A reader yields names and arrays, or raises a ValueError that says why it cannot.
"""

import os
import struct
from collections.abc import Callable, Iterator

import ml_dtypes
import numpy as np

from keras_inception.weights.formats import SIGNATURE
from keras_inception.weights.publishers.namemap import listed
from keras_inception.weights.readers import caffe, keras, safetensors, tf_slim, torch
from keras_inception.weights.readers.archives import Archive
from keras_inception.weights.readers.wrappers import unwrapped

Reader = Callable[[str | os.PathLike], Iterator[tuple[str, np.ndarray]]]

COUNTER = ".num_batches_tracked"
MAX_TENSORS = 2**16
# Errors that damaged files raise besides a ValueError with a reason.
DAMAGE = (IndexError, OverflowError, UnicodeDecodeError, struct.error)


def read_tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read a weights file into float32 arrays by name. The format is detected from the content.

    Names are the publisher's: torch's; Caffe's ``layer/0`` and ``layer/1``; Keras' ``layer/kernel``; TF-slim's. They
    lack the prefixes ``module.``, ``model.``, ``backbone.``, ``encoder.`` and ``_orig_mod.`` of whatever the network
    was wrapped in for training. A .weights.h5 from Keras 3.5 or earlier has no layer names, so its tensors are named by
    class and order, such as ``layers/conv2d_1/kernel``. torch's counters and training state are left out: of a
    checkpoint, the network's state dict is read, or its moving average (EMA), which is logged.

    No code that a file names is run. A file cannot crash this process, hang it or exhaust its memory: Keras' HDF5 and
    TensorFlow's checkpoints are read in a child process with time and memory limits.

    Args:
        path: The file. For a TensorFlow version 2 checkpoint: its prefix, its index or one of its data files.

    Raises:
        ValueError: The file is of an unknown kind or damaged, or a weight is not a finite floating-point number.
        OSError: The file cannot be read.
    """
    path = tf_slim.index_of(path)
    kind, reader = _kind(path)
    weights: dict[str, np.ndarray] = {}
    wrong = []
    try:
        for name, tensor in reader(path):
            if name.endswith(COUNTER) or (tensor.dtype.kind in "iu" and not tensor.ndim):  # such as n_averaged
                continue
            if name in weights or len(weights) == MAX_TENSORS:
                raise ValueError(f"it has {name:.200} twice, or more than {MAX_TENSORS} tensors")
            with np.errstate(over="ignore"):
                weights[name] = tensor.astype(np.float32, copy=False)
            floating = tensor.dtype.kind == "f" or tensor.dtype == ml_dtypes.bfloat16
            if not floating or not np.isfinite(weights[name]).all():
                wrong.append(name)
    except DAMAGE as error:
        raise ValueError(f"{path} cannot be read as a {kind} file, because it is damaged: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a {kind} file: {error}") from None
    if wrong:
        raise ValueError(f"{path} holds weights that are not finite floating-point numbers: {listed(wrong)}")
    names = unwrapped(weights)
    return {names[name]: tensor for name, tensor in weights.items()}


def _kind(path: str | os.PathLike) -> tuple[str, Reader]:
    """Return the format of a file and its reader, judged by the file's first and last bytes.

    Raises:
        ValueError: The kind is unknown.
    """
    with open(path, "rb") as file:
        head = file.read(9)
        is_table = tf_slim.begins(file)
    if head[8:] == b"{":  # the length of the header in eight bytes, then the header, a JSON object
        return "safetensors", safetensors.read
    if head.startswith(SIGNATURE):
        return "Keras", keras.read_hdf5
    if head.startswith(b"PK\x03\x04"):
        return "torch or Keras", _read_zip
    if head.startswith(b"\x80"):  # a pickle's protocol
        return "torch", torch.read_stream
    if is_table:
        return "TF-slim", tf_slim.read
    if caffe.begins(head):
        return "Caffe", caffe.read
    raise ValueError(
        f"{path} is not a supported weights file: it must be a safetensors, torch, Keras (.keras, HDF5) or Caffe "
        "file, or a TF-slim checkpoint"
    )


def _read_zip(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    with Archive(path) as archive:
        is_keras = keras.WEIGHTS in archive
    return (keras.read_archive if is_keras else torch.read_zip)(path)
