"""Readers of files of weights: one function for each kind of file, from a path to arrays by name."""

import os

import ml_dtypes
import numpy as np
import safetensors

from keras_inception.weights.names import listed

# By safetensors' codes. The integers are of torch's counters, which are no weights.
SAFETENSORS_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
}
COUNTER = ".num_batches_tracked"


def read_tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The weights in a file by name, float32. The kind of file is told by its content.

    Raises:
        ValueError: the file is of no known kind or damaged, or a weight is not a finite floating-point number.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(9)
    if head[8:] != b"{":  # safetensors: the length of the header in eight bytes, then the header, a JSON object
        raise ValueError(f"{path} is not a file of weights that can be read: it must be a safetensors file")
    tensors = {name: tensor for name, tensor in read_safetensors(path).items() if not name.endswith(COUNTER)}
    with np.errstate(over="ignore"):
        weights = {name: tensor.astype(np.float32, copy=False) for name, tensor in tensors.items()}
    wrong = [
        name for name, weight in weights.items() if tensors[name].dtype == np.int64 or not np.isfinite(weight).all()
    ]
    if wrong:
        raise ValueError(f"{path} holds weights that are not finite floating-point numbers: {listed(wrong)}")
    return weights


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, in the types that they are stored in; ValueError if it is damaged."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        # The arrays are made here, because `safetensors.numpy` does not know bfloat16.
        return {
            name: np.frombuffer(tensor["data"], SAFETENSORS_DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
            for name, tensor in sorted(safetensors.deserialize(content))  # which come in any order
        }
    except KeyError as error:
        allowed = ", ".join(SAFETENSORS_DTYPES)
        raise ValueError(f"{path}: the type of a tensor must be one of {allowed}. Received: {error.args[0]}") from None
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is a damaged safetensors file: {error}") from None
