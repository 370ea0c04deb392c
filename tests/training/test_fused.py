"""The fused kernels do what Keras' own operations do."""

import keras
import numpy as np
import pytest

from keras_inception.training.fused import FusedAdamW


def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((6, 6, 2)), keras.layers.Conv2D(3, 3), keras.layers.Flatten(), keras.layers.Dense(4)]
    )


def trained(optimizer, steps):
    network = model()
    network.compile(optimizer, "mse")
    rng = np.random.default_rng(0)
    for _ in range(steps):
        network.train_on_batch(rng.normal(size=(5, 6, 6, 2)), rng.normal(size=(5, 4)))
    return network


OPTIONS = {"learning_rate": 0.01, "weight_decay": 0.1}
EVERY = 4


@pytest.mark.parametrize("steps", [1, 12])
def test_steps_are_those_of_adamw(steps):
    fused, plain = (trained(optimizer(**OPTIONS), steps) for optimizer in (FusedAdamW, keras.optimizers.AdamW))
    for ours, theirs in zip(fused.optimizer.variables, plain.optimizer.variables, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(fused.weights, plain.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_the_average_moves_every_few_steps_as_far_as_it_would_have():
    network = model()
    optimizer = FusedAdamW(**OPTIONS, use_ema=True, ema_momentum=0.9, average_every=EVERY)
    network.compile(optimizer, "mse")
    rng = np.random.default_rng(0)
    want = None
    for step in range(2 * EVERY + 2):
        network.train_on_batch(rng.normal(size=(5, 6, 6, 2)), rng.normal(size=(5, 4)))
        now = [np.array(weight) for weight in network.trainable_weights]
        if step == 0:
            want = now
        elif step % EVERY == 0:
            kept = 0.9**EVERY
            want = [kept * old + (1 - kept) * new for old, new in zip(want, now, strict=True)]
        averages = optimizer._model_variables_moving_average
        for average, expected in zip(averages, want, strict=True):
            np.testing.assert_allclose(average, expected, rtol=1e-4, atol=1e-6)


def test_without_an_average_there_is_none():
    optimizer = trained(FusedAdamW(**OPTIONS), 1).optimizer
    assert len(optimizer.variables) == len(keras.optimizers.AdamW(**OPTIONS).variables) + 2 * 4
