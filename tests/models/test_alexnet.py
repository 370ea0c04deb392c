import keras
import numpy as np
import pytest
from keras import layers
from model_helpers import image

from keras_inception import AlexNet, features


@pytest.fixture(scope="module")
def network():
    return AlexNet()


@pytest.fixture(scope="module")
def small():
    return AlexNet(input_shape=(63, 97, 3), classes=5)


@pytest.mark.parametrize(
    ("stage", "shape"),
    [
        ("conv1", (55, 55, 64)),
        ("pool1", (27, 27, 64)),
        ("conv2", (27, 27, 192)),
        ("pool2", (13, 13, 192)),
        ("conv3", (13, 13, 384)),
        ("conv4", (13, 13, 256)),
        ("conv5", (13, 13, 256)),
        ("pool5", (6, 6, 256)),
        ("fc6", (4096,)),
        ("fc7", (4096,)),
        ("predictions", (1000,)),
    ],
)
def test_stages_have_the_published_shapes(network, stage, shape):
    assert network.get_layer(stage).output.shape == (None, *shape)


def test_dropout_precedes_both_dense_layers_and_not_the_classifier(network):
    dropouts = {layer.name: layer.rate for layer in network.layers if isinstance(layer, layers.Dropout)}
    assert dropouts == {"fc6_dropout": 0.5, "fc7_dropout": 0.5}


def test_other_sizes_are_pooled_to_6_by_6(small):
    assert small.get_layer("pool5").output.shape == (None, 1, 2, 256)
    assert small.get_layer("fc6_pool").output.shape == (None, 6, 6, 256)
    x = image(63, 97, batch=2)
    np.testing.assert_allclose(np.sum(small(x), axis=-1), 1, rtol=1e-5)
    maps = features(small, ["pool5", "fc6_pool", "fc7"])(x)
    # The first three columns read the first of the two pixels, the last three the second.
    want = np.repeat(np.broadcast_to(maps["pool5"], (2, 1, 2, 256)), 3, axis=2).repeat(6, axis=1)
    np.testing.assert_allclose(maps["fc6_pool"], want, rtol=1e-6)
    assert np.asarray(maps["fc7"]).min() == 0


def test_without_a_top_there_is_no_dense_layer():
    assert AlexNet(include_top=False).count_params() == 2_469_696


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"input_shape": (62, 224, 3)}, r"`input_shape` must be at least 63 on each side\. Received: \(62, 224, 3\)"),
        ({"input_shape": (None, 224, 3)}, r"known height and width\. Received: \(None, 224, 3\)"),
        ({"input_tensor": keras.Input((62, 64, 3))}, "at least 63 on each side"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\)\. Received: dropout=1\.0"),
        ({"auxiliary": True}, r"`auxiliary` must be False: alexnet has no auxiliary classifiers\. Received: True"),
    ],
    ids=str,
)
def test_a_bad_argument_is_named(arguments, match):
    with pytest.raises(ValueError, match=match):
        AlexNet(**arguments)
