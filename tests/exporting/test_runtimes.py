"""Old runtimes: what each variant needs, and how an export gets there."""

import numpy as np
import pytest
from networks import with_drawn_weights

import keras_inception
from keras_inception import registry
from keras_inception.exporting import exporter
from keras_inception.exporting.convert import convert
from keras_inception.exporting.rewrites import for_variants
from keras_inception.exporting.signature import deployed, save
from keras_inception.exporting.variants import BY_CHANNEL, DENSE_BY_LAYER, VARIANTS
from keras_inception.models.inference import inference_model
from keras_inception.preprocessing import DEFAULT
from keras_inception.tflite.runtimes import oldest_runtime

FLOAT16, DYNAMIC, INT8 = "1.15.0", "2.4.0", "1.14.0"


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "options", "float32"),
    [
        ("googlenet", {"normalization": "lrn"}, "1.12.0"),
        ("googlenet", {"normalization": "batch_norm"}, "1.6.0"),
        ("inception_v3", {}, "1.6.0"),
    ],
)
def test_no_variant_of_the_inception_networks_needs_a_new_runtime(name, options, float32, tmp_path):
    side = 75 if name == "inception_v3" else 64
    network = registry.create(name, classes=1000, input_shape=(side, side, 3), **options)
    model = inference_model(with_drawn_weights(network))
    preprocessing = DEFAULT.replace(size=(side, side))
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (8, side, side, 3), np.uint8))
    found = {}
    for variant, rewritten in for_variants(model, list(VARIANTS.values()), None).items():
        path, calibration = tmp_path / f"{variant}.tflite", tmp_path / "images.npy"
        expected = VARIANTS[variant].input(preprocessing)
        save(deployed(rewritten, preprocessing, expected), tmp_path / variant)
        convert(tmp_path / variant, VARIANTS[variant], path, calibration, expected)
        found[variant] = oldest_runtime(path).version
    assert found == {"float32": float32, "float16": FLOAT16, "dynamic": DYNAMIC, "int8": INT8}


@pytest.fixture
def made(run, tmp_path):
    def export(**options):
        report = keras_inception.export(run, tmp_path / "exported", name="net", clients=(), overwrite=True, **options)
        assert {f"net_{name}.tflite" for name in report["variants"] if name not in report.refused} == {
            path.name for path in (tmp_path / "exported").glob("*.tflite")
        }
        return report

    return export


def test_a_file_is_made_anew_for_an_older_runtime(made, tmp_path):
    """The dense layer of this network is too small to be quantized, so that its convolutions decide."""
    row = made(quantize=["dynamic"])["variants"]["dynamic"]
    assert row["runtime"] == {"version": DYNAMIC, "operation": "CONV_2D", "operation_version": 5}
    card = (tmp_path / "exported" / "README.md").read_text(encoding="utf-8")
    assert f"dynamic needs TensorFlow Lite {DYNAMIC} (CONV_2D version 5)." in card
    row = made(quantize=["dynamic"], runtime="2.3")["variants"]["dynamic"]
    assert row["runtime"]["version"] < DYNAMIC
    assert row["agreement"] >= 0.95


def test_what_no_old_runtime_takes_is_refused_with_the_operation(made):
    report = made(quantize=["float32", "float16"], runtime="1.14")
    assert report["variants"]["float32"]["path"] == "net_float32.tflite"
    reason = report.refused["float16"]
    assert "it needs TensorFlow Lite 1.15.0 (DEQUANTIZE version 3), and `runtime` (--runtime) is 1.14" in reason


def test_scales_of_each_channel_come_back_where_a_single_scale_fails(made, monkeypatch):
    """Where one scale for a dense layer is not accurate enough, the file is as the converter makes it by default."""
    verify, seen = exporter.verify, []

    def strict(path, variant, *arguments, **options):
        row = verify(path, variant, *arguments, **options)
        seen.append(variant.weight_scales[0])
        return {**row, "refused": "it is not accurate"} if variant.weight_scales[0] != BY_CHANNEL else row

    monkeypatch.setattr(exporter, "verify", strict)
    report = made(quantize=["dynamic"])
    assert seen == [DENSE_BY_LAYER, BY_CHANNEL]
    assert not report.refused


def test_the_first_reason_is_reported_if_no_scales_are_accepted(made, monkeypatch):
    verify = exporter.verify

    def refused(path, variant, *arguments, **options):
        return {**verify(path, variant, *arguments, **options), "refused": f"no: {variant.weight_scales[0]}"}

    monkeypatch.setattr(exporter, "verify", refused)
    assert made(quantize=["dynamic"]).refused == {"dynamic": f"no: {DENSE_BY_LAYER}"}
