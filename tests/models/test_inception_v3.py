import keras
import numpy as np
import pytest
from keras import layers
from model_helpers import image, macs, trainable
from networks import in_full_but

from keras_inception import InceptionV2, InceptionV3
from keras_inception.utils.names import bare

SMALL = {"input_shape": (75, 75, 3), "classes": 5}
STAGES = {
    "conv2d_1a": (149, 149, 32),
    "conv2d_2a": (147, 147, 32),
    "conv2d_2b": (147, 147, 64),
    "maxpool_3a": (73, 73, 64),
    "conv2d_3b": (73, 73, 80),
    "conv2d_4a": (71, 71, 192),
    "maxpool_5a": (35, 35, 192),
    "mixed_5b": (35, 35, 256),
    "mixed_5c": (35, 35, 288),
    "mixed_5d": (35, 35, 288),
    "mixed_6a": (17, 17, 768),
    "mixed_6b": (17, 17, 768),
    "mixed_6c": (17, 17, 768),
    "mixed_6d": (17, 17, 768),
    "mixed_6e": (17, 17, 768),
    "mixed_7a": (8, 8, 1280),
    "mixed_7b": (8, 8, 2048),
    "mixed_7c": (8, 8, 2048),
    "inception_v3-global_pool": (2048,),
    "predictions": (1000,),
    "aux_pool": (5, 5, 768),
    "aux_1x1": (5, 5, 128),
    "aux_5x5": (1, 1, 768),
    "aux": (1000,),
}
# Convolutions of a module in order, with filters and kernels; those of 5c, 5d and of 6c to 6e are similar.
MODULES = {
    "mixed_5b": "1x1 64 1×1, 5x5_reduce 48 1×1, 5x5 64 5×5, double_3x3_reduce 64 1×1, double_3x3_1 96 3×3, "
    "double_3x3_2 96 3×3, pool_proj 32 1×1",
    "mixed_6a": "3x3 384 3×3, double_3x3_reduce 64 1×1, double_3x3_1 96 3×3, double_3x3_2 96 3×3",
    "mixed_6b": "1x1 192 1×1, 7x7_reduce 128 1×1, 7x7_1 128 1×7, 7x7_2 192 7×1, double_7x7_reduce 128 1×1, "
    "double_7x7_1 128 7×1, double_7x7_2 128 1×7, double_7x7_3 128 7×1, double_7x7_4 192 1×7, pool_proj 192 1×1",
    "mixed_7a": "3x3_reduce 192 1×1, 3x3 320 3×3, 7x7_reduce 192 1×1, 7x7_1 192 1×7, 7x7_2 192 7×1, 7x7_3 192 3×3",
    "mixed_7c": "1x1 320 1×1, 3x3_reduce 384 1×1, 3x3_1x3 384 1×3, 3x3_3x1 384 3×1, double_3x3_reduce 448 1×1, "
    "double_3x3 384 3×3, double_3x3_2_1x3 384 1×3, double_3x3_2_3x1 384 3×1, pool_proj 192 1×1",
}


def convolutions(model, module=""):
    """Return the name, filters and kernel size of each convolution in a module."""
    prefix = f"{module}_" if module else ""
    found = [layer for layer in model.layers if isinstance(layer, layers.Conv2D) and layer.name.startswith(prefix)]
    return {f"{c.name.removeprefix(prefix)} {c.filters} {c.kernel_size[0]}×{c.kernel_size[1]}" for c in found}


def names(model, kind=layers.Layer):
    return {bare(layer.name) for layer in model.layers if isinstance(layer, kind)}


@pytest.fixture(scope="module")
def v3():
    return InceptionV3(auxiliary=True)


@pytest.fixture(scope="module")
def small():
    return InceptionV3(auxiliary=True, **SMALL)


@pytest.mark.parametrize(("stage", "shape"), STAGES.items(), ids=str)
def test_stages_have_the_shapes_of_table_1(v3, stage, shape):
    assert v3.get_layer(stage).output.shape == (None, *shape)


@pytest.mark.parametrize("module", MODULES)
def test_modules_have_the_convolutions_of_their_figures(v3, module):
    assert convolutions(v3, module) == set(MODULES[module].split(", "))


def test_v3_is_the_published_one(v3):
    assert trainable(v3) == 27_161_264
    assert v3.count_params() == 27_197_488
    assert macs(v3) == 5_718_899_296
    assert len(convolutions(v3)) == 96
    assert v3.name == "inception_v3"
    assert list(v3.output) == ["predictions", "aux"]
    assert v3.get_layer("predictions_dropout").rate == 0.2
    assert v3.get_layer("aux_pool").input is v3.get_layer("mixed_6e").output


