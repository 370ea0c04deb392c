"""The GPU as a client: fake drivers in every environment, Vulkan in software where it is set up."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from colours import LABELS, color_images
from networks import with_drawn_weights

import keras_inception
from keras_inception import registry
from keras_inception.exporting.clients import examine, litert_gpu
from keras_inception.exporting.convert import convert
from keras_inception.exporting.half_precision import remark
from keras_inception.exporting.rewrites import rewrite
from keras_inception.exporting.signature import deployed, save
from keras_inception.exporting.variants import VARIANTS
from keras_inception.preprocessing import DEFAULT
from keras_inception.tflite import compiled, metadata
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.utils import files
from keras_inception.utils.subprocesses import ChildError

FLOATS = ("float32", "float16", "dynamic")
# A process whose GPU gives the interpreter's scores, and in half precision others.
GPU = """
import numpy as np
from keras_inception.tflite.session import Session
from keras_inception.tflite.classifier import interpreter
from keras_inception.utils import files
from keras_inception.utils.subprocesses import answer

def main(job):
    values = np.load(job["images"])
    scores = np.stack([row.reshape(-1) for row in Session(interpreter(job["model"])).run(values)])
    files.write_json(job["about"], {"device": "GPU of a test", "whole": False, "outside": ["MEAN: for a test"]})
    np.save(job["scores"], np.stack([scores, scores + np.float32(0.25)]))

