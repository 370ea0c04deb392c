"""Inception v4, Inception-ResNet v2 and BN-Inception with their publishers' weights."""

import re

import numpy as np
import pytest
from networks import in_full_but

from keras_inception import BNInception, InceptionResNetV2, InceptionV4
from keras_inception.weights.publishers import PUBLISHERS, publisher_of

TOLERANCE = 1e-4  # relative to the largest output; see tests/golden/README.md

# Fixture -> network, publisher and factory.
NETWORKS = {
    "timm_inception_v4": ("inception_v4", "timm", InceptionV4),
    "timm_inception_resnet_v2": ("inception_resnet_v2", "timm", InceptionResNetV2),
    "keras_inception_resnet_v2": ("inception_resnet_v2", "keras", InceptionResNetV2),
    "pretrainedmodels_bninception": ("bn_inception", "pretrainedmodels", BNInception),
}


@pytest.fixture(scope="module", params=in_full_but({"pretrainedmodels_bninception"}, NETWORKS))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(name, weight_file):
    """The network with its publisher's weights, for any size."""
    factory = NETWORKS[name][-1]
    return factory(weights=weight_file(name), input_shape=(None, None, 3), classifier_activation=None)


def mapped(name, golden, rename=str):
    """Our names for a publisher's tensors, after a change to theirs."""
    family, publisher, _ = NETWORKS[name]
    names = [rename(tensor) for tensor in golden(name).weights]
    name_map = PUBLISHERS[family][publisher].for_file(names)
    assert publisher_of(names, family) == publisher
    return [name_map.ours(tensor) for tensor in names]


def test_the_logits_are_the_publishers_at_every_size(name, network, golden, pixels):
    assert len(golden(name).variants) >= 2
    for variant in golden(name).variants:
        logits = network(network.preprocessing.normalize(pixels(variant["height"], variant["width"])))
        want = np.array(variant["outputs"]["logits"])
        got = np.asarray(logits)[0]
        assert np.abs(got[::10] - want).max() <= TOLERANCE * np.abs(want).max()
        assert np.argsort(-got)[:5].tolist() == variant["top5"]["logits"]


def test_tensors_and_variables_match_one_to_one(name, network, golden):
    ours = mapped(name, golden)
    assert sorted(ours) == sorted(f"{layer.name}/{weight.name}" for layer in network.layers for weight in layer.weights)
    assert network.count_params() == golden(name).count["all"]


def test_numbered_layers_of_keras_may_start_at_any_number(golden):
    ours = mapped("keras_inception_resnet_v2", golden)
    for first in (1, 94):  # 1 in the published file

        def later(tensor, first=first):
            kind = re.match(r"(conv2d|batch_normalization)(_\d+)?/", tensor)
            if not kind:
                return tensor
            return f"{kind[1]}_{int((kind[2] or '_0')[1:]) + first}/{tensor.partition('/')[2]}"

        assert mapped("keras_inception_resnet_v2", golden, later) == ours


def test_timm_and_keras_agree_on_the_shape_of_every_kernel(golden):
    shapes = [
        dict(zip(mapped(name, golden), (tensor.shape for tensor in golden(name).weights.values()), strict=True))
        for name in ("timm_inception_resnet_v2", "keras_inception_resnet_v2")
    ]
    timm = {ours: shape for ours, shape in shapes[0].items() if not ours.endswith("/gamma")}
    keras = {ours: tuple(np.empty(shape).transpose().shape) for ours, shape in shapes[1].items()}
    assert timm.keys() == keras.keys()
    for ours, shape in timm.items():
        # A kernel (height, width, in, out) reversed is (out, in, width, height).
        turned = (*shape[:2], *reversed(shape[2:]))
        assert turned == keras[ours], ours


def test_batch_norm_of_the_first_published_file_has_two_axes():
    # bn_inception-52deb4733.pth of pretrainedmodels 0.7.4, written by an early torch.
    name_map = PUBLISHERS["bn_inception"]["pretrainedmodels"]
    assert name_map.ours("conv1_7x7_s2_bn.running_var") == "conv1_bn/moving_variance"
    values = np.arange(64, dtype=np.float32)
    np.testing.assert_array_equal(name_map.in_keras_layout(values[None], (64,)), values)


@pytest.mark.parametrize("family", ["inception_v4", "inception_resnet_v2"])
def test_the_background_class_of_timms_first_files_is_cut_off(family):
    # inceptionv4-8e4777a0.pth and inception_resnet_v2-940b1cd6.pth: timm 0.4.12 has a `label_offset` of 1 for them.
    name_map = PUBLISHERS[family]["timm"]
    kernel, bias = np.arange(1001 * 4, dtype=np.float32).reshape(1001, 4), np.arange(1001, dtype=np.float32)
    np.testing.assert_array_equal(name_map.in_keras_layout(kernel, (4, 1000)), kernel[1:].T)
    np.testing.assert_array_equal(name_map.in_keras_layout(bias, (1000,)), bias[1:])
    np.testing.assert_array_equal(name_map.in_keras_layout(kernel, (4, 1001)), kernel.T)


@pytest.mark.parametrize(
    ("name", "tensor", "ours"),
    [
        ("timm_inception_v4", "features.3.conv.conv.weight", "mixed_3a_3x3/kernel"),
        ("timm_inception_v4", "features.17.branch2.4.bn.weight", "mixed_6h_double_7x7_4_bn/gamma"),
        ("timm_inception_v4", "features.21.branch2_3b.conv.weight", "mixed_7d_double_3x3_3_3x1/kernel"),
        ("timm_inception_v4", "features.22.branch0.conv.weight", None),
        ("timm_inception_v4", "features.3.branch0.conv.weight", None),
        ("timm_inception_resnet_v2", "repeat_1.19.conv2d.bias", "block17_20_conv/bias"),
        ("timm_inception_resnet_v2", "block8.branch1.2.bn.running_mean", "block8_10_3x3_2_bn/moving_mean"),
        ("timm_inception_resnet_v2", "repeat_2.9.conv2d.bias", None),
        ("keras_inception_resnet_v2", "conv_7b_bn/beta", "conv2d_7b_bn/beta"),
        ("keras_inception_resnet_v2", "block8_10_conv/bias", "block8_10_conv/bias"),
        ("keras_inception_resnet_v2", "conv2d_202/kernel", "block8_10_3x3_2/kernel"),
        ("keras_inception_resnet_v2", "conv2d_203/kernel", None),
        ("pretrainedmodels_bninception", "inception_4e_double_3x3_2.bias", "inception_4e_double_3x3_2/bias"),
        ("pretrainedmodels_bninception", "inception_4e_1x1.weight", None),
        ("pretrainedmodels_bninception", "inception_3c_pool_proj_bn.bias", None),
    ],
)
def test_names_by_example(name, tensor, ours):
    family, publisher, _ = NETWORKS[name]
    assert PUBLISHERS[family][publisher].ours(tensor) == ours
