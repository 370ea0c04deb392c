"""Readers of files of weights: one module for each kind of file, and here what is true of all kinds.

A reader gives names and arrays one after another, or a ValueError with the reason why it does not.
"""

import os
import struct
from collections.abc import Callable, Iterator

import ml_dtypes
import numpy as np

from keras_inception.weights.publishers.namemap import listed
from keras_inception.weights.readers import caffe, hdf5, keras, safetensors, tf_slim, torch
from keras_inception.weights.readers.archives import Archive

Reader = Callable[[str | os.PathLike], Iterator[tuple[str, np.ndarray]]]

COUNTER = ".num_batches_tracked"
MAX_TENSORS = 2**16
# What comes of damaged files, beside ValueErrors with a reason.
DAMAGE = (IndexError, OverflowError, UnicodeDecodeError, struct.error)


def read_tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The weights in a file by name, float32. The kind of file is told by its content.

    The names are the publisher's: torch's, without the ``module.`` of a parallel model; Caffe's ``layer/0`` and
    ``layer/1``; Keras' ``layer/kernel``; TF-slim's. torch's counters are left out, and so is the state of a training.
    Of a TensorFlow checkpoint of version 2 the path may be the prefix, the index or a file of data.

    Nothing that a file names is run, and no memory is taken for what a file claims but does not hold.

    Raises:
        ValueError: the file is of no known kind or damaged, or a weight is not a finite floating-point number.
        OSError: the file cannot be read.
    """
    path = tf_slim.index_of(path)
    kind, reader = _kind(path)
    weights: dict[str, np.ndarray] = {}
    wrong = []
    try:
        for name, tensor in reader(path):
            if name.endswith(COUNTER):
                continue
            if name in weights or len(weights) == MAX_TENSORS:
                raise ValueError(f"it has {name:.200} twice, or more than {MAX_TENSORS} tensors")
            with np.errstate(over="ignore"):
                weights[name] = tensor.astype(np.float32, copy=False)
            floating = tensor.dtype.kind == "f" or tensor.dtype == ml_dtypes.bfloat16
            if not floating or not np.isfinite(weights[name]).all():
                wrong.append(name)
    except DAMAGE as error:
        raise ValueError(f"{path} cannot be read as a file of {kind}, it is damaged: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a file of {kind}: {error}") from None
    if wrong:
        raise ValueError(f"{path} holds weights that are not finite floating-point numbers: {listed(wrong)}")
    return weights


def _kind(path: str | os.PathLike) -> tuple[str, Reader]:
    """The kind of a file and its reader, by what the file begins or ends with; ValueError if that is unknown."""
    with open(path, "rb") as file:
        head = file.read(9)
        is_table = tf_slim.begins(file)
    if head[8:] == b"{":  # the length of the header in eight bytes, then the header, a JSON object
        return "safetensors", safetensors.read
    if head.startswith(hdf5.SIGNATURE):
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
        f"{path} is not a file of weights that can be read: it must be of safetensors, of torch, of Keras (.keras, "
        "HDF5), of Caffe or a checkpoint of TF-slim"
    )


def _read_zip(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    with Archive(path) as archive:
        is_keras = keras.WEIGHTS in archive
    return (keras.read_archive if is_keras else torch.read_zip)(path)
