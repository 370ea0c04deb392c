"""Tests that apply to every file format."""

import functools
import shutil

import h5py
import numpy as np
import pytest
from conftest import KINDS, names_of
from safetensors.numpy import save
from writers import caffemodel, slim_checkpoint, torch_stream, torch_zip

from keras_inception.weights import read_tensors, readers

WRITERS = {
    "safetensors": save,
    "torch zip": torch_zip,
    "torch stream": torch_stream,
    "caffe": caffemodel,
    "caffe 2014": functools.partial(caffemodel, v1=True, sizes=True),
}
WRONG = {
    "nan": np.array([1.0, np.nan], np.float32),
    "infinity": np.array([np.inf], np.float32),
    "beyond float32": np.array([1e300]),
    "integers": np.array([1, 2, 3]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gives_weights_by_the_publishers_names(kind, file_of, arrays):
    tensors = read_tensors(file_of(kind))
    assert sorted(tensors) == sorted(names_of(kind))
    for name, values in zip(names_of(kind), arrays, strict=True):
        assert tensors[name].dtype == np.float32
        np.testing.assert_array_equal(tensors[name], values)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tf 2"])
def test_the_kind_is_told_by_content_and_not_by_name(kind, file_of, tmp_path):
    shutil.copy(file_of(kind), tmp_path / "weights.onnx")
    assert sorted(read_tensors(tmp_path / "weights.onnx")) == sorted(names_of(kind))


@pytest.mark.parametrize("kind", ["safetensors", "torch zip", "torch stream"])
def test_torchs_counters_are_left_out(kind, read):
    content = {"conv1.bn.num_batches_tracked": np.array(7), "fc.bias": np.ones(2, np.float32)}
    assert list(read(WRITERS[kind](content))) == ["fc.bias"]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("kind", ["safetensors", "torch zip", "torch stream"])
def test_numbers_that_are_not_finite_are_refused_by_name(kind, wrong, read):
    with pytest.raises(ValueError, match=r"not finite floating-point numbers: fc\.bias$"):
        read(WRITERS[kind]({"conv1.conv.weight": np.ones(2, np.float32), "fc.bias": WRONG[wrong]}))


@pytest.mark.parametrize("kind", ["caffe", "caffe 2014"])
def test_a_blob_that_is_not_finite_is_refused_by_name(kind, read):
    with pytest.raises(ValueError, match=r"not finite floating-point numbers: fc/1$"):
        read(WRITERS[kind]({"fc/0": np.ones((2, 2)), "fc/1": WRONG["nan"]}))


@pytest.mark.parametrize("wrong", WRONG)
def test_a_keras_array_that_is_not_finite_is_refused_by_name(wrong, tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.attrs["layer_names"] = [b"fc"]
        file.create_group("fc").attrs["weight_names"] = [b"fc/bias:0"]
        file["fc/fc/bias:0"] = WRONG[wrong]
    with pytest.raises(ValueError, match=r"weights\.h5 holds weights that are not finite .* numbers: fc/bias$"):
        read_tensors(tmp_path / "weights.h5")


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("version", [1, 2])
def test_a_tf_slim_variable_that_is_not_finite_is_refused_by_name(version, wrong, tmp_path):
    slim_checkpoint(tmp_path / "model.ckpt", {"a/weights": np.float32(1), "a/biases": WRONG[wrong]}, version)
    with pytest.raises(ValueError, match=r"a/biases must be of floating-point|not finite floating.*: a/biases$"):
        read_tensors(tmp_path / "model.ckpt")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\n", b"hello, world", b"PK\x05\x06" + bytes(18), b"GIF89a" + bytes(40), b"(dp0\n.", bytes(100)],
)
def test_a_file_of_another_kind_is_refused(read, content):
    with pytest.raises(ValueError, match=r"file is not a supported weights file|file cannot be read as a Caffe file"):
        read(content)


def test_a_folder_and_a_missing_file_are_os_errors(tmp_path):
    with pytest.raises(IsADirectoryError):
        read_tensors(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_tensors(tmp_path / "nowhere.pth")


def test_two_tensors_of_one_name_are_refused(read):
    layer = caffemodel({"fc/0": np.ones(2)}).removeprefix(caffemodel({}))
    with pytest.raises(ValueError, match="it has fc/0 twice"):
        read(caffemodel({}) + layer + layer)


def test_too_many_tensors_are_refused(read, monkeypatch):
    monkeypatch.setattr(readers, "MAX_TENSORS", 10)
    assert len(read(caffemodel({f"{index}/0": np.ones(1) for index in range(10)}))) == 10
    with pytest.raises(ValueError, match="more than 10 tensors"):
        read(caffemodel({f"{index}/0": np.ones(1) for index in range(11)}))
