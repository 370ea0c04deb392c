"""Half precision is allowed only where sums and coefficients stay in range and the answers stay."""

import keras
import numpy as np
import pytest
from networks import overflowing, with_drawn_weights

import keras_inception
from keras_inception import LocalResponseNormalization, registry
from keras_inception.exporting import half_precision
from keras_inception.exporting.clients import arm64
from keras_inception.exporting.half_precision import ENTRY, FP16, HalfPrecisionError, largest_sum
from keras_inception.exporting.rewrites import lrn_for_half_precision
from keras_inception.exporting.verify import Reference
from keras_inception.preprocessing import Preprocessing
from keras_inception.tflite.model_entries import entry
from keras_inception.utils import files
from keras_inception.utils.subprocesses import ChildError

WIDER = b"fp16accfp32"  # what the converter writes into float16 files: products in half precision, sums in float32


@pytest.fixture
def allowed(run, tmp_path):
    """Export the tiny classifier to float16, and return its row of the report and the entry in the file."""

    def export(**options):
        options = {"quantize": ["float16"], "clients": (), "overwrite": True, **options}
        report = keras_inception.export(run, tmp_path / "exported", name="net", **options)
        content = (tmp_path / "exported" / "net_float16.tflite").read_bytes()
        return report["variants"]["float16"], entry(content, ENTRY)

    return export


def test_a_file_whose_answers_stay_is_allowed_half_precision(allowed, tmp_path):
    row, written = allowed()
    assert written == FP16
    found = row["half_precision"]
    assert found["allowed"]
    assert found["reason"] is None
    assert found["agreement"] >= 0.99
    assert 0 < found["max_difference"] < 0.02
    assert 0 < found["largest_sum"] < half_precision.LARGEST
    card = (tmp_path / "exported" / "README.md").read_text(encoding="utf-8")
    assert f"in {found['layer']}, and in forced half precision it agrees" in card
    assert found["arm64"] is None
    assert "adds in float32; on ARM it was not run." in card
    assert files.read_json(tmp_path / "exported" / "report.json")["variants"]["float16"]["half_precision"] == found


def test_the_entry_can_be_left_out(allowed, tmp_path):
    row, written = allowed(half_precision=False)
    assert "half_precision" not in row
    assert written == WIDER
    card = (tmp_path / "exported" / "README.md").read_text(encoding="utf-8")
    assert "float16: phones compute it in float32, since half precision was not tried." in card


def test_answers_that_change_are_not_allowed(allowed, monkeypatch, tmp_path):
    predict = half_precision.predict
    monkeypatch.setattr(half_precision, "predict", lambda *arguments: predict(*arguments)[:, ::-1])
    row, written = allowed()
    assert written == WIDER
    assert row["half_precision"]["reason"].startswith("it agrees with Keras on ")
    assert "phones compute it in float32, since it agrees" in (tmp_path / "exported" / "README.md").read_text("utf-8")
    assert "refused" not in row


@pytest.fixture
def arm(monkeypatch):
    """Return a function that puts other probabilities in place of those of the emulated ARM."""

    def put(change):
        def predict(classifier, images):
            natively.append(entry(classifier.path.read_bytes(), ENTRY) == FP16)
            return change(classifier.predict(images))

        natively: list[bool] = []
        monkeypatch.setattr(arm64, "unavailable", lambda: None)
        monkeypatch.setattr(arm64, "predict", predict)
        return natively

    return put


def test_a_file_whose_answers_stay_on_arm_is_proven(allowed, arm, tmp_path):
    natively = arm(lambda scores: scores + 0.01)
    row, written = allowed(clients=["arm64"])
    assert natively == [True], "it is run once, in half precision"
    assert written == FP16
    same = {"agreement": 1, "max_difference": pytest.approx(0.01, rel=1e-3), "tolerance": 0.02}
    assert row["half_precision"]["arm64"] == {"images": 20, **same}
    assert row["clients"]["arm64"] == same
    card = (tmp_path / "exported" / "README.md").read_text("utf-8")
    assert "It is proven on an emulated ARM processor (Neoverse N1)" in card
    assert "it agrees with Keras on 100.0% of 20 images, and its probabilities part from those in float32 by" in card


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda scores: scores[:, ::-1], "on ARM it agrees with Keras on "),
        (lambda scores: scores + 0.03, "on ARM its probabilities part by up to 0.03 in half precision, more than 0.02"),
        (lambda scores: scores * np.nan, "on ARM its probabilities are no numbers in half precision"),
    ],
)
def test_a_file_whose_answers_change_on_arm_is_left_in_float32(allowed, arm, change, reason, tmp_path):
    def in_half_precision(scores):
        return change(scores) if natively[-1] else scores

    natively = arm(in_half_precision)
    row, written = allowed(clients=["arm64"])
    assert natively == [True, False], "then it is run in float32"
    assert written == WIDER
    assert row["half_precision"]["reason"].startswith(reason)
    assert not row["half_precision"]["allowed"]
    assert row["clients"]["arm64"]["max_difference"] == 0
    assert "refused" not in row
    assert f"phones compute it in float32, since {reason}" in (tmp_path / "exported" / "README.md").read_text("utf-8")
    assert "NaN" not in (tmp_path / "exported" / "report.json").read_text("utf-8")