answer(main)
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Return a function that puts Python code in place of the process that uses the driver."""

    def driver(code: str) -> None:
        (tmp_path / "fake_driver.py").write_text(code, encoding="utf-8")
        known = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
        monkeypatch.setenv("PYTHONPATH", known)
        monkeypatch.setattr(litert_gpu, "CHILD", "fake_driver")
        monkeypatch.setattr(litert_gpu, "missing_driver", lambda: None)

    return driver


def exported_on_gpu(run, folder, *variants):
    return keras_inception.export(run, folder, name="net", quantize=variants, clients=["litert-gpu"])


def test_half_precision_of_a_gpu_is_reported_and_refuses_no_file(run, driver, tmp_path):
    driver(GPU)
    report = exported_on_gpu(run, tmp_path / "exported", "float32")
    row = report.variants["float32"]
    assert (tmp_path / "exported" / row["path"]).is_file()
    found = files.read_json(tmp_path / "exported" / "report.json")["variants"]["float32"]["gpu"]
    assert found == row["clients"]["litert-gpu"] == row["gpu"]
    assert (found["device"], found["whole"], found["outside"]) == ("GPU of a test", False, ["MEAN: for a test"])
    assert found["max_difference"] <= found["tolerance"]
    assert found["half_precision"]["max_difference"] == pytest.approx(0.25)
    card = (tmp_path / "exported" / "README.md").read_text(encoding="utf-8")
    assert "all but 1 kind of operations" in card
    assert 'The column "on a GPU" was tried on GPU of a test, which is not the GPU of a phone.' in card


def test_without_the_client_nothing_is_said_of_a_gpu(exported):
    rows = files.read_json(exported[0] / "report.json")["variants"]
    assert [row["gpu"] for row in rows.values()] == [None] * len(VARIANTS)
    assert "on a GPU" not in (exported[0] / "README.md").read_text(encoding="utf-8").split("\n## ")[1]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.abort()", "ended with SIGABRT"),
        ("import ctypes; ctypes.string_at(1)", "ended with SIGSEGV"),
        ("import time; time.sleep(600)", "took longer than 1 s"),
        ("import sys; sys.exit('RuntimeError: no memory for the buffer')", "no memory for the buffer"),
    ],
)
def test_a_driver_that_crashes_or_hangs_is_a_clear_line_and_leaves_no_file(
    run, driver, monkeypatch, tmp_path, code, reason
):
    driver(code)
    monkeypatch.setattr(litert_gpu, "SECONDS", 1.0 if "sleep" in code else 60.0)
    report = exported_on_gpu(run, tmp_path / "exported", "float32")
    (refused,) = report.refused.values()
    assert refused.startswith("litert-gpu does not accept it: ")
    assert reason in refused
    assert "\n" not in refused
    assert not [path for path in (tmp_path / "exported").rglob("*") if "tflite" in path.name]
    assert report.variants["float32"]["gpu"]["reason"] in refused


def test_a_gpu_that_is_not_there_is_asked_for_in_vain(run, monkeypatch, tmp_path):
    monkeypatch.setattr(litert_gpu, "missing_driver", lambda: compiled.MISSING)
    with pytest.raises(ValueError, match=r"Received: 'litert-gpu', but it needs .* Debian's package chromium"):
        exported_on_gpu(run, tmp_path / "exported", "float32")
    assert not (tmp_path / "exported").exists()


def test_a_driver_is_looked_for_on_linux(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled.sys, "platform", "linux")
    monkeypatch.setattr(compiled, "_load_vulkan", lambda: True)
    monkeypatch.setattr(compiled, "GPUS", ())
    monkeypatch.setattr(compiled, "CHROMIUM", tmp_path)
    for name in compiled.DRIVERS:
        monkeypatch.delenv(name, raising=False)
    assert compiled.missing_driver() == compiled.MISSING
    (tmp_path / compiled.DRIVER).touch()
    assert compiled.missing_driver() is None
    monkeypatch.setattr(compiled, "_load_vulkan", lambda: False)
    assert compiled.missing_driver() == compiled.MISSING
    monkeypatch.setattr(compiled.sys, "platform", "darwin")
    assert compiled.missing_driver() is None


@pytest.mark.parametrize(
    ("largest", "said"),
    [(1000.0, "within the range in which GPUs compute"), (50000.0, "ask for float32 there"), (None, "ask for float32")],
)
def test_the_range_of_half_precision_is_a_warning_for_gpus_too(largest, said):
    row = {"allowed": False, "reason": "it is a test", "largest_sum": largest, "layer": "conv"}
    assert said in remark(row)


# The smallest size of each network, except where TILE would repeat smaller maps for a dense layer.
SIDES = {name: 75 if network.size == 299 else 64 for name, network in registry.NETWORKS.items()}
SIDES |= dict.fromkeys(("alexnet", "vgg16", "vgg19"), 224)
OTHERS = {"MobileNetV2": 64, "EfficientNetB0": 64, "DenseNet121": 64}


@pytest.fixture(scope="module", params=[*registry.NETWORKS, "googlenet with batch norm", *OTHERS])
def converted(request, tmp_path_factory) -> dict[str, Path]:
    """The files of a network by variant."""
    folder = tmp_path_factory.mktemp("converted")
    name, _, normalized = request.param.partition(" ")
    if name in OTHERS:
        model = getattr(keras.applications, name)(weights=None, input_shape=(OTHERS[name],) * 2 + (3,), classes=5)
    else:
        options = {"normalization": "batch_norm"} if normalized else {}
        model = registry.create(name, classes=5, input_shape=(SIDES[name], SIDES[name], 3), **options)
    model = rewrite(with_drawn_weights(model))
    preprocessing = DEFAULT.replace(size=model.input_shape[1:3])
    save(deployed(model, preprocessing, preprocessing), folder / "model")
    images = folder / "images.npy"
    np.save(images, np.random.default_rng(0).integers(0, 256, (8, *model.input_shape[1:]), np.uint8))
    files.write_labels(folder / "labels.txt", list("abcde"))
    about = metadata.About(name="x", version="1", description="", author="", license="")
    for variant in VARIANTS:
        convert(folder / "model", VARIANTS[variant], folder / f"{variant}.tflite", images, preprocessing)
        metadata.write(folder / f"{variant}.tflite", about, preprocessing, folder / "labels.txt")
    return {variant: folder / f"{variant}.tflite" for variant in VARIANTS}


@pytest.mark.clients
def test_a_gpu_takes_every_network_whole_and_gives_the_interpreters_scores(converted, record_property):
    for variant, path in converted.items():
        classifier = TFLiteClassifier(path)
        images = np.random.default_rng(1).integers(0, 256, (2, *classifier.size, 3), np.uint8)
        expected = classifier.predict(images)
        scores, about = examine("litert-gpu", path, images, classifier.classes)
        difference = float(np.abs(scores - expected).max())
        record_property(variant, json.dumps({**about, "max_difference": difference}))
        print(variant, about, difference)
        if variant in FLOATS:
            assert about["whole"], about["outside"]
            assert difference <= (0.05 if variant == "dynamic" else 1e-4)


@pytest.mark.clients
def test_a_gpu_tells_images_apart(exported):
    images, _ = color_images(17, seed=9)
    for variant in FLOATS:
        path = exported[0] / f"colours_{variant}.tflite"
        expected = TFLiteClassifier(path).predict(images[:4])
        scores = litert_gpu.scores(path, images[:4], len(LABELS))
        assert np.abs(scores - expected).max() <= VARIANTS[variant].client_tolerance
        assert np.abs(scores[::-1] - expected).max() > VARIANTS[variant].client_tolerance


@pytest.mark.clients
@pytest.mark.parametrize("kind", ["hangs", "crashes", "is missing"])
def test_real_drivers_that_are_broken_are_a_clear_line(exported, monkeypatch, tmp_path, kind):
    library = tmp_path / "libvulkan_driver.so"
    if kind == "hangs":
        os.mkfifo(library)  # opening it waits for a writer
    elif kind == "crashes":
        whole = (compiled.CHROMIUM / "libvk_swiftshader.so").read_bytes()
        library.write_bytes(whole[:8192])  # its pages are mapped, and not in the file
    driver = {"file_format_version": "1.0.0", "ICD": {"library_path": str(library), "api_version": "1.1.0"}}
    (tmp_path / "driver.json").write_text(json.dumps(driver))
    monkeypatch.setenv(compiled.DRIVERS[0], str(tmp_path / "driver.json"))
    monkeypatch.setattr(litert_gpu, "SECONDS", 20.0)
    images, _ = color_images(1, seed=9)
    with pytest.raises(ChildError) as raised:
        litert_gpu.scores(exported[0] / "colours_float32.tflite", images[:1], len(LABELS))
    expected = {"hangs": "took longer than 20 s", "crashes": "ended with SIG", "is missing": "LiteRT finds no GPU here"}
    assert expected[kind] in raised.value.last_line
