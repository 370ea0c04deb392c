"""Flat models: the same outputs without nested models, and batch norms that stay as they are."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from networks import transfer_model, with_drawn_weights

from keras_inception.models.flat_copy import flat_copy, is_flat


def pixels(model, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, *model.input_shape[1:])).astype(np.float32)


def check(model, **options) -> keras.Model:
    """Assert that the flat model has no nested models and the same outputs, and return it."""
    copy = flat_copy(model, **options)
    assert is_flat(copy)
    assert not is_flat(model)
    np.testing.assert_allclose(copy(pixels(model), training=False), model(pixels(model), training=False), atol=1e-5)
    return copy


def of(model, kind: type) -> list[str]:
    return [layer.name for layer in model.layers if isinstance(layer, kind)]


def test_nested_models_become_their_layers():
    model = transfer_model(16, 3)
    copy = check(model)
    assert not of(copy, keras.Model)
    assert not of(copy, (layers.RandomFlip, layers.RandomRotation)), "augmentation is cut"
    assert of(copy, layers.Dropout) == ["dropout"]
    assert of(copy, layers.SeparableConv2D) == ["separable"]
    body = model.get_layer("body")
    np.testing.assert_array_equal(copy.get_layer("stem").kernel, body.get_layer("stem").kernel)


@pytest.mark.parametrize("frozen", ["called", "layer", "neither"])
def test_batch_norms_that_do_not_learn_their_statistics_stay_so(frozen):
    image = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.BatchNormalization(name="norm"), layers.Dropout(0.5)])
    inner.trainable = frozen != "layer"
    model = keras.Model(image, inner(image, training=False if frozen == "called" else None))
    copy = check(with_drawn_weights(model))
    norm, x = copy.get_layer("norm"), pixels(model)
    assert norm.trainable == (frozen == "neither")
    assert bool(of(copy, layers.Dropout)) == (frozen != "called"), "dropout that never drops is cut"
    before = norm.moving_mean.numpy()
    copy(x, training=True)
    assert np.allclose(norm.moving_mean, before) == (frozen != "neither")


def test_layers_of_the_same_name_are_told_apart():
    image = keras.Input((8, 8, 3))
    x = image
    for number in range(3):
        inner = keras.Sequential([keras.Input(x.shape[1:]), layers.Conv2D(4, 3, name="conv")], name=f"block{number}")
        x = inner(x)
    copy = check(keras.Model(image, x))
    assert of(copy, layers.Conv2D) == ["conv", "block1_conv", "block2_conv"]


def test_activations_become_layers_that_can_be_trained():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation=layers.LeakyReLU(0.3, name="leaky"), name="conv")(image)
    x = layers.SeparableConv2D(4, 3, activation="hard_silu", name="separable")(x)
    x = layers.Activation(tf.nn.relu, name="relu")(x)
    x = layers.Dense(3, activation=tf.nn.softmax, name="last")(x)
    model = keras.Model(image, x)
    copy = flat_copy(with_drawn_weights(model), simple=True)
    np.testing.assert_allclose(copy(pixels(model)), model(pixels(model)), atol=1e-5)
    assert [layer.name for layer in copy.layers][1:] == [
        *("conv", "conv_leaky", "separable_depthwise", "separable", "separable_hard_silu", "relu", "last")
    ]
    assert keras.Model.from_config(copy.get_config()).get_layer("last").activation is keras.activations.softmax


def test_models_that_are_called_twice_share_their_weights():
    image = keras.Input((8, 8, 3))
    relu = layers.ReLU(name="relu")
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(3, 1, name="conv"), relu])
    copy = check(keras.Model(image, inner(inner(relu(image)))))
    assert of(copy, layers.Conv2D) == ["conv"]
    assert len(copy.get_layer("conv")._inbound_nodes) == 2
    assert len(of(copy, layers.ReLU)) == 3, "layers without weights are not shared"


def test_simple_layers_compute_the_same():
    image = keras.Input((8, 8, 3))
    normalization = layers.Normalization(name="normalization")
    normalization.adapt(np.random.default_rng(0).uniform(0, 255, (8, 8, 8, 3)))
    x = normalization(image)
    x = layers.Normalization(mean=3.0, variance=4.0, invert=True, name="inverse")(x)
    x = layers.SeparableConv2D(8, 3, strides=2, depth_multiplier=2, activation="hard_silu", name="separable")(x)
    model = keras.Model(image, layers.Conv2D(4, 1, activation="elu", name="conv")(x))
    copy = flat_copy(with_drawn_weights(model), simple=True)
    np.testing.assert_allclose(copy(pixels(model), training=False), model(pixels(model), training=False), atol=1e-5)
    assert of(copy, layers.Rescaling) == ["normalization", "inverse"]
    assert of(copy, (layers.DepthwiseConv2D, layers.Conv2D)) == ["separable_depthwise", "separable", "conv"]
    assert copy.get_layer("conv_elu").activation is keras.activations.elu


def test_a_flat_model_takes_another_size():
    image = keras.Input(batch_shape=(1, None, None, 3), dtype="uint8")
    x = layers.Rescaling(1 / 255)(image)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(keras.Sequential([layers.Conv2D(4, 3)])(x)))
    copy = flat_copy(model, size=(8, 10))
    assert (copy.input_shape, copy.inputs[0].dtype) == ((None, 8, 10, 3), "float32")
    x = np.random.default_rng(0).integers(0, 256, (1, 8, 10, 3), np.uint8)
    np.testing.assert_allclose(copy(x.astype(np.float32)), model(x), atol=1e-6)


class Forgetful(layers.Layer):
    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units))

    def call(self, inputs):
        return inputs @ self.kernel

    def get_config(self):
        return super().get_config()


class Demanding(Forgetful):
    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Forgetful(5, name="mine"), r"mine, a Forgetful, cannot be copied: .* shapes \[\(3, 2\)\]. Rec.* \[\(3, 5\)\]"),
        (Demanding(5, name="mine"), r"mine, a Demanding, cannot be copied: .*units"),
    ],
)
def test_layers_that_cannot_be_copied_are_named(layer, message):
    image = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match=message):
        flat_copy(keras.Model(image, layer(image)))
