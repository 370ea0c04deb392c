"""Keras 3 to tf_keras and back: the same layers and the same outputs."""

import keras
import numpy as np
import pytest
from keras import layers
from networks import in_full_but, with_drawn_weights

from keras_inception import registry
from keras_inception.compression import tf_keras_bridge as bridge

NETWORKS = {
    "googlenet": {"input_shape": (64, 64, 3), "auxiliary": True},
    "inception_v3": {"input_shape": (80, 80, 3), "auxiliary": True},
    "bn_inception": {"input_shape": (64, 64, 3)},
    "resnet34": {"input_shape": (32, 32, 3), "shortcut": "A"},
    "network_in_network": {"input_shape": (64, 64, 3)},
}


def check(model):
    """Assert that conversion there and back preserves structure, weights and outputs."""
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype(np.float32)
    there = bridge.to_tf_keras(model)
    back = bridge.to_keras(there)
    expected = model(x, training=False)
    keras.tree.assert_same_structure(model.output, there.output)
    keras.tree.assert_same_structure(model.output, back.output)
    for ours, theirs, again in zip(
        *map(keras.tree.flatten, (expected, there(x, training=False), back(x))), strict=True
    ):
        close = 1e-5 * np.abs(ours).max()  # threads sum in varying order
        np.testing.assert_allclose(theirs, ours, atol=close)
        np.testing.assert_allclose(again, ours, atol=close)
    assert [layer.name for layer in back.layers] == [layer.name for layer in model.layers]
    for weight, other in zip(model.get_weights(), back.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.parametrize("name", in_full_but({"googlenet", "network_in_network"}, NETWORKS))
def test_networks_are_converted_there_and_back(name):
    check(with_drawn_weights(registry.create(name, classes=4, classifier_activation=None, **NETWORKS[name])))


def test_layer_arguments_are_converted():
    image = keras.Input((9, 9, 3))
    x = layers.Rescaling(2.0, 0.5)(image)  # exists in both
    x = layers.Conv2D(4, 3, dilation_rate=2, padding="same", activation="elu", kernel_regularizer="l2", name="first")(x)
    x = layers.LeakyReLU(negative_slope=0.05, name="leaky")(x)
    x = layers.SeparableConv2D(6, 3, strides=2, depth_multiplier=2)(x)
    x = layers.BatchNormalization(momentum=0.7, epsilon=0.01, scale=False)(x)
    x = layers.ZeroPadding2D(((0, 1), (2, 0)))(x)
    shared = layers.Conv2D(6, 1, name="shared")
    x = layers.Add()([shared(x), shared(layers.ReLU(max_value=1.0)(x))])
    x = layers.AdaptiveAveragePooling2D(2)(x)  # exists in Keras 3 only
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(x)))
    check(with_drawn_weights(model))
    there = bridge.to_tf_keras(model)
    assert there.get_layer("leaky").alpha == pytest.approx(0.05)
    assert there.get_layer("first").kernel_regularizer is not None


def test_a_nested_model_becomes_its_layers():
    inner = registry.create("googlenet", include_top=False, input_shape=(32, 32, 3), pooling="avg")
    image = keras.Input((32, 32, 3))
    model = keras.Model(image, layers.Dense(3)(inner(image, training=False)))
    x = np.ones((1, 32, 32, 3), np.float32)
    np.testing.assert_allclose(bridge.to_tf_keras(model)(x), model(x), atol=1e-6)


class Scaled(keras.layers.Layer):
    def build(self, input_shape):
        self.factor = self.add_weight(shape=(), initializer="ones")

    def call(self, inputs):
        return inputs * self.factor


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda x: x * 2, r"multiply is an operation, Multiply, and only layers can be converted"),
        (Scaled(name="own"), "own cannot be converted to tf_keras, which has no Scaled"),
    ],
    ids=["operation", "own weights"],
)
def test_layers_that_cannot_be_converted_are_named(end, message):
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, layers.Flatten()(end(layers.ReLU()(image))))
    with pytest.raises(ValueError, match=message):
        bridge.to_tf_keras(model)


def test_models_must_be_functional():
    with pytest.raises(ValueError, match=r"functional Keras model\. Received: str"):
        bridge.to_tf_keras("model")
    with pytest.raises(ValueError, match="functional tf_keras model"):
        bridge.to_keras(keras.Sequential([layers.Dense(2)]))
