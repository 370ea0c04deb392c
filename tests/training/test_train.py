"""Tests of `train`: the contents of a run directory, and resuming."""

import csv
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import in_full_but
from PIL import Image
from tensorflow.python.framework import config

import keras_inception
from keras_inception import registry
from keras_inception.datasets import Augmentation, open_data, open_table
from keras_inception.evaluation.evaluator import evaluate
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


def test_a_run_keeps_its_images_in_a_table(run, pictures):
    splits = open_table(run.path / "split.csv", root=pictures)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (21, 3, 12)
    assert splits.fingerprints() == run.fingerprint


def test_the_table_the_groups_and_the_excluded_images_stay_those_of_the_run(tiny, pictures, tmp_path, caplog):
    lines = [f"{color}/{index},{color}" for color in ("blue", "green", "red") for index in range(8)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,color", *lines, "red/9,red"]))
    (tmp_path / "suggested.csv").write_text("path,reason\nred/0.png,blurry\n")
    source = {"root": pictures / "train", "columns": "image,color"}
    options = {**source, "group": r"/(\d)", "exclude": tmp_path / "suggested.csv"}
    run = train(tmp_path / "labels.csv", tmp_path / "run", recipe=tiny.replace(epochs=1), verbose=0, **options)
    assert caplog.messages[-2:] == [f"left out {pictures / 'train' / 'red' / '9'}: does not exist", "excluded 1 image"]
    recorded = json.loads((run.path / "data.json").read_text())
    assert recorded["exclude"] == ["red/0.png"]
    assert run.counts == {"groups": 8, "ungrouped": 0, "excluded": 1}
    (tmp_path / "suggested.csv").unlink()
    train(None, run.path, resume=True, epochs=2, verbose=0)
    recorded_data = run.data
    splits = open_data(**recorded_data)
    assert len(splits.train) + len(splits.validation) == 23
    assert not set(splits.train.groups) & set(splits.validation.groups)
    assert open_table(run.path / "split.csv", root=pictures / "train").fingerprints() == run.fingerprint
    assert evaluate(run).count == len(splits.validation)
    for change in ({"group": "(a)"}, {"exclude": []}, {"columns": "a,b"}):
        with pytest.raises(ValueError, match="when resuming, give none, but `epochs`, or the new place"):
            train(None, run.path, resume=True, **change)
    shutil.copytree(pictures / "train", tmp_path / "moved")
    train(None, run.path, resume=True, root=tmp_path / "moved", verbose=0)
    assert run.data == {**recorded_data, "root": str(tmp_path / "moved")}
    assert run.counts == {"groups": 8, "ungrouped": 0, "excluded": 1}


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
    with pytest.raises(ValueError, match="when resuming, give none"):
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
    shutil.copy(pictures / "train/red/0.png", tmp_path / "pictures/test/red/copy.png")
    run = train(tmp_path / "pictures", tmp_path / "run", recipe=tiny.replace(epochs=1), verbose=0)
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("keras_inception")]
    assert [line.partition(":")[0] for line in logged[:5]] == [f"left out {path}" for path in broken[:5]]
    assert logged[5:] == [
        f"and 3 more, listed in {run.path / 'left_out.csv'}",
        "test/red/copy.png has the same bytes as train/red/0.png, in another split: "
        f"keras-inception check {tmp_path / 'pictures'} shows them",
    ]
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


def test_a_finished_run_goes_on_with_more_epochs(pictures, tmp_path, tiny, rows):
    run = train(pictures, tmp_path / "run", recipe=tiny, epochs=2, minutes=5, verbose=0)
    shutil.copytree(run.path, tmp_path / "killed")
    train(None, run.path, resume=True, epochs=5, verbose=0)
    assert [row["epoch"] for row in rows(run)] == ["1", "2", "3", "4", "5"]
    assert [float(row["learning_rate"]) for row in rows(run)][-1] < float(rows(run)[2]["learning_rate"])
    assert Recipe.load(run.path / "recipe.json").extended_at == 2
    shutil.copyfile(run.path / "recipe.json", tmp_path / "killed" / "recipe.json")
    again = train(None, tmp_path / "killed", resume=True, verbose=0)
    assert [row["loss"] for row in rows(again)] == [row["loss"] for row in rows(run)], "killed, it should end the same"
    with pytest.raises(ValueError, match=r"`epochs` must be more than the 5 that the run has finished"):
        train(None, run.path, resume=True, epochs=3)


