import keras
import numpy as np
import pytest
from keras import layers

from keras_inception import InceptionResNetV2, InceptionV4, features
from keras_inception.models.inception_v3 import batch_norm_of
from keras_inception.models.inception_v4 import RESNET_MODULES, V4_MODULES
from keras_inception.preprocessing import DEFAULT
from keras_inception.weights import Checkpoint

SHAPES = {
    InceptionV4: {
        "conv2d_1a": (149, 149, 32),
        "conv2d_2a": (147, 147, 32),
        "conv2d_2b": (147, 147, 64),
        "mixed_3a": (73, 73, 160),
        "mixed_4a": (71, 71, 192),
        "mixed_5a": (35, 35, 384),
        "mixed_5e": (35, 35, 384),
        "mixed_6a": (17, 17, 1024),
        "mixed_6h": (17, 17, 1024),
        "mixed_7a": (8, 8, 1536),
        "mixed_7d": (8, 8, 1536),
    },
    InceptionResNetV2: {
        "conv2d_2b": (147, 147, 64),
        "maxpool_3a": (73, 73, 64),
        "conv2d_3b": (73, 73, 80),
        "conv2d_4a": (71, 71, 192),
        "maxpool_5a": (35, 35, 192),
        "mixed_5b": (35, 35, 320),
        "block35_10": (35, 35, 320),
        "mixed_6a": (17, 17, 1088),
        "block17_20": (17, 17, 1088),
        "mixed_7a": (8, 8, 2080),
        "block8_10": (8, 8, 2080),
        "conv2d_7b": (8, 8, 1536),
    },
}


@pytest.fixture(scope="module")
def built():
    """Return both networks for any size, under mixed precision."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return {factory: factory(input_shape=(None, None, 3), classes=5) for factory in SHAPES}
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.fixture
def resnet(built):
    return built[InceptionResNetV2]


@pytest.mark.full
@pytest.mark.parametrize("factory", SHAPES)
def test_stages_have_the_papers_shapes(built, factory):
    maps = features(built[factory], list(SHAPES[factory]))
    found = maps.compute_output_spec(keras.KerasTensor((1, 299, 299, 3)))
    assert {stage: tensor.shape[1:] for stage, tensor in found.items()} == SHAPES[factory]


@pytest.mark.full
@pytest.mark.parametrize("factory", SHAPES)
def test_75_pixels_are_enough_under_mixed_precision_too(built, factory):
    network = built[factory]
    assert network.get_layer("mixed_7a").compute_dtype == "bfloat16"
    for height, width in ((75, 75), (75, 107)):
        x = np.random.default_rng(0).normal(size=(1, height, width, 3)).astype(np.float32)
        predictions = np.asarray(network(x))
        assert predictions.dtype == np.float32
        np.testing.assert_allclose(predictions.sum(), 1.0, rtol=1e-5)


@pytest.mark.parametrize("factory", SHAPES)
@pytest.mark.parametrize(
    "options", [{"input_shape": (74, 299, 3)}, {"input_shape": (None, 74, 3), "include_top": False}]
)
def test_74_pixels_are_refused(factory, options):
    with pytest.raises(ValueError, match=r"`input_shape` must be at least 75 on each side\. Received: \(\w+, \d+, 3\)"):
        factory(**options)


@pytest.mark.full
def test_there_are_as_many_modules_as_published(built, resnet):
    assert [sum(name.startswith(f"mixed_{stage}") for name in V4_MODULES) for stage in (5, 6, 7)] == [
        1 + 4,
        1 + 7,
        1 + 3,
    ]
    residuals = [sum(name.startswith(kind) for name in RESNET_MODULES) for kind in ("block35_", "block17_", "block8_")]
    assert residuals == [10, 20, 10]
    for model, convolutions in ((built[InceptionV4], 149), (resnet, 204 + sum(residuals))):
        assert sum(isinstance(layer, layers.Conv2D) for layer in model.layers) == convolutions


@pytest.mark.full
def test_residuals_except_the_last_are_scaled(resnet):
    scales = [layer.scale for layer in resnet.layers if isinstance(layer, layers.Rescaling)]
    assert scales == [0.17] * 10 + [0.10] * 20 + [0.20] * 9
    assert resnet.get_layer("block17_3").input[1] is resnet.get_layer("block17_3_scale").output
    assert resnet.get_layer("block8_10").input[1] is resnet.get_layer("block8_10_conv").output


@pytest.mark.full
def test_a_residual_is_added_to_its_input_and_the_last_has_no_relu(resnet):
    assert resnet.get_layer("block17_3").input[0] is resnet.get_layer("block17_2_relu").output
    assert resnet.get_layer("conv2d_7b").input is resnet.get_layer("block8_10").output


@pytest.mark.full
def test_features_are_the_blocks_after_their_relu(resnet):
    stages = features(resnet, ["block35_10", "mixed_6a", "block8_10"]).output
    assert stages["block35_10"] is resnet.get_layer("block35_10_relu").output
    assert stages["mixed_6a"] is resnet.get_layer("mixed_6a").output
    assert stages["block8_10"] is resnet.get_layer("block8_10").output


@pytest.mark.full
def test_dropout_keeps_four_fifths(built):
    assert [model.get_layer("predictions_dropout").rate for model in built.values()] == [0.2, 0.2]


@pytest.mark.parametrize(
    ("publisher", "tensor", "scale"),
    [
        ("timm", "conv2d_1a.bn.weight", True),
        ("keras", "batch_normalization/beta", False),
        ("keras_inception", "conv2d_1a_bn/gamma", True),
        ("keras_inception", "conv2d_1a_bn/beta", False),
    ],
)
def test_batch_norm_scales_if_the_weights_do(publisher, tensor, scale):
    tensors = {tensor: np.ones(32, np.float32)}
    checkpoint = Checkpoint("weights", "inception_resnet_v2", publisher, tensors, DEFAULT)
    assert batch_norm_of(checkpoint).scale is scale
    assert batch_norm_of(None).scale
