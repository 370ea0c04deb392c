import pytest

from keras_inception.weights.publishers import PUBLISHERS, publisher_of
from keras_inception.weights.publishers.namemap import listed

NAMES = {"torchvision": "tv_googlenet", "caffe": "caffe_googlenet"}


@pytest.mark.parametrize("publisher", NAMES)
def test_every_name_of_a_publisher_maps_to_a_different_one_of_ours(publisher, golden):
    names = list(golden(NAMES[publisher]).weights)
    ours = [PUBLISHERS["googlenet"][publisher].ours(name) for name in names]
    assert None not in ours
    assert len(set(ours)) == len(names)
    assert publisher_of(names, "googlenet") == publisher


@pytest.mark.parametrize(
    ("publisher", "name", "ours"),
    [
        ("torchvision", "conv3.bn.running_var", "conv2_bn/moving_variance"),
        ("torchvision", "inception4e.branch3.0.conv.weight", "inception_4e_5x5_reduce/kernel"),
        ("torchvision", "inception4e.branch4.1.bn.weight", "inception_4e_pool_proj_bn/gamma"),
        ("torchvision", "aux2.fc1.bias", "aux_4d_fc/bias"),
        ("torchvision", "inception3a.branch5.conv.weight", None),
        ("torchvision", "layer1.0.conv1.weight", None),
        ("torchvision", "conv1/7x7_s2/0", None),
        ("caffe", "inception_5b/pool_proj/1", "inception_5b_pool_proj/bias"),
        ("caffe", "loss2/classifier/0", "aux_4d/kernel"),
        ("caffe", "conv1/7x7_s2/2", None),
        ("caffe", "conv1.conv.weight", None),
    ],
)
def test_names_by_example(publisher, name, ours):
    assert PUBLISHERS["googlenet"][publisher].ours(name) == ours


def test_a_few_foreign_names_do_not_hide_the_publisher():
    assert publisher_of(["conv1.conv.weight", "fc.bias", "ema.decay"], "googlenet") == "torchvision"


def test_a_long_list_is_cut_and_counted():
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefg")) == "a, b, c, d, e, … (7 in all)"
    assert len(listed(["n" * 1000])) == 80