def test_a_run_needs_the_file_of_its_first_weights_only_to_begin(pictures, tmp_path, tiny, rows, monkeypatch):
    registry.create("tiny", classes=5, input_shape=(16, 16, 3)).save_weights(tmp_path / "first.weights.h5")
    monkeypatch.chdir(tmp_path)
    train(pictures, "run", recipe=tiny, weights=Path("first.weights.h5"), verbose=0)
    assert Recipe.load("run/recipe.json").weights == str(tmp_path / "first.weights.h5")
    shutil.copytree("run", "moved")
    (tmp_path / "first.weights.h5").unlink()
    for name in ("epoch-3.weights.h5", "epoch-4.weights.h5"):
        (tmp_path / "moved" / "checkpoints" / name).unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    resumed = train(None, "../moved", resume=True, verbose=0)
    assert [row["loss"] for row in rows(resumed)] == [row["loss"] for row in rows(Run(tmp_path / "run"))]


@pytest.mark.parametrize("weights", in_full_but({"first"}, ["first", "first/model.keras"]))
def test_a_run_from_another_runs_weights_feeds_the_network_what_that_run_did(pictures, tmp_path, tiny, weights):
    first = train(pictures, tmp_path / "first", recipe=tiny, epochs=1, crop=0.9, fitting="stretch", verbose=0)
    second = train(pictures, tmp_path / "second", recipe=tiny, epochs=1, weights=str(tmp_path / weights), verbose=0)
    assert second.preprocessing == first.preprocessing
    third = train(
        pictures, tmp_path / "third", recipe=tiny, epochs=1, weights=str(tmp_path / weights), crop=0.8, verbose=0
    )
    assert third.preprocessing == first.preprocessing.replace(crop=0.8)


@pytest.mark.parametrize("fitting", in_full_but({"stretch"}, ["crop", "stretch", "pad"]))
def test_a_network_of_another_shape_than_square(pictures, tmp_path, tiny, fitting):
    run = train(pictures, tmp_path / "run", recipe=tiny, epochs=1, size=(16, 24), fitting=fitting, crop=None, verbose=0)
    assert run.model().input_shape == (None, 16, 24, 3)
    assert (run.preprocessing.size, run.preprocessing.fitting) == ((16, 24), "box" if fitting == "crop" else fitting)
    assert run.preprocessing.crop == (0.875 if fitting == "crop" else 1)
    assert 0 <= keras_inception.evaluate(run).top1 <= 1


@pytest.mark.parametrize(
    ("channels", "size", "fitting"),
    [
        pytest.param("RGB", (16, 24), "pad", marks=pytest.mark.full),
        ("gray", (24, 16), "pad"),
        pytest.param("gray", 16, "stretch", marks=pytest.mark.full),
    ],
)
def test_channels_and_shapes_go_from_training_to_the_file(pictures, tmp_path, tiny, channels, size, fitting):
    folder = shutil.copytree(pictures / "train", tmp_path / "images")
    for path, mode in zip(sorted(folder.glob("*/0.png")), ("L", "RGBA", "LA"), strict=True):
        with Image.open(path) as image:
            image.convert(mode).save(path)
    shown = {"channels": channels, "size": size, "fitting": fitting, "crop": None}
    run = train(folder, tmp_path / "run", recipe=tiny, epochs=1, **shown, verbose=0)
    assert run.model().input_shape[-1] == (3 if channels == "RGB" else 1)
    keras_inception.export(run, tmp_path / "exported", quantize=["float32"], min_agreement=0)
    (path,) = (tmp_path / "exported").glob("*_float32.tflite")
    images = sorted(folder.glob("*/[01].png"))
    for ours, theirs in zip(keras_inception.predict(run, images), keras_inception.predict(path, images), strict=True):
        # The file's client resizes colors, and the file makes them gray; here, gray images are resized.
        assert dict(theirs.top) == pytest.approx(dict(ours.top), abs=1e-5 if channels == "RGB" else 0.01)


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        ((tf.data.Dataset.range(3),), {}, r"images must be a folder of images .* Received: tensorflow\.RangeDataset"),
        ((np.zeros((2, 8, 8, 3)),), {}, r"images must be a folder .* Received: numpy\.ndarray"),
        (("{pictures}", 5), {}, "`output` must be the path of a run directory. Received: 5"),
        (("{pictures}",), {"recipe": 5}, "`recipe` must be a Recipe, one of default, small"),
        (("{pictures}",), {"recipe": "smal"}, r"Did you mean small\?"),
        (("{pictures}",), {"lr": 0.1}, r"no field 'lr'\. Did you mean learning_rate\?"),
        (("{pictures}",), {"epochs": "3"}, "`epochs` must be a whole number"),
        (("{pictures}",), {"validation": "0.2"}, r"`validation` must be in \[0, 1\)"),
        (("no/such/folder",), {}, "no/such/folder does not exist"),
    ],
)
def test_wrong_arguments_are_named(pictures, tmp_path, monkeypatch, arguments, options, says):
    monkeypatch.chdir(tmp_path)
    arguments = [pictures if isinstance(each, str) and each == "{pictures}" else each for each in arguments]
    with pytest.raises(ValueError, match=says):
        train(*arguments, **options)
    assert not list(tmp_path.iterdir())
