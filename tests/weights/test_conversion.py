"""Conversion of weights to .keras and .safetensors, and back into networks with the same outputs."""

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import keras_inception
from keras_inception import GoogLeNet, Preprocessing, runs
from keras_inception.conversion import convert, network_of
from keras_inception.utils import files
from keras_inception.weights import read_weights

SHAPE = (64, 64, 3)
CLASSES = 5


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(0, 50, (1, *SHAPE)).astype(np.float32)


@pytest.fixture(scope="module")
def few(golden, tmp_path_factory):
    """Write Caffe's GoogLeNet with a classifier of five classes and unchanged auxiliary classifiers."""
    path = tmp_path_factory.mktemp("few") / "weights.safetensors"
    tensors = golden("caffe_googlenet").weights
    save_file({key: w[:CLASSES] if key.startswith("loss3/classifier") else w for key, w in tensors.items()}, path)
    return path


@pytest.fixture(scope="module")
def network(few):
    return GoogLeNet(weights=few, classes=CLASSES, input_shape=SHAPE)


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    """Save the network with Keras in its publisher's layout; its names are ours."""
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    network.save(path)
    return path


@pytest.fixture(scope="module")
def outputs(network, x):
    return np.asarray(network(x))


def test_a_publishers_file_becomes_a_network(few, tmp_path):
    target = tmp_path / "new" / "out.keras"
    converted = convert(few, target)
    tensors = len(load_file(few))
    assert converted == (target, "googlenet", "caffe", CLASSES, tensors, Preprocessing.named("caffe"))
    assert list(target.parent.iterdir()) == [target]
    x = np.random.default_rng(1).normal(0, 50, (1, 224, 224, 3)).astype(np.float32)
    opened, expected = keras_inception.load(target), GoogLeNet(weights=few, classes=CLASSES)
    assert opened.count_params() == expected.count_params()
    np.testing.assert_array_equal(opened(x), expected(x))


def test_a_publishers_file_keeps_its_names(few, outputs, x, tmp_path):
    converted = convert(few, tmp_path / "out.safetensors")
    assert converted[1:5] == ("googlenet", "caffe", CLASSES, len(load_file(few)))
    before, after = load_file(few), load_file(tmp_path / "out.safetensors")
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        np.testing.assert_array_equal(after[key], tensor)
    network = GoogLeNet(weights=tmp_path / "out.safetensors", classes=CLASSES, input_shape=SHAPE)
    np.testing.assert_array_equal(network(x), outputs)


def test_a_saved_network_is_loaded_in_its_own_layout(saved, outputs, x):
    """Its weights would fit into ours, but the outputs would differ."""
    network = GoogLeNet(weights=saved, classes=CLASSES, input_shape=SHAPE)
    np.testing.assert_array_equal(network(x), outputs)
    assert network.publisher == "caffe"


def test_weights_alone_are_not_loaded_into_another_layout(network, tmp_path):
    network.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match=r"h5 holds googlenet in another layout.* differs in conv1_pad\."):
        GoogLeNet(weights=tmp_path / "model.weights.h5", classes=CLASSES, input_shape=SHAPE)


@pytest.mark.full
def test_a_saved_network_is_loaded_into_its_own_layout_by_way_of_safetensors(saved, outputs, x, tmp_path):
    converted = convert(saved, tmp_path / "out.safetensors")
    assert converted[1:4] == ("googlenet", "caffe", CLASSES)
    target = GoogLeNet(weights=tmp_path / "out.safetensors", classes=CLASSES, input_shape=SHAPE)
    np.testing.assert_array_equal(target(x), outputs)
    assert target.preprocessing == Preprocessing.named("caffe", SHAPE[:2])
    # Again, from our names in safetensors.
    again = convert(tmp_path / "out.safetensors", tmp_path / "again.safetensors")
    assert again[1:] == converted[1:]
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "out.safetensors").read_bytes()


@pytest.mark.full
def test_a_network_without_a_top_is_loaded_likewise(weight_file, x, tmp_path):
    network = GoogLeNet(False, weight_file("tv_googlenet"), input_shape=SHAPE)
    network.save(tmp_path / "body.keras")
    converted = convert(tmp_path / "body.keras", tmp_path / "out.safetensors")
    assert converted[1:4] == ("googlenet", "torchvision", None)
    target = GoogLeNet(False, tmp_path / "out.safetensors", input_shape=SHAPE)
    np.testing.assert_array_equal(target(x), network(x))


def test_a_saved_network_is_converted_to_the_same_network(saved, outputs, x, tmp_path):
    convert(saved, tmp_path / "out.keras")
    np.testing.assert_array_equal(keras_inception.load(tmp_path / "out.keras")(x), outputs)


@pytest.fixture(scope="module")
def naive(tmp_path_factory):
    """Save a network that no publisher has and that cannot be built from its weights alone."""
    path = tmp_path_factory.mktemp("naive") / "naive.keras"
    GoogLeNet(False, input_shape=(32, 32, 3), module="naive", name="googlenet").save(path)
    return path


