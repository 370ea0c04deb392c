import keras
import numpy as np
import pytest
from keras import layers
from model_helpers import image, tensors
from safetensors.numpy import save_file

from keras_inception import Plain34, ResNet34, features
from keras_inception.layers import ZeroPaddingShortcut
from keras_inception.utils.names import by_any_name
from keras_inception.weights.publishers.resnet import BLOCKS as COUNTS

BLOCKS = [f"conv{stage}_{number}" for stage, count in enumerate(COUNTS, 2) for number in range(1, count + 1)]
CHANGES = ["conv3_1", "conv4_1", "conv5_1"]  # blocks that change the shape


@pytest.fixture(scope="module")
def networks():
    return {"A": ResNet34(shortcut="A"), "B": ResNet34(), "plain": Plain34()}


@pytest.mark.parametrize("kind", ["A", "B", "plain"])
@pytest.mark.parametrize(
    ("stage", "shape"),
    [
        ("conv1", (112, 112, 64)),
        ("pool1", (56, 56, 64)),
        ("conv2_1", (56, 56, 64)),
        ("conv2_3", (56, 56, 64)),
        ("conv3_1", (28, 28, 128)),
        ("conv3_4", (28, 28, 128)),
        ("conv4_6", (14, 14, 256)),
        ("conv5_3", (7, 7, 512)),
        ("global_pool", (512,)),
        ("predictions", (1000,)),
    ],
)
def test_stages_have_the_shapes_of_table_1(networks, kind, stage, shape):
    name = by_any_name(layer.name for layer in networks[kind].layers)[stage]
    assert networks[kind].get_layer(name).output.shape == (None, *shape)


def test_layers_are_named_by_their_place_in_table_1(networks):
    weighted = ["conv1", *(f"{block}_{number}" for block in BLOCKS for number in (1, 2))]
    assert len(weighted) + 1 == 34
    for kind, network in networks.items():
        convolutions = [layer.name for layer in network.layers if isinstance(layer, layers.Conv2D)]
        shortcuts = [f"{block}_shortcut" for block in CHANGES] if kind == "B" else []
        assert sorted(convolutions) == sorted(weighted + shortcuts)
        norms = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
        assert sorted(norm.name for norm in norms) == sorted(f"{name}_bn" for name in convolutions)
        assert {norm.epsilon for norm in norms} == {1e-5}
        sums = [layer.name for layer in network.layers if isinstance(layer, layers.Add)]
        assert sums == ([] if kind == "plain" else [f"{block}_add" for block in BLOCKS])
    padded = [layer.name for layer in networks["A"].layers if isinstance(layer, ZeroPaddingShortcut)]
    assert padded == [f"{block}_shortcut" for block in CHANGES]


def test_a_block_adds_its_input():
    network = ResNet34(shortcut="A", input_shape=(64, 96, 3), include_top=False)
    ends = ["pool1", "conv2_1_2_bn", "conv2_1", "conv2_3", "conv3_1_2_bn", "conv3_1"]
    maps = keras.Model(network.input, {name: network.get_layer(name).output for name in ends})(image(64, 96))
    maps = {name: np.asarray(value) for name, value in maps.items()}
    relu = lambda x: np.maximum(x, 0)  # noqa: E731
    np.testing.assert_allclose(maps["conv2_1"], relu(maps["pool1"] + maps["conv2_1_2_bn"]), rtol=1e-5, atol=1e-6)
    halved = np.concatenate([maps["conv2_3"][:, ::2, ::2], np.zeros((1, 8, 12, 64))], axis=-1)
    np.testing.assert_allclose(maps["conv3_1"], relu(halved + maps["conv3_1_2_bn"]), rtol=1e-5, atol=1e-6)


def test_without_its_shortcuts_resnet_is_the_plain_network(networks, tmp_path):
    save_file(tensors(networks["A"]), tmp_path / "weights.safetensors")
    plain = Plain34(weights=tmp_path / "weights.safetensors")
    ends = ["pool1", "conv2_1_2", "conv5_3"]  # the second before the first addition
    one, other = (features(model, ends)(image(224, 224)) for model in (plain, networks["A"]))
    for stage in ends[:2]:
        np.testing.assert_array_equal(one[stage], other[stage])
    assert np.abs(np.asarray(one["conv5_3"]) - np.asarray(other["conv5_3"])).max() > 0.1


def test_zeros_in_the_shortcut_take_any_size():
    body = ResNet34(include_top=False, shortcut="A")
    for height, width in ((32, 32), (97, 130)):
        output = body(image(height, width))
        assert output.shape == (1, -(height // -32), -(width // -32), 512)
        assert np.isfinite(output).all()


def test_zeros_in_the_shortcut_take_mixed_precision(mixed_bfloat16):
    model = ResNet34(input_shape=(32, 32, 3), classes=5, shortcut="A")
    assert model.get_layer("conv5_3").compute_dtype == "bfloat16"
    np.testing.assert_allclose(np.sum(model(image(32, 32))), 1.0, rtol=1e-5)


def test_features_are_the_blocks(networks):
    maps = features(networks["B"], ["conv1", "conv3_4", "conv4_1_shortcut"])(image(224, 224))
    assert maps["conv3_4"].shape == (1, 28, 28, 128)
    assert np.asarray(maps["conv3_4"]).min() == np.asarray(maps["conv1"]).min() == 0
    assert np.asarray(maps["conv4_1_shortcut"]).min() < 0  # no ReLU


@pytest.mark.full
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_own_weights_tell_the_shortcut(networks, shortcut, tmp_path):
    save_file(tensors(networks[shortcut]), tmp_path / "weights.safetensors")
    body = ResNet34(include_top=False, weights=tmp_path / "weights.safetensors")
    *want, _, _ = networks[shortcut].get_weights()
    for one, other in zip(body.get_weights(), want, strict=True):
        np.testing.assert_array_equal(one, other)
    other = {"A": "B", "B": "A"}[shortcut]
    with pytest.raises(ValueError, match=f"`shortcut` must be '{shortcut}' with .* Received: shortcut='{other}'"):
        ResNet34(include_top=False, weights=tmp_path / "weights.safetensors", shortcut=other)


@pytest.mark.parametrize(
    ("factory", "arguments", "match"),
    [
        (ResNet34, {"shortcut": "C"}, r"`shortcut` must be one of None, 'A', 'B'\. Received: shortcut='C'"),
        (ResNet34, {"input_shape": (31, 224, 3)}, r"at least 32 on each side\. Received: \(31, 224, 3\)"),
        (Plain34, {"input_tensor": keras.Input((31, 64, 3))}, "at least 32 on each side"),
        (ResNet34, {"auxiliary": True}, r"`auxiliary` must be False: resnet34 has no auxiliary classifiers"),
        (Plain34, {"auxiliary": True}, r"`auxiliary` must be False: plain34 has no auxiliary classifiers"),
    ],
)
def test_a_bad_argument_is_named(factory, arguments, match):
    with pytest.raises(ValueError, match=match):
        factory(**arguments)
