"""Rewrites do not change the outputs of a network."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import in_full_but, with_drawn_weights

from keras_inception import LocalResponseNormalization, registry
from keras_inception.exporting import rewrites
from keras_inception.exporting.variants import INT8_REWRITES, VARIANTS

# Sizes at which strides and poolings treat the borders differently.
NETWORKS = {
    "googlenet": {"input_shape": (75, 64, 3), "normalization": "batch_norm"},
    "inception_v3": {"input_shape": (96, 107, 3)},
    "bn_inception": {"input_shape": (64, 64, 3)},
    "resnet34": {"input_shape": (63, 64, 3)},
    "alexnet": {"input_shape": (101, 96, 3)},
    "vgg16": {"input_shape": (32, 32, 3)},
}
CHANGED = {
    "googlenet": {"space_to_depth_stem"},
    "inception_v3": {"pool_after_projection", "average_pool_as_convolution"},
    "bn_inception": set(INT8_REWRITES),
    "resnet34": {"space_to_depth_stem"},
    "alexnet": {"space_to_depth_stem"},
    "vgg16": set(),
}


def same(model, other):
    """Assert that two models give the same outputs."""
    x = np.random.default_rng(1).normal(size=(2, *model.input_shape[1:])).astype(np.float32)
    expected = np.asarray(model(x, training=False))
    np.testing.assert_allclose(other(x, training=False), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", in_full_but({"googlenet"}, NETWORKS))
def test_a_rewritten_network_gives_the_same_outputs(name):
    model = with_drawn_weights(registry.create(name, classes=4, classifier_activation=None, **NETWORKS[name]))
    changed = set()
    for key, function in rewrites.REWRITES.items():
        rewritten = function(model)
        if rewritten is not model:
            changed.add(key)
            same(model, rewritten)
    assert changed == CHANGED[name]
    same(model, rewrites.rewrite(model))
    same(model, rewrites.fold_batch_norm(model))


@settings(max_examples=20)
@given(
    sides=st.tuples(st.integers(12, 20), st.integers(12, 20)),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    stride=st.integers(2, 4),
    padding=st.sampled_from(["same", "valid", ((1, 2), (3, 0)), ((3, 3), (3, 3))]),
)
def test_any_strided_convolution_of_an_image(sides, size, stride, padding):
    import keras

    image = x = keras.Input((*sides, 3))
    if isinstance(padding, tuple):
        x, padding = keras.layers.ZeroPadding2D(padding)(x), "valid"
    x = keras.layers.Conv2D(2, size, strides=stride, padding=padding, activation="relu")(x)
    model = keras.Model(image, x)
    with mock.patch.object(rewrites, "FEWER_PLACES", 0):
        rewritten = rewrites.space_to_depth_stem(model)
    assert rewritten is not model
    same(model, rewritten)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "pays"), [(3, False), (5, True), (7, True)])
def test_a_small_kernel_is_left_alone(size, pays, padding):
    import keras

    image = keras.Input((16, 16, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, size, strides=2, padding=padding)(image))
    assert (rewrites.space_to_depth_stem(model) is not model) == pays


@pytest.mark.parametrize("padding", ["same", "valid", "zeros"])
@pytest.mark.parametrize("size", [2, 3, (5, 3)])
def test_any_average_pooling(padding, size):
    import keras

    image = x = keras.Input((9, 8, 6))
    if padding == "zeros":
        x, padding = keras.layers.ZeroPadding2D(1)(x), "valid"
    x = keras.layers.AveragePooling2D(size, strides=1, padding=padding)(x)
    x = keras.layers.Conv2D(4, 1)(x)
    model = with_drawn_weights(keras.Model(image, keras.layers.ReLU()(x)))
    for function in (rewrites.pool_after_projection, rewrites.average_pool_as_convolution, rewrites.rewrite):
        same(model, function(model))
    assert not any(type(layer) is keras.layers.AveragePooling2D for layer in rewrites.rewrite(model).layers)


def pooling_model():
    import keras

    image = keras.Input((9, 8, 3))
    x = keras.layers.AveragePooling2D(3, strides=1, padding="same")(keras.layers.Conv2D(6, 1)(image))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 1)(x))
    return with_drawn_weights(keras.Model(image, keras.layers.Softmax()(x)))


def pools(model):
    return [layer for layer in model.layers if type(layer).__name__ == "AveragePooling2D"]


def test_each_variant_gets_its_own_rewrites(tiny_model):
    model = pooling_model()
    models = rewrites.for_variants(model, VARIANTS.values())
    assert models["float32"] is models["float16"] is models["dynamic"]
    assert pools(models["float32"])
    assert not pools(models["int8"])
    same(model, models["float32"])
    same(model, models["int8"])
    assert (
        len(set(rewrites.for_variants(tiny_model, VARIANTS.values()).values())) == 1
    )  # no rewrite applies: one SavedModel


def in_half_precision(x, layer):
    """Compute a local response normalization as ARM's kernels do in half precision: subnormals are zero."""

    def half(values):
        rounded = values.astype(np.float16)
        return np.where(np.abs(rounded) < np.finfo(np.float16).tiny, np.float16(0), rounded)

    band = half(layer._band[0, 0])
    with np.errstate(over="ignore", invalid="ignore"):
        squares = half(half(half(x) * np.float16(layer.input_scale)) ** 2)
        sums = np.zeros_like(squares)
        for channel in range(x.shape[-1]):  # rounded after each addition
            sums = half(sums + half(squares[..., channel : channel + 1] * band[channel]))
        total = half(sums + np.float16(layer.bias))
        return half(half(x) * half(half(np.sqrt(half(np.sqrt(total)))) / total)).astype(np.float64)


