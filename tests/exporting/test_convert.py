"""Conversion to .tflite in a child process."""

import json
import subprocess
import sys

import numpy as np
import pytest

from keras_inception.exporting.convert import convert, keep_float, representative
from keras_inception.exporting.variants import VARIANTS
from keras_inception.preprocessing import DEFAULT
from keras_inception.utils.subprocesses import ChildError, run_module


def test_the_error_of_a_failed_child_quotes_its_last_lines(tmp_path):
    with pytest.raises(ChildError, match=r"keras_inception.exporting.convert ended with exit code 1: .*nowhere"):
        convert(tmp_path / "nowhere", VARIANTS["float32"], tmp_path / "x.tflite", tmp_path / "x.npy", DEFAULT)
    assert not (tmp_path / "x.tflite").exists()


def test_a_child_that_cannot_start_is_an_error():
    with pytest.raises(ChildError, match=r"ended with exit code 1: .*No module named"):
        run_module("keras_inception.no_such_module", {})


def test_calibration_spans_black_to_white():
    images = np.full((3, 4, 4, 3), 90, np.uint8)
    inputs = [x for (x,) in representative(images, DEFAULT)]
    assert [x.shape for x in inputs] == [(1, 4, 4, 3)] * 3
    assert (inputs[0].min(), inputs[0].max()) == (-1, 1)
    assert all((x == inputs[1][0, 0, 0, 0]).all() for x in inputs[1:])


@pytest.mark.versions
def test_this_tensorflow_can_keep_operations_in_float32(monkeypatch):
    """`keep_float` patches a private function, which a new TensorFlow may rename or change."""
    from tensorflow.lite.python import lite

    original = lite._mlir_quantize
    monkeypatch.setattr(lite, "_mlir_quantize", original)  # restored after the test
    keep_float(["node"])
    assert lite._mlir_quantize.func is original
    assert lite._mlir_quantize.keywords == {"denylisted_nodes": ["node"], "denylisted_ops": ["DIV", "SQRT"]}


@pytest.mark.parametrize("present", [None, lambda model: model], ids=["gone", "other arguments"])
def test_a_tensorflow_that_cannot_keep_operations_in_float32_is_refused(monkeypatch, present):
    from tensorflow.lite.python import lite

    if present is None:
        monkeypatch.delattr(lite, "_mlir_quantize", raising=False)
    else:
        monkeypatch.setattr(lite, "_mlir_quantize", present)
    with pytest.raises(RuntimeError, match="this version of TensorFlow cannot keep operations of an int8 file in"):
        keep_float([])


def test_the_package_is_light_until_it_is_used():
    code = "import sys, json, keras_inception.exporting.exporter\n"
    code += "print(json.dumps([m for m in sys.modules if '.' not in m]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert not {"tensorflow", "keras", "ai_edge_litert", "tensorflow_lite_support"} & set(json.loads(done.stdout))
