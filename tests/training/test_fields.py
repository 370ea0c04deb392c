"""Tests of the effect of recipe fields on training."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

import keras_inception
from keras_inception import registry
from keras_inception.datasets import open_data
from keras_inception.training import Recipe, building, train
from keras_inception.training.distribution import ALONE
from keras_inception.training.methods import DIRECT
from keras_inception.training.schedules import Plan, phases
from keras_inception.training.trainer import _Training


def optimizer(recipe: Recipe, steps: int = 10) -> keras.optimizers.Optimizer:
    return building.optimizer(recipe, phases(recipe)[0], Plan(recipe), steps)


def test_optimizers_are_keras_own():
    sgd = optimizer(Recipe(optimizer="sgd", momentum=0.8, nesterov=True, clip_norm=2.0, weight_decay=0.01))
    assert isinstance(sgd, keras.optimizers.SGD)
    assert (sgd.momentum, sgd.nesterov, sgd.global_clipnorm, sgd.weight_decay) == (0.8, True, 2.0, 0.01)
    rmsprop = optimizer(Recipe(optimizer="rmsprop", rho=0.95, epsilon=1.0, ema=0.0))
    assert isinstance(rmsprop, keras.optimizers.RMSprop)
    assert (rmsprop.rho, rmsprop.epsilon, rmsprop.use_ema) == (0.95, 1.0, False)
    assert isinstance(optimizer(Recipe()), keras.optimizers.AdamW)


def test_accumulated_gradients_update_the_weights_like_one_large_batch():
    recipe = Recipe(accumulate=4, schedule="constant", optimizer="sgd", ema=0.0, weight_decay=0.0, learning_rate=0.1)
    results = []
    for accumulate, batch in ((4, 2), (1, 8)):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile(optimizer(recipe.replace(accumulate=accumulate)), "mse")
        x, y = (np.random.default_rng(0).normal(size=(16, width)) for width in (3, 2))
        model.fit(x, y, batch_size=batch, shuffle=False, verbose=0)
        results.append(model.get_weights())
    for accumulated, at_once in zip(*results, strict=True):
        np.testing.assert_allclose(accumulated, at_once, rtol=1e-5, atol=1e-6)


def test_accumulation_changes_neither_schedule_nor_average():
    recipe = Recipe(epochs=2, learning_rate=0.8, warmup_epochs=0.0, optimizer="sgd", ema=0.9)
    plain, accumulating = optimizer(recipe, steps=1100), optimizer(recipe.replace(accumulate=4), steps=1100)
    for each in (plain, accumulating):
        each.build([keras.Variable([0.0])])
        each._iterations.assign(1100)
        assert float(each.learning_rate) == pytest.approx(0.4), "after half of the steps"
    assert accumulating.ema_momentum**4 == pytest.approx(plain.ema_momentum) == pytest.approx(0.9)


@pytest.mark.full
def test_the_loss_is_scaled_in_float16(pictures, tiny, tmp_path, rows):
    recipe = tiny.replace(precision="mixed_float16", epochs=2, schedule="plateau")
    assert isinstance(optimizer(recipe), keras.optimizers.LossScaleOptimizer)
    whole = train(pictures, tmp_path / "run", recipe=recipe, verbose=0)
    losses = [float(row["loss"]) for row in rows(whole)]
    assert losses[1] < losses[0]
    weights = whole.model().get_weights()
    (whole.path / "checkpoints" / "epoch-2.weights.h5").unlink()
    resumed = train(None, whole.path, resume=True, verbose=0)
    for mine, other in zip(resumed.model().get_weights(), weights, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_rare_classes_weigh_more():
    weights = building.class_weights(np.array([0, 0, 0, 1]), 2)
    np.testing.assert_allclose(weights, [2 / 3, 2])
    assert np.isfinite(building.class_weights(np.array([0, 0]), 2)).all()


@pytest.mark.parametrize("class_weights", [pytest.param(False, marks=pytest.mark.full), True])
def test_batches_have_labels_and_weights_for_each_output(class_weights, pictures, tiny, tmp_path):
    recipe = tiny.replace(class_weights=class_weights)
    run = train(pictures, tmp_path / "run", recipe=recipe.replace(epochs=1), verbose=0)
    splits = open_data(**run.data)
    outputs = {name: keras.KerasTensor((None, 3)) for name in ("predictions", "aux")}
    heads = keras.Model(inputs := keras.Input((32, 32, 3)), {name: keras.layers.Flatten()(inputs) for name in outputs})
    training = _Training(recipe, splits, DIRECT, ALONE)
    training.trainee = heads
    x, y, *weights = next(iter(training.batches(run.preprocessing, done=0)))
    assert x.shape == (8, 32, 32, 3)
    assert -1 <= float(tf.reduce_min(x)) < -0.5 < 0.5 < float(tf.reduce_max(x)) <= 1
    assert set(y) == {"predictions", "aux"}
    assert y["aux"].shape == (8, 3)
    assert bool(weights) is class_weights
    if weights:
        counts = np.bincount(splits.train.labels)
        expected = len(splits.train) / (3 * counts[np.argmax(y["aux"], axis=1)])
        np.testing.assert_allclose(weights[0]["aux"], expected, rtol=1e-5)


def first_kernel(path):
    found = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append(item) if getattr(item, "shape", ()) == (3, 3, 3, 8) else None)
        return found[0][:]


def test_a_frozen_body_changes_only_after_it_is_thawed(pictures, tiny, tmp_path):
    body = registry.create("tiny", classes=5, input_shape=(16, 16, 3))
    body.save_weights(tmp_path / "body.weights.h5")
    recipe = tiny.replace(ema=0.0, epochs=3)
    recipe = recipe.replace(weights=str(tmp_path / "body.weights.h5"), freeze_epochs=2, thaw_learning_rate=1e-3)
    frozen = train(pictures, tmp_path / "run", recipe=recipe.replace(epochs=2, freeze_epochs=2), verbose=0)
    *before, _, _ = body.get_weights()
    *after, kernel, _ = frozen.model().get_weights()
    assert kernel.shape == (16, 3), "the new classifier should have three classes"
    for mine, other in zip(after, before, strict=True):
        np.testing.assert_array_equal(mine, other)
    recipe.save(frozen.path / "recipe.json")
    thawed = train(None, frozen.path, resume=True, verbose=0)
    kernels = [first_kernel(thawed.path / "checkpoints" / f"epoch-{epoch}.weights.h5") for epoch in (2, 3)]
    np.testing.assert_array_equal(kernels[0], before[0])
    assert not np.array_equal(*kernels)


@pytest.mark.full
def test_a_run_stopped_before_it_is_thawed_ends_the_same(pictures, tiny, tmp_path):
    recipe = tiny.replace(ema=0.0, epochs=3).replace(freeze_epochs=2, thaw_learning_rate=1e-3)
    frozen = train(pictures, tmp_path / "run", recipe=recipe.replace(epochs=2, freeze_epochs=2), verbose=0)
    recipe.save(frozen.path / "recipe.json")
    thawed = train(None, frozen.path, resume=True, verbose=0)
    whole = train(pictures, tmp_path / "whole", recipe=recipe, verbose=0)
    for mine, other in zip(thawed.model().get_weights(), whole.model().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other, err_msg="it should end the same")


def test_a_run_that_stopped_early_is_complete(pictures, quick, tmp_path, rows):
    recipe = quick.replace(learning_rate=0.0, weight_decay=0.0, ema=0.0, early_stopping=2, epochs=9)
    run = train(pictures, tmp_path / "run", recipe=recipe, verbose=0)
    assert [row["epoch"] for row in rows(run)] == ["1", "2", "3"]
    train(None, run.path, resume=True, verbose=0)
    assert len(rows(run)) == 3


@pytest.mark.full
def test_a_plateau_lowers_the_rate(pictures, quick, tmp_path, rows):
    recipe = quick.replace(schedule="plateau", decay=0.5, decay_epochs=1, learning_rate=1e-12, epochs=4, ema=0.0)
    run = train(pictures, tmp_path / "run", recipe=recipe.replace(optimizer="sgd"), verbose=0)
    assert [float(row["learning_rate"]) * 1e12 for row in rows(run)] == pytest.approx([1, 1, 0.5, 0.25])
    (run.path / "checkpoints" / "epoch-4.weights.h5").unlink()
    train(None, run.path, resume=True, verbose=0)
    assert float(rows(run)[-1]["learning_rate"]) * 1e12 == pytest.approx(0.25)


def test_tensorboard_logs_training_and_validation(pictures, tiny, tmp_path):
    run = train(pictures, tmp_path / "run", recipe=tiny.replace(epochs=1, tensorboard=True), verbose=0)
    tags = set()
    for path in (run.path / "logs").rglob("events.out.tfevents.*"):
        for event in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            tags |= {value.tag for value in event_pb2.Event.FromString(event).summary.value}
    assert tags >= {"epoch_loss", "epoch_top1"}, "they should cover training and validation"
    assert "epoch_epoch" not in tags


@pytest.mark.full
def test_runs_with_the_same_seed_are_bit_identical(pictures, quick, tmp_path, rows):
    recipe = quick.replace(augmentation=quick.augmentation.replace(mixup=0.2, cutmix=1.0, erase=0.3, distortions=1))
    recipe = recipe.replace(epochs=2, precision="mixed_bfloat16", class_weights=True, clip_norm=1.0)
    one, two = (train(pictures, tmp_path / name, recipe=recipe, verbose=0) for name in ("one", "two"))
    assert [row["loss"] for row in rows(one)] == [row["loss"] for row in rows(two)]
    for mine, other in zip(one.model().get_weights(), two.model().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"options": {"stem_strides": 4}},
            r"`options` of googlenet may be .*Did you mean stem_stride\? Received: 'stem_s",
        ),
        ({"network": "alexnet", "options": {"form": "x"}}, r"`options` of alexnet may be filters. Received: 'form'"),
        ({"options": {"classes": 4}}, "Received: 'classes'"),
        ({"options": {"stem_stride": 3}, "size": 32}, "`stem_stride` must be one of 8, 4, 2"),
        ({"weights": "no/such.pth"}, "no/such.pth"),
        ({"size": 16}, "`input_shape` must be at least 32"),
    ],
)
def test_an_invalid_network_is_reported_and_leaves_no_run(changes, says, pictures, tmp_path):
    with pytest.raises((ValueError, OSError), match=says):
        train(pictures, tmp_path / "run", recipe=Recipe(**changes), verbose=0)
    assert not (tmp_path / "run").exists()


def test_only_networks_with_heads_take_auxiliary():
    for name in keras_inception.list_models():
        with keras.StatelessScope(initialize_variables=False):  # shapes only
            if registry.NETWORKS[name].heads:
                assert len(keras_inception.create(name, auxiliary=True).output) > 1
            else:
                with pytest.raises(ValueError, match="has no auxiliary classifiers"):
                    keras_inception.create(name, auxiliary=True)
    keras.utils.clear_session(free_memory=False)
