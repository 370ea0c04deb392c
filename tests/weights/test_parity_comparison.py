"""Network in Network, VGG, AlexNet and ResNet with their publishers' weights."""

import logging

import keras
import numpy as np
import pytest
from networks import in_full_but
from safetensors.numpy import save_file
from writers import caffemodel, torch_zip

from keras_inception import VGG16, VGG19, AlexNet, NetworkInNetwork, Preprocessing, ResNet34, features
from keras_inception.weights import read_weights
from keras_inception.weights.publishers import PUBLISHERS, publisher_of

TOLERANCE = 1e-4  # relative to the largest output; see tests/golden/README.md

# Fixture -> network, publisher, factory and its options.
NETWORKS = {
    "caffe_nin_cifar10": ("network_in_network", "caffe_cifar10", NetworkInNetwork, {"classes": 10}),
    "caffe_nin_imagenet": ("network_in_network", "caffe", NetworkInNetwork, {}),
    "tv_alexnet": ("alexnet", "torchvision", AlexNet, {}),
    "tv_resnet34": ("resnet34", "torchvision", ResNet34, {}),
    "tv_vgg16_bn": ("vgg16", "torchvision_bn", VGG16, {}),
    "tv_vgg19": ("vgg19", "torchvision", VGG19, {}),
}
# Our layers by the publishers' stages; both are before the ReLU, or after it.
STAGES = {
    "tv_resnet34": {
        "bn1": "conv1_bn",
        "maxpool": "pool1",
        **{f"layer{i}.{j}": f"conv{i + 1}_{j + 1}" for i, last in ((1, 2), (2, 3), (3, 5), (4, 2)) for j in (0, last)},
        "avgpool": "global_pool",
    },
    "tv_vgg19": {
        **{f"features.{i}": f"block{n}_pool" for n, i in enumerate((4, 9, 18, 27, 36), 1)},
        "classifier.0": "fc1",
        "classifier.3": "fc2",
    },
}
KERAS_SHAPE = (64, 96, 3)


def normalized(name, network, picture):
    if name == "caffe_nin_cifar10":  # whose own preprocessing leaves whitened images unchanged
        return ((picture / 255 - 0.45) / 0.16).astype(np.float32)
    return network.preprocessing.normalize(picture)


def assert_close(got, want):
    want = np.asarray(want)
    assert np.abs(np.asarray(got).ravel() - want).max() <= TOLERANCE * np.abs(want).max()


def write(name, tensors, path):
    """A file in the publisher's format; safetensors for VGG, since a pickle of it is slow."""
    if name.startswith("caffe"):
        path.write_bytes(caffemodel(tensors))
    elif "vgg" in name:
        save_file(tensors, path)
    else:
        path.write_bytes(torch_zip(tensors))


@pytest.fixture(scope="module", params=in_full_but({"caffe_nin_cifar10", "tv_resnet34"}, NETWORKS))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def networks(name, golden, tmp_path_factory):
    """Networks with the publisher's weights, one for each variant. VGG's file, half a gigabyte, is removed."""
    family, _, factory, options = NETWORKS[name]
    path = tmp_path_factory.mktemp("comparison") / "weights"
    write(name, golden(name).tensors, path)
    del golden(name).tensors
    checkpoint = read_weights(path, family)
    yield [
        factory(weights=checkpoint, input_shape=shape, classifier_activation=None, **options)
        for shape in ((v.get("height", 224), v.get("width", 224), 3) for v in golden(name).variants)
    ]
    path.unlink()


def test_the_logits_are_the_publishers_at_every_size(name, networks, golden, pixels):
    for network, variant in zip(networks, golden(name).variants, strict=True):
        height, width = network.input_shape[1:3]
        logits = np.asarray(network(normalized(name, network, pixels(height, width))))[0]
        want = variant["outputs"]["logits"]
        assert_close(logits[:: round(logits.size / len(want))], want)
        assert np.argsort(-logits)[:5].tolist() == variant["top5"]["logits"]


def test_tensors_and_variables_match_one_to_one(name, networks, golden):
    family, publisher, *_ = NETWORKS[name]
    tensors = [tensor for tensor, _, kind in golden(name).parameters if kind != "counter"]
    assert publisher_of(tensors, family) == publisher
    ours = [PUBLISHERS[family][publisher].ours(tensor) for tensor in tensors]
    for network in networks:
        assert sorted(ours) == sorted(
            f"{layer.name}/{weight.name}" for layer in network.layers for weight in layer.weights
        )
        assert network.count_params() == golden(name).count["all"]


def test_the_preprocessing_is_the_publishers_at_the_networks_size(name, networks):
    of_publisher = {
        "caffe_nin_cifar10": Preprocessing(mean=(0, 0, 0), std=(1, 1, 1)),
        "caffe_nin_imagenet": Preprocessing.named("caffe"),
    }.get(name, Preprocessing.named("torchvision"))
    for network in networks:
        assert network.preprocessing == of_publisher.replace(size=network.input_shape[1:3])


