import json
import subprocess
import sys

import numpy as np
import pytest

from keras_inception.exporting.convert import convert, representative
from keras_inception.preprocessing import DEFAULT
from keras_inception.utils.subprocesses import ChildError, run_module


def test_a_child_that_fails_is_an_error_with_its_last_words(tmp_path):
    with pytest.raises(ChildError, match=r"keras_inception.exporting.convert ended with exit code 1: .*nowhere"):
        convert(tmp_path / "nowhere", "float32", tmp_path / "x.tflite", tmp_path / "x.npy", DEFAULT)
    assert not (tmp_path / "x.tflite").exists()


def test_a_child_that_dies_without_a_word_is_an_error():
    with pytest.raises(ChildError, match=r"ended with exit code 1: .*No module named"):
        run_module("keras_inception.no_such_module", {})


def test_calibration_spans_black_to_white():
    pictures = np.full((3, 4, 4, 3), 90, np.uint8)
    inputs = [x for (x,) in representative(pictures, DEFAULT)]
    assert [x.shape for x in inputs] == [(1, 4, 4, 3)] * 3
    assert (inputs[0].min(), inputs[0].max()) == (-1, 1)
    assert all((x == inputs[1][0, 0, 0, 0]).all() for x in inputs[1:])


def test_the_package_is_light_until_it_is_used():
    code = "import sys, json, keras_inception.exporting.exporter\n"
    code += "print(json.dumps([m for m in sys.modules if '.' not in m]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert not {"tensorflow", "keras", "ai_edge_litert", "tensorflow_lite_support"} & set(json.loads(done.stdout))