@pytest.mark.parametrize("largest", [100, 300, 900])
def test_lrn_holds_in_half_precision_after_its_rewrite(largest):
    import keras

    image = keras.Input((4, 4, 32))
    model = keras.Model(image, LocalResponseNormalization(name="norm")(image))
    rewritten = rewrites.lrn_for_half_precision(model)
    x = np.random.default_rng(0).uniform(0, largest, (2, 4, 4, 32)).astype(np.float32)
    expected = np.asarray(model(x))
    np.testing.assert_array_equal(rewritten(x), expected)  # a power of two changes no digit
    np.testing.assert_allclose(in_half_precision(x, rewritten.get_layer("norm")), expected, rtol=0.01)
    assert not np.allclose(in_half_precision(x, model.get_layer("norm")), expected, rtol=0.01), "alpha is zero"


def test_int8_files_keep_their_lrn():
    assert "lrn_for_half_precision" not in VARIANTS["int8"].rewrites
    assert all("lrn_for_half_precision" in VARIANTS[name].rewrites for name in ("float32", "float16", "dynamic"))


def test_requested_rewrites_apply_to_every_variant():
    (asked,) = set(rewrites.for_variants(pooling_model(), VARIANTS.values(), ["average_pool_as_convolution"]).values())
    assert not pools(asked)


def test_a_tensor_with_two_readers_is_left_alone():
    import keras

    image = keras.Input((8, 8, 16))
    pooled = keras.layers.AveragePooling2D(3, strides=1, padding="same")(image)
    narrow, wide = keras.layers.Conv2D(4, 1)(pooled), keras.layers.Conv2D(32, 1)(pooled)
    model = keras.Model(image, keras.layers.Concatenate()([narrow, wide]))
    assert rewrites.pool_after_projection(model) is model


def test_an_unknown_name_is_refused(tiny_model):
    message = r"`rewrites` must be a list of some of space_to_depth_stem, .*Did you mean space_to_depth_stem\?"
    with pytest.raises(ValueError, match=message):
        rewrites.for_variants(tiny_model, VARIANTS.values(), ["space_to_dept_stem"])
    assert set(rewrites.for_variants(tiny_model, VARIANTS.values(), []).values()) == {tiny_model}
