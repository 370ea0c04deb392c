import keras
import numpy as np
import pytest
from keras import layers
from model_helpers import image
from safetensors.numpy import save_file

from keras_inception import VGG16, VGG19, features
from keras_inception.weights.publishers.vgg import CONVOLUTIONS

# The dense layers have 103 M weights whatever the size of the image, so most tests build the network without a top.
FACTORIES = {"vgg16": VGG16, "vgg19": VGG19}


def convolutions(name):
    return [f"block{b}_conv{i}" for b, count in enumerate(CONVOLUTIONS[name], 1) for i in range(1, count + 1)]


@pytest.fixture(scope="module")
def bodies():
    """The networks without a top, at the paper's size."""
    return {name: factory(False, input_shape=(224, 224, 3)) for name, factory in FACTORIES.items()}


@pytest.fixture(scope="module")
def small():
    """VGG-16 with batch norm and a top of five classes."""
    return VGG16(input_shape=(32, 48, 3), classes=5, normalization="batch_norm")


@pytest.mark.parametrize(
    ("name", "depth", "parameters", "multiply_adds"),
    [("vgg16", 16, 138_357_544, 15_470_264_320), ("vgg19", 19, 143_667_240, 19_632_062_464)],
)
def test_parameters_and_multiply_adds_are_the_published_ones(bodies, name, depth, parameters, multiply_adds):
    kernels = [layer for layer in bodies[name].layers if isinstance(layer, layers.Conv2D)]
    assert [layer.name for layer in kernels] == convolutions(name)
    assert len(kernels) + 3 == depth  # fc1, fc2, predictions
    top = [(7 * 7 * 512, 4096), (4096, 4096), (4096, 1000)]
    assert bodies[name].count_params() + sum(rows * units + units for rows, units in top) == parameters
    macs = sum(int(np.prod(layer.output.shape[1:-1]) * np.prod(layer.kernel.shape)) for layer in kernels)
    assert macs + sum(rows * units for rows, units in top) == multiply_adds


def test_batch_norm_adds_the_parameters_of_torchvisions(small):
    # torchvision lists 138,365,992 parameters for vgg16_bn, with 1000 classes.
    trainable = sum(int(np.prod(weight.shape)) for weight in small.trainable_weights)
    assert trainable == 138_365_992 - 995 * 4097
    norms = [layer for layer in small.layers if isinstance(layer, layers.BatchNormalization)]
    assert [norm.name for norm in norms] == [f"{name}_bn" for name in convolutions("vgg16")]
    assert {(norm.epsilon, norm.scale) for norm in norms} == {(1e-5, True)}
    assert all(small.get_layer(name).use_bias for name in convolutions("vgg16"))


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize(
    ("stage", "shape"),
    [
        ("block1_conv2", (224, 224, 64)),
        ("block1_pool", (112, 112, 64)),
        ("block2_pool", (56, 56, 128)),
        ("block3_pool", (28, 28, 256)),
        ("block4_pool", (14, 14, 512)),
        ("block5_pool", (7, 7, 512)),
    ],
)
def test_stages_have_the_shapes_of_the_paper(bodies, name, stage, shape):
    assert bodies[name].get_layer(stage).output.shape == (None, *shape)


def test_the_top_reads_7_by_7_whatever_the_map(small):
    top = ["fc1_pool", "fc1_flatten", "fc1", "fc1_relu", "fc2_dropout", "fc2", "fc2_relu"]
    assert [layer.name for layer in small.layers[-9:]] == [*top, "predictions_dropout", "predictions"]
    assert small.get_layer("fc1_pool").output.shape == (None, 7, 7, 512)
    assert small.get_layer("fc2_dropout").rate == small.get_layer("predictions_dropout").rate == 0.5
    x = image(32, 48, batch=2)
    pooled = np.asarray(features(small, ["block5_pool", "fc1_pool"])(x)["fc1_pool"])
    last_map = np.asarray(features(small, ["block5_pool"])(x)["block5_pool"])
    assert last_map.shape == (2, 1, 1, 512)
    np.testing.assert_allclose(pooled, np.broadcast_to(last_map, (2, 7, 7, 512)), rtol=1e-6)
    np.testing.assert_allclose(np.sum(small(x), axis=-1), 1, rtol=1e-5)


def test_features_follow_the_relu(bodies):
    maps = features(bodies["vgg19"], ["block1_conv2", "block4_conv4"])(image(224, 224))
    assert maps["block4_conv4"].shape == (1, 28, 28, 512)
    assert np.asarray(maps["block1_conv2"]).min() == 0


def test_own_weights_tell_whether_there_is_batch_norm(tmp_path):
    model = VGG16(include_top=False, normalization="batch_norm")
    tensors = {f"{layer.name}/{weight.name}": np.asarray(weight) for layer in model.layers for weight in layer.weights}
    save_file(tensors, tmp_path / "weights.safetensors")
    again = VGG16(include_top=False, weights=tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(again(image(32, 32)), model(image(32, 32)))

    save_file({k: v for k, v in tensors.items() if "_bn/" not in k}, tmp_path / "plain.safetensors")
    plain = VGG16(include_top=False, weights=tmp_path / "plain.safetensors")
    assert not [layer for layer in plain.layers if isinstance(layer, layers.BatchNormalization)]
    with pytest.raises(ValueError, match=r"`normalization` must be None with .* Received: normalization='batch_norm'"):
        VGG16(include_top=False, weights=tmp_path / "plain.safetensors", normalization="batch_norm")


def test_vgg19_is_not_vgg16(tmp_path):
    model = VGG16(include_top=False)
    tensors = {f"{layer.name}/{weight.name}": np.asarray(weight) for layer in model.layers for weight in layer.weights}
    save_file(tensors, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="missing: block3_conv4/kernel, block3_conv4/bias, block4_conv4/kernel"):
        VGG19(include_top=False, weights=tmp_path / "weights.safetensors")


@pytest.mark.parametrize("factory", FACTORIES.values())
@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (
            {"normalization": "lrn"},
            r"`normalization` must be one of None, 'batch_norm'\. Received: normalization='lrn'",
        ),
        ({"input_shape": (31, 224, 3)}, r"`input_shape` must be at least 32 on each side\. Received: \(31, 224, 3\)"),
        ({"input_shape": (None, None, 3)}, r"known height and width\. Received: \(None, None, 3\)"),
        ({"input_tensor": keras.Input((31, 64, 3))}, "at least 32 on each side"),
        ({"auxiliary": True}, r"`auxiliary` must be False: vgg1[69] has no auxiliary classifiers\. Received: True"),
    ],
    ids=str,
)
def test_a_bad_argument_is_named(factory, arguments, match):
    with pytest.raises(ValueError, match=match):
        factory(**arguments)
