"""The network that is kept has batch norm statistics that fit its weights, however few images and steps there were."""

import keras
import numpy as np
import pytest
from networks import small_inception, with_drawn_weights
from PIL import Image

from keras_inception.datasets import Arrays, open_data
from keras_inception.preprocessing import DEFAULT
from keras_inception.training import batch_norm, train
from keras_inception.training.batch_norm import Recalibration

PREPROCESSING = DEFAULT.replace(size=(32, 32))
NORMS = ("stem_bn", "one_bn", "reduce_bn", "three_bn", "left_bn", "right_bn")
COLORS = {"blue": (40, 60, 210), "green": (40, 180, 60), "red": (210, 40, 40)}


def noise(count):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    numbers = np.arange(count)
    return Arrays(labels=numbers.astype(np.int32) % 2, keys=numbers.astype(str), pictures=pixels, source="noise")


def network(dropout=0.5):
    return with_drawn_weights(small_inception((32, 32, 3), 4, dropout=dropout, auxiliary=True))


def values(model, *kinds):
    return {weight.path: np.array(weight) for weight in model.weights if weight.name in kinds}


def squares(folder, count, seed=0):
    """Write `count` images of colored squares on gray noise to class folders, as even as possible."""
    chance = np.random.default_rng(seed)
    for number in range(count):
        name = list(COLORS)[number % len(COLORS)]
        pixels = chance.normal(128, 25, (32, 32, 3))
        top, left = chance.integers(2, 14, 2)
        pixels[top : top + 16, left : left + 16] = np.array(COLORS[name]) + chance.normal(0, 15, (16, 16, 3))
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / name / f"{number:05}.png")
    return folder


@pytest.mark.parametrize("count", [1, 20, 77])
def test_statistics_are_those_of_all_images(count):
    model, images = network(), noise(count)
    before = values(model, "kernel", "bias", "gamma", "beta")
    Recalibration(images, PREPROCESSING, seed=3)(model, NORMS)
    maps = keras.Model(model.inputs, model.get_layer("stem_bn").input)
    chosen = np.random.default_rng(3).permutation(count)[: 75 if count == 77 else count]  # three batches of 25
    x = maps(PREPROCESSING.normalize(images.pictures[chosen].astype(np.float32))).numpy()
    norm = model.get_layer("stem_bn")
    np.testing.assert_allclose(norm.moving_mean, x.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, x.var(axis=(0, 1, 2)), rtol=1e-4)
    assert norm.momentum == 0.8
    for path, value in values(model, "kernel", "bias", "gamma", "beta").items():
        np.testing.assert_array_equal(value, before[path])


def test_statistics_depend_only_on_the_weights_and_the_seed():
    model, other = network(), network(dropout=0.9)
    other.set_weights(model.get_weights())
    recalibrate = Recalibration(noise(40), PREPROCESSING, seed=0)
    recalibrate(model, NORMS)
    recalibrate(model, NORMS)
    for norm in NORMS:  # other values to begin with
        other.get_layer(norm).moving_mean.assign(np.full(other.get_layer(norm).moving_mean.shape, 7.0))
    recalibrate(other, NORMS)
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_other_batch_norms_keep_theirs_to_the_bit():
    model = network()
    before = values(model, "moving_mean", "moving_variance")
    Recalibration(noise(20), PREPROCESSING, seed=0)(model, ["left_bn"])
    for path, value in values(model, "moving_mean", "moving_variance").items():
        assert np.array_equal(value, before[path]) == ("left_bn" not in path), path
    again = values(model, "moving_mean")
    Recalibration(noise(20), PREPROCESSING, seed=0)(model, [])
    assert all(np.array_equal(value, again[path]) for path, value in values(model, "moving_mean").items())


def test_at_most_5000_images_are_used(monkeypatch):
    read = []
    monkeypatch.setattr(Arrays, "read", lambda self, index: read.append(index) or self.pictures[index])
    monkeypatch.setattr(batch_norm, "MAX_IMAGES", 60)
    recalibrate = Recalibration(noise(100), PREPROCESSING, seed=0)
    recalibrate(network(), NORMS)
    assert len(read) == 60
    read.clear()
    recalibrate(network(), NORMS, 31)
    assert len(read) == 30, "one batch of 30"


@pytest.mark.full
@pytest.mark.parametrize("count", [20, 90, 500, 5000])
def test_the_kept_network_knows_what_the_training_knew(count, tmp_path, quick, rows):
    """In so few steps, moving averages of momentum 0.99 do not arrive."""
    pictures = squares(tmp_path / "pictures", count)
    epochs = max(2, min(12, 2000 // count))
    recipe = quick.replace(network="googlenet", epochs=epochs, batch_size=16, learning_rate=2e-3, ema=0.99)
    run = train(pictures, tmp_path / "run", recipe=recipe, verbose=0)
    fresh = squares(tmp_path / "fresh", 60, seed=1)
    images = open_data(fresh, validation=0).train
    x = np.stack([run.preprocessing(images.read(index)) for index in range(len(images))])
    model = run.model()
    top1 = float((np.argmax(model(x, training=False)["predictions"], axis=1) == images.labels).mean())
    learned = float(rows(run)[-1]["predictions_top1"])
    assert top1 >= min(0.9, learned - 0.1), (top1, learned)
    before = model.get_weights()
    trained = batch_norm.trained_norms(model, model)
    if rows(run)[-1]["val_top1"] == max(row["val_top1"] for row in rows(run)):  # the last epoch is the one kept
        Recalibration(open_data(**run.data).train, run.preprocessing, recipe.seed)(model, trained)
        for mine, theirs in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    "frozen",
    [pytest.param({"freeze_epochs": 2}, marks=pytest.mark.full), {"freeze_batch_norm": True}],
    ids=["body", "batch norms"],
)
def test_frozen_layers_keep_their_statistics_to_the_bit(frozen, pictures, tmp_path, tiny):
    first = train(pictures, tmp_path / "first", recipe=tiny.replace(epochs=1), verbose=0)
    model = first.model()
    model.save_weights(tmp_path / "tiny.weights.h5")
    recipe = tiny.replace(epochs=2, **frozen, weights=str(tmp_path / "tiny.weights.h5"))
    tuned = train(pictures, tmp_path / "tuned", recipe=recipe, verbose=0).model()
    old, new = (values(each, "moving_mean", "moving_variance", "gamma").values() for each in (model, tuned))
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(old, new, strict=True))
    assert not np.array_equal(tuned.get_layer("predictions").kernel, model.get_layer("predictions").kernel)
    kernels = [each.layers[1].kernel for each in (model, tuned)]
    assert np.array_equal(*kernels) == ("freeze_epochs" in frozen)
