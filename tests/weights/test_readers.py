import contextlib
import json
import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from keras_inception.weights.readers import read_tensors

WHOLE = save({"conv1.conv.weight": np.arange(12, dtype=np.float32).reshape(2, 6), "fc.bias": np.ones(3, np.float32)})


def container(header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.fixture
def read(tmp_path):
    def write_and_read(content):
        (tmp_path / "file").write_bytes(content)
        return read_tensors(tmp_path / "file")

    return write_and_read


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_every_floating_type_is_read_as_float32(read, dtype):
    values = np.array([[0.0, -1.5, 3.140625], [1e-3, 256.0, -7.0]]).astype(dtype)
    tensors = read(save({"fc.weight": values}))
    assert tensors["fc.weight"].dtype == np.float32
    np.testing.assert_array_equal(tensors["fc.weight"], values.astype(np.float32))


def test_counters_are_left_out(read):
    content = save({"conv1.bn.num_batches_tracked": np.array(7), "fc.bias": np.ones(2, np.float32)})
    assert list(read(content)) == ["fc.bias"]


@pytest.mark.parametrize(
    "values",
    [np.array([1.0, np.nan], np.float32), np.array([np.inf], np.float16), np.array([1e300]), np.array([1, 2, 3])],
    ids=["nan", "infinity", "beyond float32", "integers"],
)
def test_what_is_no_finite_number_is_refused_by_name(read, values):
    with pytest.raises(ValueError, match=r"not finite floating-point numbers: fc\.bias$"):
        read(save({"conv1.conv.weight": np.ones(2, np.float32), "fc.bias": values}))


@pytest.mark.parametrize("content", [b"", b"{", b"PK\x03\x04" + bytes(40), b"\x89HDF\r\n\x1a\n" + bytes(40)])
def test_a_file_of_another_kind_is_refused(read, content):
    with pytest.raises(ValueError, match="file is not a file of weights that can be read: it must be a safetensors"):
        read(content)


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
    with pytest.raises(ValueError, match="file is a damaged safetensors file: "):
        read(content)


def test_a_type_that_is_no_weights_is_refused(read):
    with pytest.raises(ValueError, match=r"must be one of F64, F32, F16, BF16, I64\. Received: F8_E4M3"):
        read(container({"a": entry("F8_E4M3", (4,))}, bytes(4)))


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255), st.integers(0, len(WHOLE)))
@settings(max_examples=300, deadline=None)
def test_flipped_bits_and_lost_ends_give_arrays_or_a_value_error(tmp_path_factory, position, flip, end):
    content = bytearray(WHOLE)
    content[position] ^= flip
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(content[:end])
    with contextlib.suppress(ValueError):
        assert all(np.isfinite(tensor).all() for tensor in read_tensors(path).values())
