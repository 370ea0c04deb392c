import keras
import numpy as np
import pytest
from keras import layers
from model_helpers import image

from keras_inception import BNInception, features
from keras_inception.models.bn_inception import MODULES

SHAPES = {
    "conv1": (112, 112, 64),
    "pool1": (56, 56, 64),
    "conv2_reduce": (56, 56, 64),
    "conv2": (56, 56, 192),
    "pool2": (28, 28, 192),
    "inception_3a": (28, 28, 256),
    "inception_3b": (28, 28, 320),
    "inception_3c": (14, 14, 576),
    "inception_4a": (14, 14, 576),
    "inception_4b": (14, 14, 576),
    "inception_4c": (14, 14, 608),
    "inception_4d": (14, 14, 608),
    "inception_4e": (7, 7, 1056),
    "inception_5a": (7, 7, 1024),
    "inception_5b": (7, 7, 1024),
}
HALVING = {"3c", "4e"}


@pytest.fixture(scope="module")
def network():
    """Return a network for any size, with five classes."""
    return BNInception(input_shape=(None, None, 3), classes=5)


def test_stages_have_the_published_shapes(network):
    found = features(network, list(SHAPES)).compute_output_spec(keras.KerasTensor((1, 224, 224, 3)))
    assert {stage: tensor.shape[1:] for stage, tensor in found.items()} == SHAPES


def test_layers_are_named_by_their_place_in_the_paper(network):
    threes = ["3x3_reduce", "3x3", "double_3x3_reduce", "double_3x3_1", "double_3x3_2"]
    places = {key: threes if key in HALVING else ["1x1", *threes, "pool_proj"] for key in MODULES}
    modules = [f"inception_{key}_{place}" for key in MODULES for place in places[key]]
    convolutions = {layer.name for layer in network.layers if isinstance(layer, layers.Conv2D)}
    assert convolutions == {"conv1", "conv2_reduce", "conv2", *modules}
    assert network.name == "bn_inception"


def test_convolutions_have_a_bias_and_a_batch_norm(network):
    convolutions = [layer for layer in network.layers if isinstance(layer, layers.Conv2D)]
    assert all(layer.use_bias for layer in convolutions)
    norms = [network.get_layer(f"{layer.name}_bn") for layer in convolutions]
    assert {(norm.epsilon, norm.scale) for norm in norms} == {(1e-5, True)}


def test_the_last_module_and_those_that_halve_the_map_use_max_pooling(network):
    pools = {key: type(network.get_layer(f"inception_{key}_pool")) for key in MODULES}
    assert {key for key, pool in pools.items() if pool is layers.MaxPooling2D} == {*HALVING, "5b"}
    assert {key for key, pool in pools.items() if pool is layers.AveragePooling2D} == set(MODULES) - {*HALVING, "5b"}


def test_the_paper_removes_dropout(network):
    assert network.get_layer("predictions_dropout").rate == 0


@pytest.mark.parametrize(
    ("size", "last_map"),
    [((32, 32), (1, 1)), ((33, 47), (1, 2)), ((160, 192), (5, 6)), ((104, 209), (4, 7))],  # maps of odd sides in 3c, 4e
)
def test_any_size_from_32_pixels_is_accepted(network, size, last_map):
    output = features(network, ["inception_5b"])(image(*size))["inception_5b"]
    assert output.shape == (1, *last_map, 1024)
    assert np.isfinite(output).all()


def test_a_known_size_is_the_same_network(network):
    known = BNInception(include_top=False, input_shape=(64, 96, 3))
    known.set_weights(network.get_weights()[:-2])
    x = image(64, 96)
    want = features(network, ["inception_5b"])(x)["inception_5b"]
    np.testing.assert_allclose(known(x), want, rtol=1e-4, atol=1e-5 * np.max(want))


@pytest.mark.parametrize("options", [{"input_shape": (31, 224, 3)}, {"input_tensor": keras.Input((31, 64, 3))}])
def test_31_pixels_are_refused(options):
    with pytest.raises(ValueError, match=r"`input_shape` must be at least 32 on each side\. Received: \(31, \d+, 3\)"):
        BNInception(**options)
