import keras
import numpy as np
import pytest
from keras import layers
from model_helpers import image

from keras_inception import GoogLeNet, LocalResponseNormalization, inference_model
from keras_inception.models.inference import output_names, without_heads


def small_classifier():
    """A functional network inside another one, as in fine-tuning."""
    body_input = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(body_input)
    body = keras.Model(body_input, LocalResponseNormalization(alpha=1.0, name="norm")(x), name="body")
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(body(inputs))
    x = layers.Dropout(0.5)(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="answer")(x))


def policies(model):
    """Return the dtype policies of all layers that compute, including those of nested networks."""
    idle = (keras.Model, layers.InputLayer)
    return {layer.dtype_policy.name for layer in model._flatten_layers() if not isinstance(layer, idle)}


@pytest.fixture(scope="module")
def googlenet():
    return GoogLeNet(auxiliary=True, input_shape=(32, 32, 3), classes=5)


def test_heads_are_removed(googlenet):
    model = inference_model(googlenet)
    assert model.output_shape == (None, 5)
    assert model.name == "googlenet"
    assert not [layer.name for layer in model.layers if layer.name.startswith("aux")]
    np.testing.assert_array_equal(model(image(32, 32, batch=4)), googlenet(image(32, 32, batch=4))["predictions"])


def test_the_copy_has_weights_of_its_own():
    model = small_classifier()
    copy = inference_model(model)
    before = model.get_weights()
    copy.set_weights([weight + 1 for weight in copy.get_weights()])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_without_heads_shares_the_weights(googlenet):
    trunk = without_heads(googlenet)
    assert trunk.get_layer("conv1") is googlenet.get_layer("conv1")
    assert trunk.output_shape == (None, 5)


def test_every_output_has_a_name_of_its_own():
    image = keras.Input((4, 4, 3))
    x = layers.GlobalAveragePooling2D()(image)
    one, two, shared = (layers.Dense(3, name=name) for name in ("one", "two", "shared"))
    assert list(output_names(keras.Model(image, [one(x), shared(x), shared(x + 1)]))) == ["one", "shared_1", "shared_2"]
    inner = keras.Model(image, [one(x), two(x)], name="inner")
    outer = keras.Input((4, 4, 3))
    assert list(output_names(keras.Model(outer, inner(outer)))) == ["one", "two"]
    assert list(output_names(keras.Model(image, {"a": one(x), "b": [two(x), shared(x)]}))) == ["a", "b/0", "b/1"]
    pixels = np.random.default_rng(0).normal(size=(1, 4, 4, 3))
    chosen = without_heads(keras.Model(outer, inner(outer)), "two")
    np.testing.assert_allclose(chosen(pixels), inner(pixels)[1], atol=1e-6)


def test_a_mixed_precision_googlenet_becomes_float32(mixed_bfloat16):
    mixed = GoogLeNet(auxiliary=True, input_shape=(32, 32, 3), classes=5)
    assert "mixed_bfloat16" in policies(mixed)
    model = inference_model(mixed)
    assert policies(model) == {"float32"}
    want = mixed(image(32, 32, batch=4))["predictions"]
    np.testing.assert_allclose(model(image(32, 32, batch=4)), want, atol=0.02)
    assert np.asarray(model(image(32, 32, batch=4))).dtype == np.float32


def test_layers_inside_layers_become_float32_too(mixed_bfloat16):
    mixed = small_classifier()
    model = inference_model(mixed)
    assert policies(model) == {"float32"}
    np.testing.assert_allclose(
        model(image(8, 8, batch=4)), keras.ops.cast(mixed(image(8, 8, batch=4)), "float32"), atol=0.02
    )


def test_any_functional_classifier_is_accepted():
    model = small_classifier()
    np.testing.assert_array_equal(inference_model(model)(image(8, 8, batch=4)), model(image(8, 8, batch=4)))


def test_a_sequential_classifier_is_accepted():
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)])
    np.testing.assert_array_equal(inference_model(model)(image(8, 8, batch=4)), model(image(8, 8, batch=4)))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs)


def two_outputs(wrap):
    inputs = keras.Input((4,))
    return keras.Model(inputs, wrap(layers.Dense(2)(inputs), layers.Dense(3)(inputs)))


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (Subclassed, r"`model` must be a functional Keras model\. Received: Subclassed"),
        (lambda: keras.Sequential([layers.Dense(3)]), r"must be a functional Keras model\. Received: Sequential"),
        (lambda: "model.keras", r"must be a functional Keras model\. Received: str"),
        (
            lambda: two_outputs(lambda a, b: [a, b]),
            r"`output_name` must name one of the outputs of .*, dense\S*, dense",
        ),
        (
            lambda: two_outputs(lambda a, b: {"a": a, "b": b}),
            r"`output_name` must .*, a, b, of which none is called pred",
        ),
    ],
    ids=["subclassed", "unbuilt", "no model", "list", "dict"],
)
def test_a_model_without_one_clear_output_is_refused(model, match):
    with pytest.raises(ValueError, match=match):
        inference_model(model())