def test_every_convolution_is_normalized_and_has_no_bias(v3):
    convolutions = names(v3, layers.Conv2D)
    assert names(v3, layers.BatchNormalization) == {f"{name}_bn" for name in convolutions}
    assert names(v3, layers.ReLU) == {f"{name}_relu" for name in convolutions}
    assert not any(v3.get_layer(name).use_bias for name in convolutions)
    assert all(v3.get_layer(f"{name}_bn").scale for name in convolutions)


def test_v2_is_v3_at_the_first_row_of_table_3(v3):
    v2 = InceptionV2(auxiliary=True)
    assert v2.name == "inception_v2"
    assert list(v2.output) == ["predictions", "aux"]
    assert names(v3) - names(v2) == {
        *(f"conv2d_{place}{layer}" for place in ("2a", "2b") for layer in ("", "_bn", "_relu")),
        "aux_5x5_bn",
    }
    assert names(v2) < names(v3)
    assert v2.get_layer("conv2d_1a").kernel.shape == (7, 7, 3, 64)
    assert v2.get_layer("conv2d_1a").output.shape == (None, 147, 147, 64)
    assert v2.get_layer("aux_5x5").use_bias
    assert not v2.get_layer("aux_1x1").use_bias
    head = macs(v3) - 5_713_216_096
    assert macs(v2) - head == 5_299_886_272


@pytest.mark.full
def test_options_lead_from_v2_to_v3(small):
    model = InceptionV2(auxiliary=True, stem="factorised", head_batch_norm=True, **SMALL)
    model.set_weights(small.get_weights())
    for name, output in model(image(75, 75)).items():
        np.testing.assert_array_equal(output, small(image(75, 75))[name])


def test_two_3x3_replace_a_5x5():
    model = InceptionV3(five="two_3x3", **SMALL)
    for module in ("mixed_5b", "mixed_5c", "mixed_5d"):
        assert {"5x5_reduce 48 1×1", "5x5_1 64 3×3", "5x5_2 64 3×3"} < convolutions(model, module)
        assert model.get_layer(f"{module}_5x5_2").input is model.get_layer(f"{module}_5x5_1_relu").output
    assert not any(kernel.endswith("5×5") for kernel in convolutions(model))


@pytest.mark.parametrize("five", in_full_but({"two_3x3"}, ["5x5", "two_3x3"]))
def test_linear_factors_lose_the_relu_between_them(five, small):
    linear = InceptionV3(auxiliary=True, five=five, factor_relu=False, **SMALL)
    first = {f"mixed_5{module}_double_3x3_1" for module in "bcd"} | {"mixed_6a_double_3x3_1", "mixed_7a_7x7_1"}
    first |= {f"mixed_6{m}_{place}" for m in "bcde" for place in ("7x7_1", "double_7x7_1", "double_7x7_3")}
    if five == "5x5":
        assert names(small) - names(linear) == {f"{name}_relu" for name in first}
        assert names(linear) < names(small)
    else:
        first |= {f"mixed_5{module}_5x5_1" for module in "bcd"}
        linear_ones = names(linear, layers.Conv2D) - {name.removesuffix("_relu") for name in names(linear, layers.ReLU)}
        assert linear_ones == first
    for name, after in (("mixed_6b_double_7x7_3", "mixed_6b_double_7x7_4"), ("mixed_7a_7x7_1", "mixed_7a_7x7_2")):
        assert linear.get_layer(after).input is linear.get_layer(f"{name}_bn").output


@pytest.mark.full
@pytest.mark.parametrize(
    ("reduction", "multiply_adds"),
    [("pool_first", 5_461_729_888), pytest.param("pool_last", 6_921_544_288, marks=pytest.mark.full)],
)
def test_pooling_before_or_after_a_module_changes_the_multiply_adds_but_no_shape(v3, reduction, multiply_adds):
    model = InceptionV3(reduction=reduction)
    assert trainable(model) == 23_834_568
    assert macs(model) == multiply_adds
    assert names(model, layers.Conv2D) == names(v3, layers.Conv2D) - {"aux_1x1", "aux_5x5"}
    for stage in ("mixed_6a", "mixed_6e", "mixed_7a", "mixed_7c"):
        assert model.get_layer(stage).output.shape == v3.get_layer(stage).output.shape
    for module, before in (("mixed_6a", "mixed_5d"), ("mixed_7a", "mixed_6e")):
        pool, branch = model.get_layer(f"{module}_{reduction}"), model.get_layer(f"{module}_pool")
        assert (pool.pool_size, pool.strides, branch.strides) == ((3, 3), (2, 2), (1, 1))
        assert model.get_layer(f"{module}_3x3").strides == (1, 1)
        if reduction == "pool_first":
            assert pool.input is model.get_layer(before).output
            assert branch.input is pool.output
        else:
            assert branch.input is model.get_layer(before).output
            assert pool.input is model.get_layer(f"{module}_concat").output


