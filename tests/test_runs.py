"""Run directories and `load`."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from keras_inception import LocalResponseNormalization, Preprocessing, load
from keras_inception.runs import DATA, LABELS, METRICS, MODEL, PREPROCESSING, RECIPE, Run
from keras_inception.utils import files

IMAGES = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)


@pytest.fixture
def model():
    inputs = keras.Input((8, 8, 3))
    x = LocalResponseNormalization(depth_radius=1, alpha=0.5)(layers.Conv2D(4, 3)(inputs))
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.Flatten()(x)))


@pytest.fixture
def run(tmp_path):
    """A run whose training has not finished an epoch."""
    files.write_labels(tmp_path / LABELS, ["cat", "dog"])
    Preprocessing(size=(8, 8)).save(tmp_path / PREPROCESSING)
    files.write_json(tmp_path / RECIPE, {})
    files.write_json(tmp_path / DATA, {"source": "pictures"})
    return Run(tmp_path)


def test_a_run_reads_what_training_wrote(run):
    assert run.labels == ("cat", "dog")
    assert run.preprocessing == Preprocessing(size=(8, 8))
    assert run.data == {"source": "pictures"}


def test_a_run_prints_its_network_and_its_best_epoch(run):
    files.write_json(run.path / RECIPE, {"network": "resnet34"})
    assert str(run) == f"{run.path}: resnet34, 2 classes, 0 epochs"
    rows = [{"epoch": 1, "val_top1": 0.5}, {"epoch": 2}, {"epoch": 3, "val_top1": 0.5}, {"epoch": 4, "val_top1": 0.25}]
    files.write_csv(run.path / METRICS, rows)
    assert str(run) == f"{run.path}: resnet34, 2 classes, 4 epochs, best val_top1 50.0% (epoch 3)"


def test_a_run_as_a_dictionary_survives_json(run):
    files.write_csv(run.path / METRICS, [{"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 2.0, "val_top1": 0.25}])
    report = run.to_dict()
    assert json.loads(json.dumps(report)) == report
    assert report["path"] == str(run.path)
    assert report["command"] == "train"
    assert report["labels"] == ["cat", "dog"]
    assert report["preprocessing"]["size"] == [8, 8]
    assert report["data"] == {"source": "pictures"}
    assert report["metrics"] == [{"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 2.0, "val_top1": 0.25}]


@pytest.mark.parametrize("damaged", ["epoch,loss\n1,abc\n", "loss\n1\n", "epoch,loss\n1,2,3\n"])
def test_damaged_metrics_of_a_run_are_named(run, damaged):
    (run.path / METRICS).write_text(damaged)
    with pytest.raises(ValueError, match=rf"{METRICS} must be a table of numbers by epoch"):
        _ = run.metrics


@pytest.mark.parametrize("missing", [LABELS, PREPROCESSING, RECIPE, DATA])
def test_a_folder_that_is_no_run_is_named_with_its_missing_files(run, missing):
    (run.path / missing).unlink()
    with pytest.raises(ValueError, match=rf"{run.path} is not a run directory: it has no {missing}$"):
        Run(run.path)
    with pytest.raises(ValueError, match="is not a run directory"):
        load(run.path)


def test_a_run_without_a_network_is_named(run):
    with pytest.raises(ValueError, match=rf"{run.path} has no {MODEL} yet: its training has not finished an epoch"):
        load(run.path)


@pytest.mark.parametrize("as_type", [str, lambda path: path])
def test_load_opens_a_run_and_its_file(run, model, as_type):
    model.save(run.path / MODEL)
    want = model(IMAGES)
    np.testing.assert_array_equal(load(as_type(run.path))(IMAGES), want)
    np.testing.assert_array_equal(load(as_type(run.path / MODEL))(IMAGES), want)


def test_load_of_a_missing_path_is_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no run directory, .* at .*nowhere"):
        load(tmp_path / "nowhere")


def truncated(content):
    return content[: len(content) // 2]


def bit_flipped(content):
    return content[:200] + bytes(byte ^ 0xFF for byte in content[200:400]) + content[400:]


@pytest.mark.parametrize("damage", [truncated, bit_flipped, lambda _: b"", lambda _: b"not a network"])
@pytest.mark.parametrize("name", ["network.keras", "network.h5", "network"])
def test_a_file_that_is_no_network_is_named(tmp_path, model, damage, name):
    model.save(tmp_path / "whole.keras")
    path = tmp_path / name
    path.write_bytes(damage((tmp_path / "whole.keras").read_bytes()))
    with pytest.raises(ValueError, match=rf"{name} is not a Keras file that can be opened"):
        load(path)


def test_code_in_a_file_is_not_run(tmp_path):
    inputs = keras.Input((2,))
    keras.Model(inputs, layers.Lambda(lambda x: x * 2)(inputs)).save(tmp_path / "lambda.keras")
    with pytest.raises(ValueError, match=r"lambda\.keras is not opened: layer 'lambda.*' is a Lambda"):
        load(tmp_path / "lambda.keras")
