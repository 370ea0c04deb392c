"""The fused kernels match Keras' own operations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_inception.training import fused
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
def test_steps_match_adamw(steps):
    fused, plain = (trained(optimizer(**OPTIONS), steps) for optimizer in (FusedAdamW, keras.optimizers.AdamW))
    for ours, theirs in zip(fused.optimizer.variables, plain.optimizer.variables, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(fused.weights, plain.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_the_average_moves_every_few_steps_as_far_as_in_all_of_them():
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


def test_without_an_average_no_variables_are_made_for_it():
    optimizer = trained(FusedAdamW(**OPTIONS), 1).optimizer
    assert len(optimizer.variables) == len(keras.optimizers.AdamW(**OPTIONS).variables) + 2 * 4


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 7), (5, 3)])
def test_the_gradients_of_a_convolution_match_tensorflow(size):
    rng = np.random.default_rng(0)
    x, kernel = (tf.constant(rng.normal(size=shape), tf.float32) for shape in ((2, 6, 5, 3), (*size, 3, 4)))
    results = []
    ours = fused.pointwise if size == (1, 1) else fused.convolution
    for convolve in (ours, lambda x, kernel: tf.nn.conv2d(x, kernel, 1, "SAME")):
        with tf.GradientTape() as tape:
            tape.watch((x, kernel))
            y = convolve(x, kernel)
            loss = tf.reduce_sum(y**2)
        results.append([y, *tape.gradient(loss, (x, kernel))])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "side", "by_products"),
    [
        ({"kernel_size": 1, "padding": "same"}, 28, True),
        ({"kernel_size": 3, "padding": "same"}, 7, True),
        ({"kernel_size": 3, "padding": "same"}, 28, False),
        ({"kernel_size": 3}, 7, False),
        ({"kernel_size": 1, "strides": 2}, 28, False),
        ({"kernel_size": 3, "padding": "same", "dilation_rate": 2}, 7, False),
    ],
)
def test_fused_convolutions_train_like_plain_ones(monkeypatch, options, side, by_products):
    taken = []
    for name in ("convolution", "pointwise"):
        function = getattr(fused, name)
        monkeypatch.setattr(fused, name, lambda *given, function=function: taken.append(1) or function(*given))
    image = keras.Input((side, side, 64))

    def network(dtype):
        y = keras.layers.Conv2D(8, use_bias=False, dtype=dtype, **options)(image)
        return keras.Model(image, keras.layers.GlobalAveragePooling2D(dtype="float32")(y))

    copy, plain, exact = (network(dtype) for dtype in ("mixed_bfloat16", "mixed_bfloat16", "float32"))
    fused.fuse(copy)
    taken.clear()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, side, side, 64)), rng.normal(size=(4, 8))
    before = plain.get_weights()[0]
    for model in (copy, plain, exact):
        model.set_weights([before])
        model.compile("sgd", "mse")
        model.train_on_batch(x, y)
    assert bool(taken) is by_products
    ours, plain, exact = (model.get_weights()[0] - before for model in (copy, plain, exact))
    # The plain gradients in bfloat16 are themselves up to 2.5 % off, the fused ones 0.5 %.
    expected = exact if by_products else plain
    assert np.linalg.norm(ours - expected) < 0.01 * np.linalg.norm(expected)
