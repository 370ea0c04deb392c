"""Variants: one object each, and the targets that adapt them."""

import dataclasses

import numpy as np
import pytest

import keras_inception
from keras_inception.exporting.rewrites import REWRITES
from keras_inception.exporting.targets import DEFAULT, LITERT_SAMPLE, Target
from keras_inception.exporting.variants import VARIANTS
from keras_inception.page import npm
from keras_inception.page import site as page
from keras_inception.preprocessing import NAMED
from keras_inception.utils import files


def test_variants_are_listed_by_name():
    assert list(VARIANTS) == ["float32", "float16", "dynamic", "int8"]
    assert all(variant.name == name for name, variant in VARIANTS.items())


def test_every_rewrite_of_a_variant_exists_and_every_rewrite_has_a_variant():
    assert {name for variant in VARIANTS.values() for name in variant.rewrites} == set(REWRITES)


@pytest.mark.versions
def test_adding_a_variant_takes_one_place(run, tmp_path, monkeypatch):
    """Another variant is exported, verified, described, shown on the page and removed like those of the package."""
    half = dataclasses.replace(VARIANTS["float16"], name="half", about="Half-size weights.")
    monkeypatch.setitem(VARIANTS, "half", half)
    folder = tmp_path / "exported"
    report = keras_inception.export(run, folder, name="net", quantize=["half"])
    row = report["variants"]["half"]
    assert row["path"] == "net_half.tflite"
    assert row["max_difference"] < 1e-2
    assert (folder / "net_half.tflite").stat().st_size / 1e6 == row["mb"]
    assert "- half: Half-size weights." in (folder / "README.md").read_text(encoding="utf-8")
    assert "half" in files.read_json(folder / "sample.json")["pictures"][0]["top5"]
    monkeypatch.setattr(npm, "packages", lambda: tmp_path)
    monkeypatch.setattr(page, "PACKAGES", {})
    monkeypatch.setattr(page, "_copy_engines", lambda packages, site: None)
    assert list(page.page(folder, tmp_path / "site")["variants"]) == ["half"]
    with pytest.raises(FileExistsError, match="net_half"):
        keras_inception.export(run, folder, name="net", quantize=["half"])


def test_clients_may_part_more_the_deeper_a_network_is():
    shallow, deep = ({name: each.tolerance(operations) for name, each in VARIANTS.items()} for operations in (3, 246))
    assert shallow == {name: variant.client_tolerance for name, variant in VARIANTS.items()}
    assert deep == pytest.approx({"float32": 6e-5, "float16": 6e-5, "dynamic": 0.061, "int8": 3.9 / 256}, rel=0.02)
    assert VARIANTS["int8"].tolerance(1) > 1 / 256, "a step of a uint8 output"


class Converter:
    """A stand-in for the converter that records its settings."""

    def __init__(self):
        self.optimizations = []
        self.target_spec = type("TargetSpec", (), {"supported_types": []})()
        self.inference_input_type = self.inference_output_type = None


def test_each_variant_configures_the_converter():
    import tensorflow as tf

    found = {}
    for name, variant in VARIANTS.items():
        converter = Converter()
        variant.configure(converter)
        assert converter.inference_input_type is converter.inference_output_type
        found[name] = (
            bool(converter.optimizations),
            converter.target_spec.supported_types,
            converter.inference_input_type,
        )
    assert found == {
        "float32": (False, [], tf.float32),
        "float16": (True, [tf.float16], tf.float32),
        "dynamic": (True, [], tf.float32),
        "int8": (True, [], tf.uint8),
    }


def test_the_default_target_changes_nothing():
    caffe = NAMED["caffe"]
    assert DEFAULT.preprocessing(caffe) is caffe
    assert all(DEFAULT.adapt(variant) is variant for variant in VARIANTS.values())
    assert DEFAULT.input_note(VARIANTS.values()) == "uint8 (int8 files): the raw pixels."
    assert not DEFAULT.input_note([VARIANTS["float32"]])


def test_a_target_changes_the_types_of_calibrated_variants_only():
    target = Target("int8", "float32")
    assert target.option == " --int8-input int8 --int8-output float32"
    adapted = {name: target.adapt(variant) for name, variant in VARIANTS.items()}
    assert all(adapted[name] is VARIANTS[name] for name in ("float32", "float16", "dynamic"))
    assert (adapted["int8"].input_type, adapted["int8"].output_type) == ("int8", "float32")
    assert target.input_note(adapted.values()) == "int8 (int8 files): the raw pixels minus 128."
    assert not target.output_note(adapted.values())
    assert DEFAULT.output_note(VARIANTS.values()).startswith("uint8 (int8 files): in steps of 1/256; ")


def test_an_int8_input_is_described_so_that_clients_get_raw_pixels_minus_128():
    variant, quantization = Target("int8").adapt(VARIANTS["int8"]), (1 / 127.5, -1)
    described = variant.described_input(NAMED["unit"], quantization)
    assert (described.mean, described.std) == ((127.0,) * 3, (pytest.approx(127.5),) * 3)
    assert VARIANTS["int8"].described_input(NAMED["unit"], (1 / 127.5, 127)) is NAMED["unit"]


def test_the_litert_sample_takes_float_input_in_every_variant():
    preprocessing = LITERT_SAMPLE.preprocessing(NAMED["caffe"])
    white = preprocessing.normalize(np.full((1, 1, 3), 255, np.uint8))
    assert (preprocessing.size, preprocessing.channels, white.max()) == ((224, 224), "RGB", 1)
    for variant in VARIANTS.values():
        adapted = LITERT_SAMPLE.adapt(variant)
        assert (adapted.input_type, adapted.output_type) == ("float32", "float32")
        assert adapted.calibrated == variant.calibrated
        assert adapted.input(preprocessing) == preprocessing
