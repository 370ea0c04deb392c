import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from images import maps

from keras_inception import LocalResponseNormalization
from keras_inception.layers import CeilAveragePooling2D, ConstantScale, ZeroPaddingShortcut

shapes = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 24))


def exact(x, depth_radius, bias, alpha, beta):
    """Return the formula's result in float64."""
    x = x.astype(np.float64)
    sums = [(x[..., max(0, c - depth_radius) : c + depth_radius + 1] ** 2).sum(-1) for c in range(x.shape[-1])]
    return x / (bias + alpha * np.stack(sums, axis=-1)) ** beta


@given(
    shape=shapes,
    scale=st.sampled_from([1e-3, 1.0, 50.0, 1000.0]),
    depth_radius=st.integers(0, 7),
    bias=st.floats(0.5, 3.0),
    alpha=st.floats(1e-6, 1.0),
    beta=st.just(0.75) | st.floats(0.1, 1.0),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_lrn_equals_its_formula_and_tensorflows(shape, scale, depth_radius, bias, alpha, beta, seed):
    x = maps(shape, scale, seed)
    arguments = {"depth_radius": depth_radius, "bias": bias, "alpha": alpha, "beta": beta}
    y = LocalResponseNormalization(**arguments)(x)
    np.testing.assert_allclose(y, exact(x, **arguments), rtol=1e-6, atol=1e-30)
    # TensorFlow's power is off by 1.6e-6 where a sum is far above the bias.
    np.testing.assert_allclose(y, tf.nn.local_response_normalization(x, **arguments), rtol=3e-6, atol=1e-30)


@pytest.mark.parametrize("scale", [1.0, 40.0, 400.0])
def test_googlenets_lrn_equals_tensorflows(scale):
    x = maps((2, 14, 14, 192), scale)
    want = tf.nn.local_response_normalization(x, depth_radius=2, bias=1.0, alpha=2e-5, beta=0.75)
    np.testing.assert_allclose(LocalResponseNormalization()(x), want, rtol=1e-6)


def test_lrn_by_hand():
    x = np.array([1.0, 2.0, 3.0, 4.0], np.float32).reshape(1, 1, 1, 4)
    y = LocalResponseNormalization(depth_radius=1, bias=2.0, alpha=0.5, beta=1.0)(x)
    sums = np.array([1 + 4, 1 + 4 + 9, 4 + 9 + 16, 9 + 16])
    np.testing.assert_allclose(np.ravel(y), [1, 2, 3, 4] / (2 + 0.5 * sums), rtol=1e-6)


def test_lrn_of_zeros_is_zero():
    np.testing.assert_array_equal(LocalResponseNormalization()(np.zeros((1, 2, 2, 8))), np.zeros((1, 2, 2, 8)))


def test_lrn_is_restored_from_its_config():
    layer = LocalResponseNormalization(depth_radius=3, bias=2.0, alpha=0.1, beta=0.5, name="norm")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert isinstance(again, LocalResponseNormalization)
    assert again.get_config() == layer.get_config()
    x = maps((2, 3, 3, 9))
    np.testing.assert_array_equal(again(x), layer(x))


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_lrn_computes_in_float32_under_mixed_precision(dtype):
    layer = LocalResponseNormalization(alpha=1.0, dtype=dtype)
    x = keras.ops.cast(maps((1, 4, 4, 16), scale=300.0), layer.compute_dtype)  # their squares overflow float16
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    want = keras.ops.cast(LocalResponseNormalization(alpha=1.0)(keras.ops.cast(x, "float32")), layer.compute_dtype)
    np.testing.assert_array_equal(keras.ops.cast(y, "float32"), keras.ops.cast(want, "float32"))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (LocalResponseNormalization(name="layer"), (2, 5, 8, 4)),
        (ZeroPaddingShortcut(6, strides=2, name="layer"), (2, 3, 4, 6)),
        (CeilAveragePooling2D(name="layer"), (2, 2, 4, 4)),
    ],
)
def test_a_layer_accepts_maps_of_unknown_size_and_is_restored_with_its_model(layer, shape):
    inputs = keras.Input((None, None, 4))
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, None, shape[-1])
    again = keras.Model.from_config(model.get_config())
    assert again.get_layer("layer").get_config() == layer.get_config()
    x = maps((2, 5, 8, 4))
    assert again(x).shape == shape
    np.testing.assert_array_equal(again(x), model(x))


