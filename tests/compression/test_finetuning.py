"""Training in tf_keras: the fused AdamW kernel, and a training step that is traced once."""

import keras
import numpy as np
import pytest
import tf_keras
from networks import small_inception, with_drawn_weights

from keras_inception.compression import filter_pruning, job
from keras_inception.compression.finetuning import FusedAdamW, Pruning, Quantization
from keras_inception.datasets import Augmentation
from keras_inception.preprocessing import DEFAULT
from keras_inception.training import Recipe, building, train

SIDE = 16
RECIPE = Recipe(
    size=SIDE,
    epochs=1,
    batch_size=8,
    warmup_epochs=0.0,
    ema=0.0,
    augmentation=Augmentation.none(),
    precision="float32",
)


def trained(optimizer, steps: int) -> tf_keras.Model:
    tf_keras.utils.set_random_seed(0)
    layers = [tf_keras.layers.Conv2D(3, 3), tf_keras.layers.Flatten(), tf_keras.layers.Dense(4)]
    network = tf_keras.Sequential([tf_keras.Input((6, 6, 2)), *layers])
    network.compile(optimizer(learning_rate=0.01, weight_decay=0.1), "mse")
    rng = np.random.default_rng(0)
    for _ in range(steps):
        network.train_on_batch(rng.normal(size=(5, 6, 6, 2)), rng.normal(size=(5, 4)))
    return network


@pytest.mark.parametrize("steps", [1, 12])
def test_fused_steps_equal_those_of_adamw(steps):
    fused, plain = (trained(optimizer, steps) for optimizer in (FusedAdamW, tf_keras.optimizers.AdamW))
    for ours, theirs in zip(fused.optimizer.variables, plain.optimizer.variables, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(fused.weights, plain.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adamw"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_both_libraries_get_the_optimizer_of_the_recipe(name, weight_decay):
    recipe = RECIPE.replace(optimizer=name, weight_decay=weight_decay, clip_norm=1.0)
    for library, adamw in ((keras.optimizers, keras.optimizers.AdamW), (tf_keras.optimizers, FusedAdamW)):
        made = building.optimizer_from(library, recipe, adamw, learning_rate=0.1)
        assert (made.weight_decay, made.global_clipnorm) == (weight_decay, 1.0)


def pruning(network: keras.Model) -> Pruning:
    return Pruning(network, DEFAULT.replace(size=(SIDE, SIDE)), sparsity=0.5)


def quantization(network: keras.Model) -> Quantization:
    images = np.random.default_rng(0).uniform(-1, 1, (8, SIDE, SIDE, 3)).astype(np.float32)
    return Quantization(network, DEFAULT.replace(size=(SIDE, SIDE)), images=images)


@pytest.mark.versions
@pytest.mark.parametrize("method", [pruning, quantization])
def test_a_step_is_traced_once(method, pictures, tmp_path, monkeypatch):
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(image)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    network = keras.Model(image, keras.layers.Dense(3, "softmax", name="predictions")(x))
    traced, train_step = [], tf_keras.Model.train_step
    monkeypatch.setattr(tf_keras.Model, "train_step", lambda self, data: traced.append(1) or train_step(self, data))
    train(pictures, tmp_path / "run", recipe=RECIPE, method=method(with_drawn_weights(network)), verbose=0)
    assert len(traced) == 1


@pytest.mark.parametrize("criterion", job.CRITERIA)
def test_every_criterion_scores_each_filter(criterion):
    network = with_drawn_weights(small_inception((SIDE, SIDE, 3), 4))
    batches = [(np.zeros((2, SIDE, SIDE, 3), np.float32), np.array([0, 3]))]
    scores = getattr(filter_pruning, criterion)(network, batches)
    filters = {layer.name: layer.filters for layer in network.layers if isinstance(layer, keras.layers.Conv2D)}
    assert {name: len(each) for name, each in scores.items()} == filters
