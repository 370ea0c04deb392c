"""Half precision on an ARM processor, which adds in it too, under qemu. Run by `make test-arm64`."""

import keras
import numpy as np
import pytest
from arm64 import MOST_HALF, compared
from exports import noise
from networks import overflowing
from trained import TRAININGS, trained

import keras_inception
from keras_inception import LocalResponseNormalization
from keras_inception.exporting import half_precision
from keras_inception.exporting.clients import arm64_userland
from keras_inception.exporting.clients.arm64 import SCRIPT
from keras_inception.exporting.half_precision import ENTRY, FP16, Sum, allow, native, trial
from keras_inception.exporting.rewrites import lrn_for_half_precision
from keras_inception.exporting.verify import Reference, agreement
from keras_inception.preprocessing import Preprocessing
from keras_inception.tflite.model_entries import entry

pytestmark = pytest.mark.arm64


@pytest.fixture(scope="module", params=TRAININGS)
def exported(request, tmp_path_factory):
    """A trained network's float16 and float32 file, and their reports."""
    arm64_userland.userland()
    run, files = trained(request.param), {}
    for variant, clients in (("float16", ["arm64"]), ("float32", ())):
        folder = tmp_path_factory.mktemp(request.param)
        report = keras_inception.export(run, folder, name="net", quantize=[variant], clients=clients)
        files[variant] = folder / f"net_{variant}.tflite", report
    return files


def test_a_trained_network_is_proven(exported):
    path, report = exported["float16"]
    assert report["top1"] > 0.2, "of 19 classes: it has been trained"
    found = report["variants"]["float16"]["half_precision"]
    assert found["allowed"], found["reason"]
    assert entry(path.read_bytes(), ENTRY) == FP16
    assert found["arm64"]["images"] == 20
    assert found["arm64"]["agreement"] == 1
    assert 0 < found["arm64"]["max_difference"] <= 0.02
    assert "It is proven on an emulated ARM processor" in path.with_name("README.md").read_text("utf-8")


def test_half_precision_takes_little_more_than_half_the_instructions(exported):
    counts = {}
    for variant, (path, _) in exported.items():
        counts[variant] = compared(arm64_userland.userland(), path, noise((96, 96), 2))["instructions"]
    assert round(counts["float16"] / counts["float32"], 2) <= MOST_HALF


def written(model, path):
    """Write a float32 file of a model, in which half precision is allowed."""
    import tensorflow as tf

    model.export(path.with_suffix(""), verbose=False)
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(path.with_suffix(""))).convert())
    allow(path)
    return path


def on_arm(path, values):
    """Return a file's outputs on ARM."""
    inputs, outputs = path.with_suffix(".npy"), path.with_suffix(".npz")
    np.save(inputs, values)
    job = {"model": str(path), "values": str(inputs), "outputs": str(outputs), "threads": 1}
    arm64_userland.run(arm64_userland.userland(), SCRIPT, job)
    with np.load(outputs) as found:
        return found["scores"]


@pytest.mark.parametrize("largest", [100, 300, 900])
def test_lrn_holds_after_its_rewrite(largest, tmp_path):
    image = keras.Input((4, 4, 32), batch_size=1)
    model = keras.Model(image, LocalResponseNormalization(name="norm")(image))
    x = np.random.default_rng(0).uniform(0, largest, (2, 4, 4, 32)).astype(np.float32)
    expected = np.concatenate([model(each[None]) for each in x])
    rewritten = on_arm(written(lrn_for_half_precision(model), tmp_path / "rewritten.tflite"), x)
    np.testing.assert_allclose(rewritten, expected, rtol=0.01)
    as_it_was = on_arm(written(model, tmp_path / "plain.tflite"), x)
    assert not np.allclose(as_it_was, expected, rtol=0.01), "alpha is flushed to zero"


@pytest.fixture
def overflow(tmp_path):
    """Arguments of `trial` for a convolution whose partial sums overflow, although its results are 7 and -7."""
    model = overflowing()
    path = written(model, tmp_path / "net.tflite")
    values = np.full((3, 4, 4, 3), 255, np.uint8)
    reference = Reference(values, np.concatenate([model(each[None].astype("float32")) for each in values]), None)
    return path, model, Preprocessing(size=(4, 4), mean=(0, 0, 0), std=(1, 1, 1)), reference


def test_a_convolution_whose_partial_sums_overflow_is_refused(overflow):
    row = trial(*overflow, 0.99, on_arm=True)
    assert row["reason"] == "sums in sums reach 229,507, more than 16,376"
    assert row["arm64"] is None


def test_a_convolution_whose_partial_sums_overflow_would_be_wrong(overflow, monkeypatch):
    path, _, preprocessing, reference = overflow
    found = native(path, preprocessing, *reference[:2], agreement)
    assert found["max_difference"] is None or found["max_difference"] > 0.4
    monkeypatch.setattr(half_precision, "largest_sum", lambda *_: Sum("sums", 7.0))
    row = trial(*overflow, 0.99, on_arm=True)
    assert row["agreement"] == 1, "x86 adds in float32"
    assert not row["allowed"]
    assert row["reason"].startswith("on ARM its probabilities ")
