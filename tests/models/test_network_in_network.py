import keras
import numpy as np
import pytest
from keras import layers
from model_helpers import image, tensors
from safetensors.numpy import save_file

from keras_inception import NetworkInNetwork, features


@pytest.fixture(scope="module")
def networks():
    return {"cifar": NetworkInNetwork(form="cifar", classes=10), "imagenet": NetworkInNetwork()}


@pytest.mark.parametrize(
    ("form", "stage", "shape"),
    [
        ("cifar", "conv1", (32, 32, 192)),
        ("cifar", "cccp1", (32, 32, 160)),
        ("cifar", "cccp2", (32, 32, 96)),
        ("cifar", "pool1", (16, 16, 96)),
        ("cifar", "cccp4", (16, 16, 192)),
        ("cifar", "pool2", (8, 8, 192)),
        ("cifar", "cccp5", (8, 8, 192)),
        ("cifar", "predictions_conv", (8, 8, 10)),
        ("cifar", "predictions", (10,)),
        ("imagenet", "conv1", (54, 54, 96)),
        ("imagenet", "pool1", (27, 27, 96)),
        ("imagenet", "conv2", (27, 27, 256)),
        ("imagenet", "pool2", (13, 13, 256)),
        ("imagenet", "cccp6", (13, 13, 384)),
        ("imagenet", "pool3", (6, 6, 384)),
        ("imagenet", "conv4", (6, 6, 1024)),
        ("imagenet", "predictions_conv", (6, 6, 1000)),
        ("imagenet", "predictions", (1000,)),
    ],
)
def test_stages_have_the_published_shapes(networks, form, stage, shape):
    assert networks[form].get_layer(stage).output.shape == (None, *shape)


def test_it_has_no_dense_layer_and_a_relu_after_every_convolution(networks):
    for network in networks.values():
        assert not [layer for layer in network.layers if isinstance(layer, layers.Dense)]
        convolutions = [layer.name for layer in network.layers if isinstance(layer, layers.Conv2D)]
        relus = [layer.name for layer in network.layers if isinstance(layer, layers.ReLU)]
        assert relus == [f"{name}_relu" for name in convolutions]


def test_poolings_and_dropout_are_placed_as_by_the_authors(networks):
    kinds = {
        form: [type(layer).__name__ for layer in network.layers if layer.name in ("pool1", "pool2", "pool3")]
        for form, network in networks.items()
    }
    assert kinds == {"cifar": ["MaxPooling2D", "CeilAveragePooling2D"], "imagenet": ["MaxPooling2D"] * 3}
    dropouts = {
        form: {layer.name: layer.rate for layer in network.layers if isinstance(layer, layers.Dropout)}
        for form, network in networks.items()
    }
    assert dropouts == {
        "cifar": {"pool1_dropout": 0.5, "pool2_dropout": 0.5},
        "imagenet": {"pool3_dropout": 0.5},
    }


def test_predictions_are_the_averages_of_the_classes_maps(networks):
    network = networks["cifar"]
    x = image(32, 32, batch=2)
    maps = np.asarray(features(network, ["predictions_conv"])(x)["predictions_conv"])
    want = keras.ops.softmax(maps.mean((1, 2)))
    np.testing.assert_allclose(network(x), want, rtol=1e-5)
    logits = NetworkInNetwork(form="cifar", classes=10, classifier_activation=None)
    logits.set_weights(network.get_weights())
    np.testing.assert_allclose(logits(x), maps.mean((1, 2)), rtol=1e-5, atol=1e-7)


@pytest.mark.full
@pytest.mark.parametrize(
    ("form", "sizes"),
    [("cifar", {(8, 9): (2, 2), (48, 35): (12, 8)}), ("imagenet", {(39, 41): (1, 1), (203, 240): (6, 7)})],
)
@pytest.mark.parametrize("known", [False, True])
def test_both_forms_accept_other_sizes(form, sizes, known):
    for size, last_map in sizes.items():
        shape = (*size, 3) if known else (None, None, 3)
        network = NetworkInNetwork(form=form, classes=3, input_shape=shape)
        np.testing.assert_allclose(np.sum(network(image(*size))), 1, rtol=1e-5)
        body = NetworkInNetwork(form=form, include_top=False, input_shape=shape)
        assert body(image(*size)).shape == (1, *last_map, {"cifar": 192, "imagenet": 1024}[form])


@pytest.mark.parametrize("form", ["cifar", "imagenet"])
def test_own_weights_tell_the_form(networks, form, tmp_path):
    save_file(tensors(networks[form]), tmp_path / "weights.safetensors")
    classes = networks[form].output_shape[-1]
    again = NetworkInNetwork(weights=tmp_path / "weights.safetensors", classes=classes)
    assert again.input_shape == networks[form].input_shape
    x = image(*again.input_shape[1:3])
    np.testing.assert_array_equal(again(x), networks[form](x))
    body = NetworkInNetwork(False, tmp_path / "weights.safetensors")  # without the classes' convolution
    assert body.count_params() == again.count_params() - (body.output_shape[-1] + 1) * classes
    other = {"cifar": "imagenet", "imagenet": "cifar"}[form]
    with pytest.raises(ValueError, match=f"`form` must be '{form}' with .* Received: form='{other}'"):
        NetworkInNetwork(weights=tmp_path / "weights.safetensors", form=other)


def test_another_number_of_classes_needs_skip_mismatch(networks, tmp_path):
    save_file(tensors(networks["cifar"]), tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"predictions_conv/bias \(10,\) for predictions_conv/bias \(7,\)"):
        NetworkInNetwork(weights=tmp_path / "weights.safetensors", classes=7)
    model = NetworkInNetwork(weights=tmp_path / "weights.safetensors", classes=7, skip_mismatch=True)
    np.testing.assert_array_equal(model.get_layer("cccp5").kernel, networks["cifar"].get_layer("cccp5").kernel)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"form": "mnist"}, r"`form` must be one of None, 'cifar', 'imagenet'\. Received: form='mnist'"),
        ({"input_shape": (38, 224, 3)}, r"`input_shape` must be at least 39 on each side\. Received: \(38, 224, 3\)"),
        ({"form": "cifar", "input_shape": (7, 32, 3)}, r"at least 8 on each side\. Received: \(7, 32, 3\)"),
        ({"input_tensor": keras.Input((38, 64, 3))}, "at least 39 on each side"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\)\. Received: dropout=1\.0"),
        ({"auxiliary": True}, r"`auxiliary` must be False: network_in_network has no auxiliary classifiers"),
    ],
    ids=str,
)
def test_a_bad_argument_is_named(arguments, match):
    with pytest.raises(ValueError, match=match):
        NetworkInNetwork(**arguments)
