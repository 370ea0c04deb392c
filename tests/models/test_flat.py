"""The network to export: nested models become layers, and what is only for training is left out."""

import keras
import numpy as np
import pytest
from keras import layers
from networks import with_drawn_weights

from keras_inception.models.flat import flat, parting, precision
from keras_inception.models.inference import inference_model

X = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3)).astype(np.float32)


def body(name="body"):
    image = keras.Input((None, None, 3))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(image))
    return keras.Model(image, layers.ReLU(name="relu")(x), name=name)


def nested():
    """Augmentation, normalization with statistics, and two bodies with the same layer names."""
    normalization = layers.Normalization(name="normalization")
    normalization.adapt(X)
    image = keras.Input((16, 16, 3))
    x = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.2)], name="augmentation")(image)
    x = keras.Sequential([keras.Input((16, 16, 3)), normalization, body("first")])(x)
    x = layers.Concatenate()([body("second")(layers.Conv2D(3, 1, name="between")(x), training=False), x[:, 1:-1, 1:-1]])
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x))
    return with_drawn_weights(keras.Model(image, layers.Dense(4, name="last")(x), name="nested"))


def test_nested_models_become_layers_that_share_their_weights():
    model = nested()
    plain = flat(model)
    np.testing.assert_allclose(plain(X, training=False), model(X, training=False), atol=1e-5)
    names = [layer.name for layer in plain.layers]
    assert {"conv", "second_conv", "normalization", "last"} <= set(names)
    assert len(set(names)) == len(names)
    kinds = {type(layer) for layer in plain.layers}
    assert not kinds & {layers.Dropout, layers.RandomFlip, layers.RandomRotation, keras.Sequential, keras.Model}
    model.get_layer("last").bias.assign_add(np.ones(4))
    np.testing.assert_allclose(plain(X, training=False), model(X, training=False), atol=1e-5)


def test_the_given_model_is_not_modified(tmp_path):
    model = nested()
    before = model.get_config(), [layer.name for layer in model._flatten_layers()]
    flat(model)
    assert (model.get_config(), [layer.name for layer in model._flatten_layers()]) == before
    model.save(tmp_path / "model.keras")
    opened = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(opened(X, training=False), model(X, training=False), atol=1e-5)


@pytest.mark.parametrize("kind", [layers.AugMix, layers.CutMix, layers.MixUp, layers.RandAugment])
def test_augmentation_of_any_name_is_left_out(kind):
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(layers.GaussianNoise(1.0)(kind()(image)))))
    plain = flat(model)
    assert [type(each) for each in plain.layers] == [layers.InputLayer, layers.Flatten, layers.Dense]
    np.testing.assert_allclose(plain(X, training=False), model(X, training=False), rtol=1e-5)


def test_a_flat_model_is_returned_itself():
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(image)))
    assert flat(model) is model


def test_the_size_of_the_images_is_fixed_and_that_of_the_batch_is_not():
    image = keras.Input(batch_shape=(1, None, None, 3))
    model = keras.Model(image, layers.GlobalAveragePooling2D()(body()(image)))
    plain = flat(model, (16, 16, 3))
    assert plain.input_shape == (None, 16, 16, 3)
    np.testing.assert_allclose(plain(X), np.concatenate([model(x[None]) for x in X]), atol=1e-5)


def test_integers_become_floats():
    image = keras.Input((16, 16, 3), dtype="uint8")
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(layers.Rescaling(1 / 255)(image))))
    pixels = X.astype(np.uint8)
    np.testing.assert_allclose(flat(model)(pixels.astype(np.float32)), model(pixels), atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_becomes_float32(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = nested()
    finally:
        keras.config.set_dtype_policy("float32")
    assert precision(model) == policy.removeprefix("mixed_")
    plain = flat(model)
    assert precision(plain) == "float32"
    outputs = np.asarray(model(X, training=False), np.float32)
    np.testing.assert_allclose(plain(X, training=False), outputs, atol=0.05 * np.abs(outputs).max())


def test_a_size_that_a_layer_cannot_work_with_is_refused():
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, layers.Dense(2, name="last")(layers.Flatten()(image)))
    with pytest.raises(ValueError, match=r"`model` must work with images of \(8, 8, 3\)"):
        flat(model, (8, 8, 3))


def test_the_first_layer_that_differs_is_named():
    model = nested()
    plain = flat(model)
    assert parting(model, plain, X, 1e-4) is None
    other = inference_model(plain)
    other.get_layer("between").kernel.assign_add(np.ones((1, 1, 4, 3)))
    assert parting(plain, other, X, 1e-4) == "between (Conv2D)"


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (keras.Sequential([layers.Dense(2)]), r"not built: call its build\(\(None, height, width, channels\)\)"),
        (type("Own", (keras.Model,), {})(), r"Received: Own, a subclass: call it on a keras\.Input"),
        ("model.keras", "must be a functional Keras model. Received: str"),
    ],
)
def test_other_models_are_refused(model, says):
    with pytest.raises(ValueError, match=says):
        flat(model)
