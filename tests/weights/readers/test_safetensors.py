import json
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save

WHOLE = save({"conv1.conv.weight": np.arange(12, dtype=np.float32).reshape(2, 6), "fc.bias": np.ones(3, np.float32)})


def container(header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_every_floating_type_is_read(read, dtype):
    values = np.array([[0.0, -1.5, 3.140625], [1e-3, 256.0, -7.0]]).astype(dtype)
    np.testing.assert_array_equal(read(save({"fc.weight": values}))["fc.weight"], values.astype(np.float32))


@pytest.mark.parametrize(
    "content",
    [
        WHOLE[:-1],
        WHOLE + b"\0",
        WHOLE[:20],
        struct.pack("<Q", 10 * 2**30) + WHOLE[8:],
        struct.pack("<Q", 2**64 - 1) + WHOLE[8:],
        container(b"{not json}"),
        container(b"{" * 100_000),
        container({"a": entry(shape=(2**40, 2**40))}, bytes(4)),
        container({"a": entry(shape=(2**40,), offsets=(0, 2**42))}, bytes(4)),
        container({"a": entry(shape=(-1,))}, bytes(4)),
        container({"a": entry(shape=(1,) * 100)}, bytes(4)),
        container({"a": entry(offsets=(4, 8))}, bytes(8)),
    ],
)
def test_a_damaged_file_is_refused(read, content):
    with pytest.raises(ValueError, match="file cannot be read as a safetensors file: "):
        read(content)


def test_types_that_weights_never_have_are_refused(read):
    with pytest.raises(ValueError, match=r"type of a must be one of F64, F32, F16, BF16, I64\. Received: F8_E4M3"):
        read(container({"a": entry("F8_E4M3", (4,))}, bytes(4)))
