import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_inception.models import blocks, googlenet

sides = st.integers(7, 16)


def feature_map(*shape):
    return np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)


def windows(x, size, stride):
    """Return the windows of a map (height, width, channels): (rows, columns, channels, size, size)."""
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))[::stride, ::stride]


def reference_conv(x, kernel, stride):
    """Apply a convolution and ReLU, zero-padded on every side like torch's ``padding=size // 2``."""
    size = kernel.shape[0]
    x = np.pad(x, [(size // 2, size // 2)] * 2 + [(0, 0)])
    return np.maximum(np.einsum("yxcij,ijcf->yxf", windows(x, size, stride), kernel), 0)


def reference_ceil_pool(x, size, stride):
    """Max-pool as ceil mode is defined: windows start at the first pixel and are clipped at the edge."""
    rows, columns = (-((side - size) // -stride) + 1 for side in x.shape[:2])
    pooled = [
        [x[i * stride : i * stride + size, j * stride : j * stride + size].max((0, 1)) for j in range(columns)]
        for i in range(rows)
    ]
    return np.array(pooled)


def reference_adaptive_average(x, count):
    """Average-pool to count × count: window i runs from floor(i n / count) to ceil((i + 1) n / count)."""

    def bounds(n):
        return [(i * n // count, -((i + 1) * n // -count)) for i in range(count)]

    height, width = x.shape[:2]
    return np.array([[x[a:b, c:d].mean((0, 1)) for c, d in bounds(width)] for a, b in bounds(height)])


def model_of(block, shape, **arguments):
    inputs = keras.Input(shape)
    return keras.Model(inputs, block(inputs, **arguments))


@given(
    height=sides, width=sides, size=st.sampled_from([1, 3, 5, 7]), strides=st.sampled_from([1, 2]), known=st.booleans()
)
@settings(max_examples=40)
def test_symmetric_convolution_equals_torchs(height, width, size, strides, known):
    shape = (height, width, 3) if known else (None, None, 3)
    model = model_of(blocks.conv, shape, filters=4, size=size, strides=strides, padding="symmetric", name="conv")
    kernel, _ = model.get_weights()
    x = feature_map(height, width, 3)
    want = reference_conv(x[0], kernel, strides)
    assert model(x).shape[1:] == want.shape
    np.testing.assert_allclose(model(x)[0], want, rtol=1e-4, atol=1e-5)


@given(height=sides, width=sides, size=st.sampled_from([2, 3]), known=st.booleans())
@settings(max_examples=40)
def test_ceil_pooling_equals_torchs(height, width, size, known):
    shape = (height, width, 3) if known else (None, None, 3)
    model = model_of(blocks.max_pool, shape, size=size, padding="ceil", name="pool")
    x = np.abs(feature_map(height, width, 3))
    np.testing.assert_array_equal(model(x)[0], reference_ceil_pool(x[0], size, 2))


def test_same_pooling_of_an_odd_map_starts_a_pixel_earlier_than_ceil_pooling():
    x = np.abs(feature_map(7, 7, 1))
    same, ceil = (model_of(blocks.max_pool, (7, 7, 1), padding=padding, name="pool")(x) for padding in ("same", "ceil"))
    assert same.shape == (1, 4, 4, 1)
    assert ceil.shape == (1, 3, 3, 1)
    assert same[0, 0, 0, 0] == x[0, :2, :2].max()
    assert ceil[0, 0, 0, 0] == x[0, :3, :3].max()


def test_batch_norm_replaces_the_bias():
    plain = model_of(blocks.conv, (8, 8, 3), filters=4, size=3, name="conv")
    normed = model_of(blocks.conv, (8, 8, 3), filters=4, size=3, batch_norm=blocks.BatchNorm(), name="conv")
    assert [layer.name for layer in plain.layers[1:]] == ["conv", "conv_relu"]
    assert [layer.name for layer in normed.layers[1:]] == ["conv", "conv_bn", "conv_relu"]
    assert plain.get_layer("conv").use_bias
    assert not normed.get_layer("conv").use_bias
    assert normed.get_layer("conv_bn").epsilon == 1e-3


def test_a_branch_reduces_and_then_convolves():
    assert blocks.reduced("3x3", 64, (96, 3)) == [blocks.Conv("3x3_reduce", 64), blocks.Conv("3x3", 96, 3)]
    assert blocks.reduced("7x7", 64, (80, (1, 7)), (96, (7, 1)), strides=2, padding="valid") == [
        blocks.Conv("7x7_reduce", 64),
        blocks.Conv("7x7_1", 80, (1, 7)),
        blocks.Conv("7x7_2", 96, (7, 1), 2, "valid"),
    ]


def test_a_grid_reduction_halves_the_map_and_passes_its_input_on():
    branches = blocks.grid_reduction(2, 3, 4, 5)
    model = model_of(blocks.module, (35, 9, 6), branches=branches, conv_block=blocks.conv, name="mixed_6a")
    assert model.output_shape == (None, 17, 4, 5 + 4 + 6)
    filters = {layer.name: layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)}
    places = {"3x3": 5, "double_3x3_reduce": 2, "double_3x3_1": 3, "double_3x3_2": 4}
    assert filters == {f"mixed_6a_{name}": count for name, count in places.items()}


FILTERS = googlenet.Filters(one=1, three_reduce=7, three=2, five_reduce=8, five=3, pool=4)


@pytest.mark.parametrize(
    ("module", "channels", "order"),
    [
        (googlenet.inception, 1 + 2 + 3 + 4, ["1x1_relu", "3x3_relu", "5x5_relu", "pool_proj_relu"]),
        (googlenet.inception_naive, 1 + 2 + 3 + 5, ["1x1_relu", "3x3_relu", "5x5_relu", "pool"]),
    ],
)
@pytest.mark.parametrize("five_kernel", [3, 5])
def test_a_module_concatenates_its_branches_in_the_papers_order(module, channels, order, five_kernel):
    branches = module(FILTERS, five_kernel)
    model = model_of(blocks.module, (6, 5, 5), branches=branches, conv_block=blocks.conv, name="inception_3a")
    assert model.output_shape == (None, 6, 5, channels)
    assert model.get_layer("inception_3a_5x5").kernel_size == (five_kernel, five_kernel)
    ends = keras.Model(model.input, [model.get_layer(f"inception_3a_{name}").output for name in order])
    x = feature_map(6, 5, 5)
    np.testing.assert_allclose(model(x), np.concatenate(ends(x), axis=-1), rtol=1e-5)


@pytest.mark.parametrize("shape", [(14, 14, 2), (12, 17, 2), (3, 2, 2), (1, 3, 2), (1, 1, 2)])
def test_an_adaptive_head_pools_to_four_by_four(shape):
    model = model_of(
        googlenet.auxiliary_head, shape, classes=3, conv_block=blocks.conv, adaptive=True, activation=None, name="aux"
    )
    x = feature_map(*shape)
    pooled = keras.Model(model.input, model.get_layer("aux_pool").output).predict(x, verbose=0)  # in a graph
    np.testing.assert_allclose(pooled[0], reference_adaptive_average(x[0], 4), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("side", "pooled"), [(14, 4), (13, 3), (8, 2), (5, 1), (4, 1), (1, 1)])
def test_a_head_pools_a_small_map_whole(side, pooled):
    model = model_of(
        googlenet.auxiliary_head, (side, side, 2), classes=3, conv_block=blocks.conv, activation="softmax", name="aux"
    )
    assert model.get_layer("aux_pool").output.shape == (None, pooled, pooled, 2)
    assert model.get_layer("aux_dropout").rate == 0.7
    x = feature_map(side, side, 2)
    first = keras.Model(model.input, model.get_layer("aux_pool").output)(x)[0, 0, 0]
    np.testing.assert_allclose(first, x[0, :5, :5].mean((0, 1)), rtol=1e-5, atol=1e-6)


def test_a_classifier_is_float32_under_mixed_precision():
    inputs = keras.Input((8,), dtype="bfloat16")
    output = blocks.classifier(inputs, 3, dropout=0.4, activation="softmax", name="predictions")
    assert output.dtype == "float32"
    assert output.shape == (None, 3)
