"""Keras 3 to tf_keras and back: the same layers and the same outputs."""

import keras
import numpy as np
import pytest
import tf_keras
from keras import layers
from networks import in_full_but, transfer_model, with_drawn_weights

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


def caffe(x):
    return keras.applications.resnet50.preprocess_input(x)


class Scaled(keras.layers.Layer):
    def build(self, input_shape):
        self.factor = self.add_weight(shape=(), initializer="ones")

    def call(self, inputs):
        return inputs * self.factor


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (Scaled(name="own"), "own cannot be converted to tf_keras, which has no Scaled"),
        (layers.Lambda(lambda x: x * 2, name="own"), "own cannot be converted to tf_keras: it is a Lambda"),
        (layers.Conv2D(2, 1, activation="hard_sigmoid", name="own"), "own cannot .* no such activation: use a layer"),
        (
            layers.TimeDistributed(layers.Dense(2), name="own"),
            "own, a TimeDistributed, cannot be converted to tf_keras",
        ),
    ],
    ids=["own weights", "lambda", "another activation", "a layer inside"],
)
def test_layers_that_cannot_be_converted_are_named(end, message):
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, layers.Flatten()(end(layers.ReLU()(image))))
    with pytest.raises(ValueError, match=message):
        bridge.to_tf_keras(model)


APPLICATIONS = {
    "MobileNetV2": keras.applications.mobilenet_v2,
    "MobileNetV3Small": None,
    "EfficientNetB0": None,
    "ResNet50V2": keras.applications.resnet_v2,
    "ResNet50": keras.applications.resnet50,
    "DenseNet121": keras.applications.densenet,
    "Xception": keras.applications.xception,
}


def draw_statistics(model):
    """Draw the statistics of all batch norms and `Normalization` layers, in nested models too."""
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, layers.Normalization):
            layer.set_weights([np.array([110.0, 120.0, 90.0]), np.array([3000.0, 4000.0, 5000.0]), np.array(1)])
            layer.finalize_state()
        elif isinstance(layer, layers.BatchNormalization):
            with_drawn_weights(keras.Sequential([layer]))


@pytest.mark.full
@pytest.mark.parametrize("name", APPLICATIONS)
def test_transfer_models_are_converted_there_and_back(name):
    side = 72 if name == "Xception" else 32
    body = getattr(keras.applications, name)(input_shape=(side, side, 3), weights=None, include_top=False)
    draw_statistics(body)
    x = image = keras.Input((side, side, 3))
    x = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)])(x)
    x = APPLICATIONS[name].preprocess_input(x) if APPLICATIONS[name] else x
    x = layers.GlobalAveragePooling2D()(body(x, training=False))
    model = keras.Model(image, layers.Dense(4, activation="softmax")(x))
    pixels = np.random.default_rng(0).uniform(0, 255, (2, side, side, 3)).astype(np.float32)
    there = bridge.to_tf_keras(model)
    models = (model, there, bridge.to_keras(there))
    expected, theirs, again = (np.asarray(each(pixels, training=False)) for each in models)
    assert expected.std() > 0.01
    np.testing.assert_allclose(theirs, expected, atol=1e-5)
    np.testing.assert_allclose(again, expected, atol=1e-5)


@pytest.mark.parametrize("preprocess", [None, keras.applications.mobilenet.preprocess_input, caffe])
def test_small_transfer_models_are_converted_there_and_back(preprocess):
    model = transfer_model(16, 3, preprocess)
    x = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)
    there, expected = bridge.to_tf_keras(model), model(x, training=False)  # augmentation is on by default
    np.testing.assert_allclose(there(x), expected, atol=1e-5)
    np.testing.assert_allclose(bridge.to_keras(there)(x), expected, atol=1e-5)
    restored = tf_keras.Model.from_config(there.get_config())  # as tensorflow-model-optimization does
    restored.set_weights(there.get_weights())
    np.testing.assert_allclose(restored(x), expected, atol=1e-5)


def test_statistics_of_a_body_called_for_inference_stay_as_they_are():
    model = transfer_model(16, 3)
    there = bridge.to_tf_keras(model)
    before = there.get_layer("stem_bn").moving_mean.numpy()
    there(np.ones((2, 16, 16, 3), np.float32), training=True)
    np.testing.assert_array_equal(there.get_layer("stem_bn").moving_mean, before)


def test_activations_that_differ_are_those_of_keras():
    image = keras.Input((6,))
    ends = [layers.Activation(name)(image) for name in ("hard_sigmoid", "hard_silu", "relu6", "silu", "leaky_relu")]
    model = keras.Model(image, layers.Concatenate()(ends))
    x = np.linspace(-8, 8, 12).reshape(2, 6).astype(np.float32)
    there = bridge.to_tf_keras(model)
    np.testing.assert_allclose(there(x), model(x), atol=1e-6)
    np.testing.assert_allclose(bridge.to_keras(there)(x), model(x), atol=1e-6)


def test_attention_and_layers_without_weights_are_converted():
    image = keras.Input((8, 8, 3))
    x = layers.Resizing(6, 6)(image)  # takes other arguments in tf_keras
    x = layers.LayerNormalization()(layers.Reshape((36, 3))(x))
    x = layers.MultiHeadAttention(2, 4)(x, x)
    check(with_drawn_weights(keras.Model(image, x)))


def test_normalization_keeps_its_mean_and_variance():
    image = keras.Input((4, 4, 3))
    adapted = layers.Normalization()
    adapted.adapt(np.random.default_rng(0).uniform(0, 255, (9, 4, 4, 3)))
    given = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0])
    scaled = layers.Rescaling(np.array([1.0, 2.0, 3.0]), [0.1, 0.2, 0.3])
    check(keras.Model(image, scaled(given(adapted(image)))))


def test_models_must_be_functional():
    with pytest.raises(ValueError, match=r"functional Keras model\. Received: str"):
        bridge.to_tf_keras("model")
    with pytest.raises(ValueError, match="functional tf_keras model"):
        bridge.to_keras(keras.Sequential([layers.Dense(2)]))