@pytest.mark.full
def test_a_network_with_other_options_is_refused(naive, tmp_path):
    with pytest.raises(ValueError, match=r"naive\.keras is not a googlenet that can be rebuilt from its weights"):
        convert(naive, tmp_path / "out.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Write a run directory as training does, with a network in our own layout and with auxiliary classifiers."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    folder.mkdir()
    GoogLeNet(classes=2, auxiliary=True, input_shape=SHAPE).save(folder / runs.MODEL)
    files.write_labels(folder / runs.LABELS, ["cat", "dog"])
    Preprocessing(SHAPE[:2], mean=(1.0, 2.0, 3.0)).save(folder / runs.PREPROCESSING)
    for name in (runs.RECIPE, runs.DATA):
        files.write_json(folder / name, {})
    return folder


@pytest.mark.full
def test_a_run_keeps_its_preprocessing(run, x, tmp_path):
    converted = convert(run, tmp_path / "out.safetensors")
    assert converted[1:4] == ("googlenet", "keras_inception", 2)
    trained = keras_inception.load(run)
    network = GoogLeNet(weights=tmp_path / "out.safetensors", classes=2, input_shape=SHAPE)
    np.testing.assert_array_equal(network(x), trained(x)["predictions"])
    assert network.preprocessing == converted.preprocessing == runs.Run(run).preprocessing
    heads = {key for key in load_file(tmp_path / "out.safetensors") if key.startswith("aux")}
    assert heads >= {"aux_4a/kernel", "aux_4d_conv/bias"}

    convert(run, tmp_path / "out.keras")
    np.testing.assert_array_equal(keras_inception.load(tmp_path / "out.keras")(x), network(x))


def test_a_network_of_our_own_layout_is_loaded_directly(run, x):
    network = GoogLeNet(weights=run / runs.MODEL, classes=2, input_shape=SHAPE)
    np.testing.assert_array_equal(network(x), keras_inception.load(run)(x)["predictions"])
    larger = GoogLeNet(False, run / runs.MODEL, input_shape=(96, 64, 3))
    assert larger.output_shape == (None, 3, 2, 1024)


def test_a_file_is_replaced_only_on_request(few, tmp_path):
    file = tmp_path / "weights.safetensors"
    shutil.copy(few, file)
    with pytest.raises(FileExistsError, match=r"weights\.safetensors exists: replace it with overwrite=True"):
        convert(file, file)
    assert convert(file, file, overwrite=True).path == file
    assert read_weights(file, "googlenet").tensors.keys() == read_weights(few, "googlenet").tensors.keys()


@pytest.mark.parametrize(
    ("tensors", "model", "target", "says"),
    [
        ({"blocks.0.attn": (3,)}, None, "out.keras", r"weights: `model` must name the network: no publisher"),
        ({"conv1/kernel": (3,)}, None, "out.keras", r"`model` must name the network.* Received: conv1/kernel$"),
        ({"conv1.conv.weight": (3,)}, "lenet", "out.keras", "`model` must be one of alexnet"),
        ({"conv1.conv.weight": (3,)}, "googlenet", "out.keras", "does not fit the network"),
        ({"conv1.conv.weight": (3,)}, None, "out.pth", r"`target` must end in \.keras or \.safetensors\. Received: '"),
    ],
)
def test_a_failed_conversion_leaves_no_file(tensors, model, target, says, tmp_path):
    save_file({key: np.ones(shape, np.float32) for key, shape in tensors.items()}, tmp_path / "weights")
    with pytest.raises(ValueError, match=says):
        convert(tmp_path / "weights", tmp_path / target, model=model)
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_published_weights_need_the_networks_name(tmp_path):
    with pytest.raises(ValueError, match=r"`model` must name the network whose weights are 'imagenet'"):
        convert("imagenet", tmp_path / "out.keras")


NETWORKS = {
    "tv_googlenet": "googlenet",
    "caffe_googlenet": "googlenet",
    "slim_inception_v1": "googlenet",
    "tv_inception_v3": "inception_v3",
    "keras_inception_v3": "inception_v3",
    "slim_inception_v3": "inception_v3",
    "timm_inception_v4": "inception_v4",
    "timm_inception_resnet_v2": "inception_resnet_v2",
    "keras_inception_resnet_v2": "inception_resnet_v2",
    "pretrainedmodels_bninception": "bn_inception",
    "tv_alexnet": "alexnet",
    "tv_vgg16_bn": "vgg16",
    "tv_vgg19": "vgg19",
    "tv_resnet34": "resnet34",
    "caffe_nin_cifar10": "network_in_network",
    "caffe_nin_imagenet": "network_in_network",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_recognized_by_the_names_of_its_tensors(name, golden):
    names = [key for key, _, kind in golden(name).parameters if kind != "counter"]
    assert network_of(names) == NETWORKS[name]
