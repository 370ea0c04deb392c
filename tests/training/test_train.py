"""`train`: what a run directory holds, and that a killed run ends where an uninterrupted one does."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import keras_inception
from keras_inception.datasets import Augmentation
from keras_inception.runs import Run
from keras_inception.training import Recipe, train
from keras_inception.training.fused import fuse
from keras_inception.training.trainer import _compile, _restore, build

RECIPE = Recipe(
    size=36,
    training_size=32,
    crop=1.0,
    epochs=4,
    batch_size=8,
    learning_rate=3e-3,
    warmup_epochs=1.0,
    ema=0.5,
    validate_every=2,
    augmentation=Augmentation(area=(0.5, 1.0)),
    precision="float32",
    seed=7,
)


@pytest.fixture(scope="module")
def run(pictures, tmp_path_factory) -> Run:
    return train(pictures, tmp_path_factory.mktemp("whole") / "run", recipe=RECIPE, verbose=0)


def rows(run: Run) -> list[dict]:
    with open(run.path / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_directory_holds_what_others_need(run, pictures):
    assert run.labels == ("blue", "green", "red")
    assert run.preprocessing.size == (36, 36)
    assert json.loads((run.path / "data.json").read_text())["path"] == str(pictures)
    assert Recipe.load(run.path / "recipe.json") == RECIPE
    assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == [
        "epoch-3.weights.h5",
        "epoch-4.weights.h5",
    ]
    model = run.model()
    assert model.input_shape == (None, 36, 36, 3)
    assert set(model.output) == {"predictions", "aux_4a", "aux_4d"}
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_metrics_have_a_row_an_epoch_and_validation_when_asked(run):
    table = rows(run)
    assert [row["epoch"] for row in table] == ["1", "2", "3", "4"]
    assert [bool(row["val_top1"]) for row in table] == [False, True, False, True]
    assert float(table[-1]["loss"]) < float(table[0]["loss"])
    assert {"predictions_loss", "aux_4a_loss", "aux_4d_loss", "val_top5", "val_loss", "seconds"} <= set(table[0])


def test_a_run_that_exists_is_not_overwritten(run, pictures):
    before = (run.path / "model.keras").read_bytes()
    with pytest.raises(FileExistsError, match=r"exists\. Go on with it by resuming"):
        train(pictures, run.path, recipe=RECIPE)
    assert (run.path / "model.keras").read_bytes() == before


def test_resuming_takes_no_other_recipe(run, pictures):
    with pytest.raises(ValueError, match="give neither"):
        train(pictures, run.path, resume=True)
    with pytest.raises(ValueError, match="give neither"):
        train(None, run.path, recipe=RECIPE, resume=True)


def test_killed_and_resumed_it_ends_as_if_it_had_not_been(run, pictures, tmp_path):
    script = (
        "import sys; from keras_inception.training import Recipe, train\n"
        "train(sys.argv[1], sys.argv[2], recipe=Recipe.load(sys.argv[3]), verbose=0)\n"
    )
    output = tmp_path / "run"
    victim = subprocess.Popen([sys.executable, "-c", script, pictures, output, run.path / "recipe.json"])
    try:
        checkpoint = output / "checkpoints" / "epoch-2.weights.h5"
        deadline = time.monotonic() + 300
        while not checkpoint.exists():
            assert victim.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    assert not (output / "checkpoints" / "epoch-4.weights.h5").exists()

    resumed = train(None, output, resume=True, verbose=0)
    assert [row["epoch"] for row in rows(resumed)] == ["1", "2", "3", "4"]
    assert [row["loss"] for row in rows(resumed)] == [row["loss"] for row in rows(run)]
    for name, ours, theirs in zip(
        (weight.path for weight in run.model().weights),
        resumed.model().get_weights(),
        run.model().get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_a_complete_run_is_left_as_it_is(run):
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    train(None, run.path, resume=True, verbose=0)
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_a_checkpoint_that_is_damaged_gives_way_to_the_one_before(run, pictures, tmp_path, caplog):
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    last = copy / "checkpoints" / "epoch-4.weights.h5"
    os.truncate(last, last.stat().st_size // 2)
    model = fuse(build(RECIPE, 3, 32, "float32"))
    _compile(model, RECIPE, steps=3)
    assert _restore(model, Run(copy)) == 3
    assert "epoch-4.weights.h5 cannot be read" in caplog.text


def test_heads_must_fit_both_sizes(pictures, tmp_path):
    with pytest.raises(ValueError, match=r"maps of the same size.*training_size=96, size=224"):
        train(pictures, tmp_path / "run", recipe=RECIPE.replace(size=224, training_size=96))


def test_the_average_is_short_enough_for_a_short_run():
    model = build(RECIPE.replace(auxiliary=False), 3, 32, "float32")
    for ema, epochs, momentum in ((0.999, 100, 1 - 10 / 300), (0.9, 100, 0.9), (0.999, 2, 0)):
        _compile(model, RECIPE.replace(auxiliary=False, ema=ema, epochs=epochs), steps=3)
        assert model.optimizer.ema_momentum == pytest.approx(momentum)


def test_a_network_trained_in_mixed_precision_exports_as_float32(pictures, tmp_path):
    model = build(RECIPE.replace(normalization="lrn"), 3, 64, "mixed_bfloat16")
    assert model.get_layer("inception_3a_1x1").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32", "the policy is for the network alone"
    exported = keras_inception.inference_model(model)
    assert {layer.compute_dtype for layer in exported.layers} == {"float32"}