@pytest.mark.parametrize(
    ("argument", "match"),
    [
        ({"depth_radius": -1}, r"`depth_radius` must be 0 or more\. Received: depth_radius=-1"),
        ({"bias": 0}, r"`bias` must be positive\. Received: bias=0"),
        ({"bias": -1.0}, r"`bias` must be positive\. Received: bias=-1.0"),
    ],
)
def test_lrn_refuses_arguments_out_of_range(argument, match):
    with pytest.raises(ValueError, match=match):
        LocalResponseNormalization(**argument)


@given(shape=shapes, extra=st.integers(0, 9), strides=st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_the_zero_padding_shortcut_equals_its_definition(shape, extra, strides):
    x = maps(shape)
    layer = ZeroPaddingShortcut(shape[-1] + extra, strides)
    y = np.asarray(layer(x))
    want = x[:, ::strides, ::strides]
    np.testing.assert_array_equal(y[..., : shape[-1]], want)
    assert y.shape == (*want.shape[:3], shape[-1] + extra) == layer.compute_output_shape(shape)
    assert not y[..., shape[-1] :].any()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"filters": 3}, r"`filters` must be 4 or more, the channels of the input\. Received: 3"),
        ({"filters": 4, "strides": 0}, r"`strides` must be 1 or more\. Received: strides=0"),
    ],
)
def test_the_zero_padding_shortcut_refuses_arguments_out_of_range(arguments, match):
    with pytest.raises(ValueError, match=match):
        ZeroPaddingShortcut(**arguments)(maps((1, 2, 2, 4)))


@given(side=st.tuples(st.integers(4, 9), st.integers(4, 9)), size=st.integers(1, 4), strides=st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_ceil_pooling_averages_the_pixels_inside_the_map(side, size, strides):
    assume(strides <= size)
    x = maps((2, *side, 3))
    rows, columns = (-((size - n) // strides) + 1 for n in side)
    want = np.empty((2, rows, columns, 3))
    for row in range(rows):
        for column in range(columns):
            y, z = row * strides, column * strides
            want[:, row, column] = x[:, y : y + size, z : z + size].mean((1, 2))
    layer = CeilAveragePooling2D(size, strides)
    np.testing.assert_allclose(layer(x), want, rtol=1e-4, atol=1e-6)
    assert layer.compute_output_shape(x.shape) == want.shape


def test_ceil_pooling_equals_same_pooling_on_even_sides():
    x = maps((2, 8, 6, 4))
    np.testing.assert_allclose(CeilAveragePooling2D()(x), tf.nn.avg_pool2d(x, 3, 2, "SAME"), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("strides", [0, 4])
def test_ceil_pooling_refuses_strides_that_skip_pixels(strides):
    with pytest.raises(ValueError, match=rf"`strides` must be from 1 to `pool_size`, 3\. Received: strides={strides}"):
        CeilAveragePooling2D(3, strides)


def test_a_constant_scale_multiplies_and_keeps_its_registered_name():
    layer = ConstantScale([[0.0, 0.5], [1.25, 1.0]])
    x = maps((2, 2, 2, 3))
    np.testing.assert_allclose(layer(x), x * np.array([[0.0, 0.5], [1.25, 1.0]])[:, :, None], rtol=1e-6)
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == "keras_inception>FixedMap"
    again = keras.saving.deserialize_keras_object({**config, "class_name": "FixedMap"})
    np.testing.assert_array_equal(again(x), layer(x))