@pytest.mark.full
@pytest.mark.parametrize("name", STAGES, scope="module", indirect=True)
def test_every_stage_is_the_publishers(name, networks, golden, pixels):
    stages = {stage["name"]: stage for stage in golden(name).variants[0]["stages"]}
    assert set(STAGES[name]) == set(stages)
    outputs = {theirs: networks[0].get_layer(ours).output for theirs, ours in STAGES[name].items()}
    maps = keras.Model(networks[0].input, outputs)(normalized(name, networks[0], pixels(224, 224)))
    for theirs, stage in stages.items():
        got = np.asarray(maps[theirs])[0]
        assert got.size == np.prod(stage["shape"])
        assert_close(got.ravel()[np.arange(16) * (got.size - 1) // 15], stage["values"])
        assert got.mean() == pytest.approx(stage["mean"], rel=TOLERANCE)
        assert got.std() == pytest.approx(stage["std"], rel=TOLERANCE)


@pytest.fixture(scope="module")
def keras_vgg16():
    """keras.applications' network for small images, with nonzero biases."""
    model = keras.applications.VGG16(weights=None, input_shape=KERAS_SHAPE, classes=20, classifier_activation=None)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name == "bias":
            weight.assign(rng.normal(0, 0.05, weight.shape))
    return model


@pytest.fixture(scope="module")
def keras_file(keras_vgg16, tmp_path_factory):
    path = tmp_path_factory.mktemp("comparison") / "vgg16.weights.h5"
    keras_vgg16.save_weights(path)
    yield path
    path.unlink()


def test_vgg_equals_that_of_keras_applications(keras_vgg16, keras_file, pixels):
    network = VGG16(weights=keras_file, input_shape=KERAS_SHAPE, classes=20, classifier_activation=None)
    picture = pixels(*KERAS_SHAPE[:2])
    theirs = keras_vgg16(keras.applications.vgg16.preprocess_input(picture.copy()))
    assert_close(network(network.preprocessing.normalize(picture)), np.ravel(theirs))
    assert network.count_params() == keras_vgg16.count_params()


def test_convolutions_of_keras_applications_vgg_take_any_size(keras_vgg16, keras_file, pixels, caplog):
    with caplog.at_level(logging.INFO, logger="keras_inception"):
        body = VGG16(include_top=False, weights=keras_file)
    assert "skipped tensors of classifiers that the network lacks: fc1/kernel, fc1/bias" in caplog.text
    assert body.preprocessing.channels == "BGR"
    x = body.preprocessing.normalize(pixels(75, 101))
    trunk = keras.Model(keras_vgg16.input, keras_vgg16.get_layer("block5_pool").output)
    small = keras.applications.VGG16(include_top=False, weights=None)
    small.set_weights(trunk.get_weights())
    assert_close(body(x), np.ravel(small(x)))
    both = features(body, ["block3_conv3", "block5_pool"])(x)
    assert both["block3_conv3"].shape == (1, 18, 25, 256)
    assert_close(both["block5_pool"], np.ravel(small(x)))


@pytest.mark.full
def test_weights_of_keras_applications_for_another_size_are_refused_with_both_shapes(keras_file):
    match = r"fc1/kernel \(3072, 4096\) for fc1/kernel \(25088, 4096\)"
    with pytest.raises(ValueError, match=match):
        VGG16(weights=keras_file, input_shape=(64, 64, 3), classes=20)


@pytest.mark.parametrize(
    ("family", "publisher", "tensor", "ours"),
    [
        ("vgg16", "torchvision", "features.28.bias", "block5_conv3/bias"),
        ("vgg16", "torchvision", "features.30.bias", None),
        ("vgg16", "torchvision_bn", "features.40.weight", "block5_conv3/kernel"),
        ("vgg16", "torchvision_bn", "features.41.weight", "block5_conv3_bn/gamma"),
        ("vgg16", "torchvision_bn", "features.40.running_mean", None),
        ("vgg19", "torchvision", "features.34.weight", "block5_conv4/kernel"),
        ("vgg19", "torchvision_bn", "features.50.running_var", "block5_conv4_bn/moving_variance"),
        ("vgg19", "keras", "block5_conv4/kernel", "block5_conv4/kernel"),
        ("vgg19", "keras", "block5_conv4_bn/gamma", None),
        ("alexnet", "torchvision", "classifier.4.weight", "fc7/kernel"),
        ("alexnet", "torchvision", "features.1.weight", None),
        ("resnet34", "torchvision", "layer3.5.bn2.running_var", "conv4_6_2_bn/moving_variance"),
        ("resnet34", "torchvision", "layer4.0.downsample.1.bias", "conv5_1_shortcut_bn/beta"),
        ("resnet34", "torchvision", "layer1.0.downsample.0.weight", None),
        ("resnet34", "torchvision", "layer2.4.conv1.weight", None),
        ("network_in_network", "caffe", "cccp6/0", "cccp6/kernel"),
        ("network_in_network", "caffe", "cccp8-1024/1", "predictions_conv/bias"),
        ("network_in_network", "caffe_cifar10", "cccp6/0", "predictions_conv/kernel"),
        ("network_in_network", "caffe_cifar10", "conv4-1024/0", None),
    ],
)
def test_names_by_example(family, publisher, tensor, ours):
    assert PUBLISHERS[family][publisher].ours(tensor) == ours


@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_keras_own_names_of_vgg_are_understood(network):
    model = getattr(keras.applications, network.upper())(include_top=False, weights=None)
    name_map = PUBLISHERS[network]["keras"]
    for weight in model.weights:
        assert name_map.ours(weight.path) == weight.path
