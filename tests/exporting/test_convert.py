"""Conversion to .tflite in a child process."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

import keras_inception
from keras_inception.exporting.convert import cause, convert, keep_float, main, representative
from keras_inception.exporting.variants import VARIANTS
from keras_inception.preprocessing import DEFAULT
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.utils.subprocesses import ChildError, run_module

pytestmark = pytest.mark.usefixtures("own_children")


def test_a_child_converts_to_int8_with_scores_in_float32(tmp_path, monkeypatch):
    """Call what a child calls, which changes modules and TensorFlow for the rest of its process."""
    import keras
    from tensorflow.lite.python import lite

    for name in ("jax", "keras", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, sys.modules.get(name))
    monkeypatch.setattr(lite, "_mlir_quantize", lite._mlir_quantize)
    image = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(x))
    model.export(tmp_path / "saved", verbose=False)
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8))
    variant = dataclasses.replace(VARIANTS["int8"], output_type="float32")
    main(
        {
            "saved_model": str(tmp_path / "saved"),
            "variant": dataclasses.asdict(variant),
            "output": str(tmp_path / "model.tflite"),
            "calibration": str(tmp_path / "images.npy"),
            "preprocessing": DEFAULT.replace(size=(8, 8)).to_json(),
            "float_nodes": [],
        }
    )
    classifier = TFLiteClassifier(tmp_path / "model.tflite")
    assert (classifier.input_type, classifier.output_type) == (np.uint8, np.float32)


def test_the_error_of_a_failed_child_is_its_exception(tmp_path):
    with pytest.raises(ChildError, match=r"^the converter failed: OSError: .*nowhere[^\n]*$"):
        convert(tmp_path / "nowhere", VARIANTS["float32"], tmp_path / "x.tflite", tmp_path / "x.npy", DEFAULT)
    assert not (tmp_path / "x.tflite").exists()


@pytest.mark.versions
def test_operations_without_a_counterpart_in_tflite_are_named_with_their_layers(tmp_path):
    import keras
    import tensorflow as tf

    class Spectrum(keras.layers.Layer):
        def call(self, x):
            return tf.abs(tf.signal.fft2d(tf.cast(x, tf.complex64)))

    class Probit(keras.layers.Layer):
        def call(self, x):
            return keras.ops.erfinv(0.9 * keras.ops.tanh(x))

    image = keras.Input((8, 8, 3))
    x = Probit(name="probit_of_pixels")(Spectrum(name="spectrum")(image))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(x))
    row = keras_inception.export(model, tmp_path, preprocessing="unit", quantize=["float32"])["variants"]["float32"]
    assert row.keys() == {"refused", "steps"}
    assert row["refused"] == (
        "TFLite has no counterpart of tf.FFT2D (layer spectrum), tf.Erfinv (layer probit_of_pixels)"
    )


SCOPES = {"net_1/net_1/odd_1": "odd"}
AT = 'fused["X:", "net_1/net_1/odd_1/X@__inference_<lambda>_4"] at fused["Call:", "Call"]'


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (
            [f"<unknown>:0: error: loc(callsite({AT})): failed to legalize operation 'tf.X' that was marked illegal"],
            "TFLite has no counterpart of tf.X (layer odd)",
        ),
        (
            [
                f"loc(callsite({AT})): error: 'tfl.conv_2d' op operand #0 must be tensor, but got 'bf16'",
                "ConverterError: .",
            ],
            "the converter failed: 'tfl.conv_2d' op operand #0 must be tensor, but got 'bf16' (layer odd)",
        ),
        (
            ["<unknown>:0: error: loc(\"other/Y@__inference_4\"): 'tf.Y' op is neither a custom op nor a flex op"],
            "TFLite has no counterpart of tf.Y (other/Y)",
        ),
        (
            ["INTERNAL: CUDA error: Failed call to cuInit", "error: failed while converting: 'main': ", "Fatal: 7"],
            "it ended with exit code 1",
        ),
        (
            ["a", "ValueError: " + 400 * "long" + "end", "  more"],
            "the converter failed: ValueError: " + 400 * "long" + "end",
        ),
        (["Segmentation fault"], "it ended with exit code 1"),
    ],
)
def test_the_cause_of_a_failure_is_found_in_the_output(printed, expected):
    dump = ['"func.func"() ({', '  %0 = "tf.X"(%arg0) : (tensor<1xf32>) -> tensor<1xf32>', "}) : () -> ()"]
    output = "\n".join(["I0000 Could not find cuda drivers", *printed, *dump])
    assert cause(ChildError("it ended with exit code 1", output), SCOPES) == expected


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
