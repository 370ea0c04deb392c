"""Tests of `train`: the contents of a run directory, and resuming."""

import csv
import json
import shutil

import keras
import numpy as np
import pytest
from networks import in_full_but
from tensorflow.python.framework import config

import keras_inception
from keras_inception import registry
from keras_inception.datasets import Augmentation
from keras_inception.runs import Run
from keras_inception.training import Recipe, building, train
from keras_inception.training.schedules import Plan, phases

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


@pytest.fixture(scope="module", params=in_full_but({"small_inception"}, ["small_inception", "googlenet"]))
def recipe(request):
    """A recipe of a network with heads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            registry.NETWORKS, "small_inception", registry.Network("networks:small_inception", 36, 0, 0, ("aux",))
        )
        yield RECIPE.replace(network=request.param)


@pytest.fixture(scope="module")
def run(recipe, pictures, tmp_path_factory) -> Run:
    return train(pictures, tmp_path_factory.mktemp("whole") / "run", recipe=recipe, verbose=0)


def test_op_determinism_is_restored_after_the_training(run):
    assert not config.is_op_determinism_enabled()


def test_a_run_directory_is_complete(run, recipe, pictures):
    assert run.labels == ("blue", "green", "red")
    assert run.preprocessing.size == (36, 36)
    assert json.loads((run.path / "data.json").read_text())["source"] == str(pictures)
    assert Recipe.load(run.path / "recipe.json") == building.resolved(recipe)
    assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == [
        "epoch-3.weights.h5",
        "epoch-3.weights.h5.sha256",
        "epoch-4.weights.h5",
        "epoch-4.weights.h5.sha256",
    ]
    model = run.model()
    assert model.input_shape == (None, 36, 36, 3)
    assert set(model.output) == {"predictions", *registry.NETWORKS[recipe.network].heads}
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


@pytest.mark.versions
def test_metrics_have_a_row_per_epoch_and_validation_as_set(run, recipe, rows):
    table = rows(run)
    assert [row["epoch"] for row in table] == ["1", "2", "3", "4"]
    assert [bool(row["val_top1"]) for row in table] == [False, True, False, True]
    assert float(table[-1]["loss"]) < float(table[0]["loss"])
    losses = {f"{name}_loss" for name in ("predictions", *registry.NETWORKS[recipe.network].heads)}
    assert {*losses, "val_top5", "val_loss", "seconds"} <= set(table[0])


def test_an_existing_run_is_not_overwritten(run, pictures):
    before = (run.path / "model.keras").read_bytes()
    with pytest.raises(FileExistsError, match=r"exists\. Resume it"):
        train(pictures, run.path, recipe=RECIPE)
    assert (run.path / "model.keras").read_bytes() == before


def test_resuming_takes_no_other_recipe(run, pictures):
    with pytest.raises(ValueError, match="give neither"):
        train(pictures, run.path, resume=True)
    with pytest.raises(ValueError, match="give neither"):
        train(None, run.path, recipe=RECIPE, resume=True)


def test_a_complete_run_is_left_unchanged(run, times):
    before = times(run)
    train(None, run.path, resume=True, verbose=0)
    assert times(run) == before


@pytest.mark.full
def test_a_run_resumed_from_an_earlier_checkpoint_ends_the_same(run, rows, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "epoch-4.weights.h5").unlink()
    resumed = train(None, tmp_path / "run", resume=True, verbose=0)
    assert [row["loss"] for row in rows(resumed)] == [row["loss"] for row in rows(run)]
    for ours, theirs in zip(resumed.model().weights, run.model().weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)


@pytest.mark.full
@pytest.mark.versions
def test_a_step_is_traced_once(pictures, tmp_path, monkeypatch):
    traced, train_step = [], keras.Model.train_step
    monkeypatch.setattr(keras.Model, "train_step", lambda self, data: traced.append(1) or train_step(self, data))
    train(pictures, tmp_path / "run", recipe=RECIPE.replace(epochs=1), verbose=0)
    assert len(traced) == 1


def test_images_left_out_are_summarized_in_the_log_and_listed_in_the_run(pictures, tmp_path, tiny, caplog):
    shutil.copytree(pictures, tmp_path / "pictures")
    broken = [tmp_path / "pictures" / "train" / "red" / f"broken_{index}.png" for index in range(8)]
    for path in broken:
        path.write_text("this is not a picture")
    run = train(tmp_path / "pictures", tmp_path / "run", recipe=tiny.replace(epochs=1), verbose=0)
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("keras_inception")]
    assert [line.partition(":")[0] for line in logged[:5]] == [f"left out {path}" for path in broken[:5]]
    assert logged[5:] == [f"and 3 more, listed in {run.path / 'left_out.csv'}"]
    with open(run.path / "left_out.csv", newline="", encoding="utf-8") as file:
        assert [row["path"] for row in csv.DictReader(file)] == list(map(str, broken))


def test_auxiliary_heads_must_fit_both_sizes(pictures, tmp_path):
    with pytest.raises(ValueError, match=r"maps of the same size.*training_size=96, size=224"):
        train(pictures, tmp_path / "run", recipe=RECIPE.replace(size=224, training_size=96))


def test_the_average_is_short_in_a_short_run():
    for ema, epochs, momentum in ((0.999, 100, 1 - 10 / 300), (0.9, 100, 0.9), (0.999, 2, 0)):
        recipe = RECIPE.replace(ema=ema, epochs=epochs)
        optimizer = building.optimizer(recipe, phases(recipe)[0], Plan(recipe), steps=3)
        assert optimizer.ema_momentum == pytest.approx(momentum)


def test_a_network_trained_in_mixed_precision_exports_as_float32(pictures, tmp_path):
    model = building.build(RECIPE.replace(options={"normalization": "lrn"}), 3, 64, "mixed_bfloat16")
    assert model.get_layer("inception_3a_1x1").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32", "the global policy should be unchanged"
    exported = keras_inception.inference_model(model)
    assert {layer.compute_dtype for layer in exported.layers} == {"float32"}