@pytest.mark.parametrize(
    ("options", "size"),
    [
        pytest.param({}, (107, 140), marks=pytest.mark.full),
        (
            {
                "stem": "7x7",
                "five": "two_3x3",
                "factor_relu": False,
                "head_batch_norm": False,
                "reduction": "pool_first",
            },
            (75, 75),
        ),
        pytest.param(
            {"reduction": "pool_last", "dropout": 0.0, "classifier_activation": "sigmoid", "name": "other"},
            (75, 90),
            marks=pytest.mark.full,
        ),
    ],
    ids=str,
)
def test_every_option_builds_and_runs_with_its_head_on_small_images(options, size):
    model = InceptionV3(auxiliary=True, input_shape=(*size, 3), classes=7, **options)
    assert model.name == options.get("name", "inception_v3")
    outputs = model(image(*size, batch=2))
    assert list(outputs) == ["predictions", "aux"]
    for output in outputs.values():
        assert output.shape == (2, 7)
        assert np.isfinite(output).all()


@pytest.mark.parametrize(
    ("side", "map_6e", "pool"),
    [
        (75, 3, 1),
        pytest.param(107, 5, 1, marks=pytest.mark.full),
        pytest.param(298, 16, 4, marks=pytest.mark.full),
        (299, 17, 5),
        pytest.param(360, 20, 6, marks=pytest.mark.full),
    ],
)
def test_a_head_has_the_same_weights_at_any_size(side, map_6e, pool, small, v3):
    models = {75: small, 299: v3}
    model = models.get(side) or InceptionV3(auxiliary=True, input_shape=(side, side, 3), classes=5)
    assert model.get_layer("mixed_6e").output.shape[1:3] == (map_6e, map_6e)
    assert model.get_layer("aux_pool").output.shape[1:3] == (pool, pool)
    assert model.get_layer("aux_5x5").kernel.shape == (5, 5, 128, 768)
    assert model.get_layer("aux_5x5").output.shape[1:3] == (max(1, pool - 4),) * 2
    assert ("aux_pad" in names(model)) == (side < 299)


def test_a_small_map_is_centered_in_zeros(small):
    """At 75 pixels the head sees one position, under the center of the 5×5 kernel."""
    trunk = keras.Model(small.input, [small.get_layer("aux_1x1_relu").output, small.get_layer("aux_5x5").output])
    position, got = (np.asarray(output) for output in trunk(image(75, 75)))
    want = position[:, 0, 0] @ np.asarray(small.get_layer("aux_5x5").kernel)[2, 2]
    np.testing.assert_allclose(got[:, 0, 0], want, rtol=1e-4, atol=1e-4)


def test_outputs_are_probabilities(small):
    for output in small(image(75, 75)).values():
        np.testing.assert_allclose(np.sum(output, axis=-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("factory", [InceptionV2, InceptionV3])
@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"stem": "5x5"}, r"`stem` must be one of '7x7', 'factorised'\. Received: stem='5x5'"),
        ({"five": "3x3"}, r"`five` must be one of '5x5', 'two_3x3'\..* Received: five='3x3'"),
        ({"factor_relu": None}, r"`factor_relu` must be one of True, False\. Received: factor_relu=None"),
        ({"head_batch_norm": "yes"}, r"`head_batch_norm` must be one of True, False\. Received: head_batch_norm='yes'"),
        ({"reduction": "none"}, r"`reduction` must be one of 'parallel', 'pool_first', 'pool_last'\. Received: red"),
        ({"input_shape": (74, 299, 3)}, r"`input_shape` must be at least 75 on each side\. Received: \(74, 299, 3\)"),
        ({"input_shape": (299, 74, 3), "include_top": False}, "`input_shape` must be at least 75 on each side"),
        ({"input_shape": (None, None, 3), "auxiliary": True}, r"`auxiliary=True` needs .* known height and width"),
        ({"include_top": False, "auxiliary": True}, r"`auxiliary=True` needs `include_top=True`"),
        ({"dropout": 1}, r"`dropout` must be in \[0, 1\)\. Received: dropout=1"),
    ],
    ids=str,
)
def test_a_bad_argument_is_named(factory, arguments, match):
    with pytest.raises(ValueError, match=match):
        factory(**arguments)