def test_an_emulation_that_fails_is_no_proof(run, monkeypatch, tmp_path):
    def fail(*_):
        raise ChildError("the emulated ARM ended with exit code 1: no memory")

    monkeypatch.setattr(arm64, "unavailable", lambda: None)
    monkeypatch.setattr(arm64, "predict", fail)
    report = keras_inception.export(run, tmp_path / "exported", quantize=["float16"], clients=["arm64"])
    row = report["variants"]["float16"]
    assert row["half_precision"]["reason"] == "the emulated ARM ended with exit code 1: no memory"
    assert row["refused"].startswith("arm64 does not accept it: the emulated ARM ended with exit code 1: no memory")
    assert not list((tmp_path / "exported").glob("*.tflite"))


def converted(model, path, values):
    """Write a float32 file of a model, and return what `trial` says of it."""
    import tensorflow as tf

    model.export(path.with_suffix(""), verbose=False)
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(path.with_suffix(""))).convert())
    raw = Preprocessing(size=model.input_shape[1:3], mean=(0, 0, 0), std=(1, 1, 1))
    reference = Reference(values, np.asarray(model(values.astype("float32"))), None)
    return half_precision.trial(path, model, raw, reference, 0.99)


def test_a_convolution_whose_partial_sums_overflow_is_refused(tmp_path):
    """Its result is 7, but on the way there are sums above 65,504, which half precision cannot hold."""
    row = converted(overflowing(), tmp_path / "net.tflite", np.full((3, 4, 4, 3), 255, np.uint8))
    assert not row["allowed"]
    assert row["layer"] == "sums"
    assert row["largest_sum"] == 300 * 3 * 255 + 7
    assert row["reason"] == "sums in sums reach 229,507, more than 16,376"
    assert entry((tmp_path / "net.tflite").read_bytes(), ENTRY) == b""


def test_an_alpha_that_is_flushed_to_zero_is_refused(tmp_path):
    def classifier(scale):
        image = keras.Input((4, 4, 3), batch_size=1)
        x = LocalResponseNormalization(input_scale=scale, name="norm")(image)
        return keras.Model(image, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(x)))

    values = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 3), np.uint8)
    row = converted(classifier(1.0), tmp_path / "plain.tflite", values)
    assert row["reason"].endswith("2.0e-05, is flushed to zero")
    assert converted(classifier(2**-5), tmp_path / "scaled.tflite", values)["allowed"]


def test_the_largest_sum_is_that_of_absolute_products():
    image = keras.Input((2, 2, 3))
    x = keras.layers.GlobalAveragePooling2D(name="average")(image)
    dense = keras.layers.Dense(2, name="dense")
    model = keras.Model(image, dense(x))
    dense.set_weights([np.array([[10, 0], [-10, 0], [0, 1]], "float32"), np.array([-5, 0], "float32")])
    x = np.ones((1, 2, 2, 3), np.float32) * [2, 3, 4]
    assert largest_sum(model, x) == ("dense", 10 * 2 + 10 * 3 + 5)
    dense.set_weights([np.zeros((3, 2), "float32"), np.zeros(2, "float32")])
    assert largest_sum(model, -x) == ("average", 4 * 4)


def test_a_layer_whose_sums_are_not_known_is_refused():
    image = keras.Input((2, 2, 3))
    model = keras.Model(image, keras.layers.LayerNormalization(name="odd")(image))
    with pytest.raises(HalfPrecisionError, match="the sums of odd, a LayerNormalization, are not known"):
        largest_sum(model, np.ones((1, 2, 2, 3), np.float32))


@pytest.mark.full
@pytest.mark.parametrize("name", registry.NETWORKS)
def test_the_sums_of_every_network_are_known(name):
    side = {299: 75}.get(registry.NETWORKS[name].size, 64)
    side = 224 if name in ("alexnet", "vgg16", "vgg19") else side
    model = with_drawn_weights(registry.create(name, classes=4, input_shape=(side, side, 3)))
    reached = largest_sum(lrn_for_half_precision(model), np.ones((1, side, side, 3), np.float32))
    assert np.isfinite(reached.largest)
