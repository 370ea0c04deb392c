"""Safetensors files: https://github.com/huggingface/safetensors#format."""

import os
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors

# By safetensors' type codes. Integers are torch's counters, not weights.
DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "I64": np.int64}


def read(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the tensors in their stored types."""
    try:
        tensors = safetensors.deserialize(Path(path).read_bytes())
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from None
    # safetensors.numpy does not support bfloat16, so the arrays are created here.
    for name, tensor in sorted(tensors):  # their order is undefined
        if tensor["dtype"] not in DTYPES:
            raise ValueError(f"the type of {name} must be one of {', '.join(DTYPES)}. Received: {tensor['dtype']}")
        yield name, np.frombuffer(tensor["data"], DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
