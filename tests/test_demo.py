"""Tests of the demo: all steps on fewer and smaller images; the real demo runs with `make soak`."""

import functools
import json
from pathlib import Path

import pytest
from PIL import Image

import keras_inception
from keras_inception import datasets, demo, training
from keras_inception.exporting.variants import VARIANTS
from keras_inception.runs import Run


@pytest.fixture
def quick(pictures, monkeypatch):
    """Run the demo on the colored images, with a network that learns them in seconds."""
    recipe = training.RECIPES["small"].replace(
        network="network_in_network",
        options={"form": "cifar"},
        size=32,
        training_size=0,
        learning_rate=1e-3,
        epochs=8,
        batch_size=8,
        ema=0.5,
        precision="float32",
    )
    monkeypatch.setitem(training.RECIPES, "small", recipe)
    monkeypatch.setattr(datasets, "pictograms", lambda directory: pictures)


@pytest.mark.parametrize("variants", [("float32",), pytest.param(tuple(VARIANTS), marks=pytest.mark.full)])
def test_every_step(variants, quick, tmp_path, monkeypatch):
    monkeypatch.setattr(keras_inception, "export", functools.partial(keras_inception.export, quantize=variants))
    said = []
    report = demo.run(tmp_path, minutes=30, say=said.append)
    assert report == json.loads((tmp_path / "report.json").read_text())
    assert set(report["variants"]) == set(variants)
    assert {"top1", "top5", "seconds"} <= set(report)
    for row in report["variants"].values():
        assert Path(row["path"]).is_file()
        assert {"mb", "top1", "agreement", "latency_ms", "outside_delegate"} <= set(row)
    assert Run(tmp_path / "run").labels == ("blue", "green", "red")
    with Image.open(tmp_path / "predictions.png") as picture:
        assert picture.width > 600
    assert any("predictions.png" in line for line in said)

    # A second call resumes the run.
    exported = []
    monkeypatch.setattr(keras_inception, "export", lambda *args, **options: exported.append(options) or report)
    before = (tmp_path / "run" / "model.keras").read_bytes()
    demo.run(tmp_path, minutes=30, say=said.append)
    assert exported[0]["overwrite"]
    assert (tmp_path / "run" / "model.keras").read_bytes() == before


@pytest.mark.slow
def test_the_real_demo_reaches_half(tmp_path):
    report = demo.run(tmp_path)
    assert report["top1"] >= 0.5
    assert report["seconds"] < 15 * 60
    for variant, row in report["variants"].items():
        assert row["agreement"] >= least_agreement(variant)


def least_agreement(variant: str) -> float:
    return 0.99 if variant.startswith("float") else 0.95
