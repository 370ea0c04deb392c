"""GoogLeNet with its publishers' weights computes its publishers' outputs."""

from functools import partial

import keras
import numpy as np
import pytest
from writers import caffemodel, torch_stream, torch_zip

from keras_inception import GoogLeNet, Preprocessing
from keras_inception.weights import read_tensors

TOLERANCE = 1e-4  # relative to the largest output; see tests/golden/README.md

OUTPUTS = {
    "tv_googlenet": {"predictions": "logits", "aux_4a": "aux1", "aux_4d": "aux2"},
    "caffe_googlenet": {"predictions": "logits", "aux_4a": "loss1", "aux_4d": "loss2"},
}
# Formats that the publishers' tools write, besides those of `weight_file`.
FORMS = {"tv_googlenet": [torch_zip, torch_stream], "caffe_googlenet": [caffemodel, partial(caffemodel, v1=True)]}
MODULES = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
STAGES = {
    "tv_googlenet": {
        "conv1_relu": "conv1",
        "conv2_reduce_relu": "conv2",
        "conv2_relu": "conv3",
        **{f"pool{i}": f"maxpool{i}" for i in (1, 2, 3, 4)},
        **{f"inception_{key}": f"inception{key}" for key in MODULES},
        "googlenet-global_pool": "avgpool",
    },
    "caffe_googlenet": {
        **{f"pool{i}": f"pool{i}/3x3_s2" for i in (1, 2, 3, 4)},
        "pool1_norm": "pool1/norm1",
        "conv2_norm": "conv2/norm2",
        **{f"inception_{key}": f"inception_{key}/output" for key in MODULES},
        "aux_4a_pool": "loss1/ave_pool",
        "aux_4d_pool": "loss2/ave_pool",
        "googlenet-global_pool": "pool5/7x7_s1",
    },
}


def preprocessing(name, options):
    if name == "caffe_googlenet":
        return Preprocessing.named("caffe")
    return Preprocessing.named("inception" if options.get("transform_input") else "torchvision")


def assert_close(got, want):
    want = np.asarray(want)
    assert np.abs(np.asarray(got).ravel() - want).max() <= TOLERANCE * np.abs(want).max()


@pytest.fixture(scope="module", params=OUTPUTS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(name, weight_file):
    return GoogLeNet(weights=weight_file(name), auxiliary=True, classifier_activation=None)


def test_every_format_of_the_publishers_files_holds_the_same(name, golden, tmp_path):
    for write in FORMS[name]:
        (tmp_path / "file").write_bytes(write(golden(name).tensors))
        tensors = read_tensors(tmp_path / "file")
        assert list(tensors) == list(golden(name).weights)
        for key, values in golden(name).weights.items():
            np.testing.assert_array_equal(tensors[key], values)


def test_the_logits_and_both_heads_are_the_publishers(name, network, golden, pixels):
    for variant in golden(name).variants:
        outputs = network(preprocessing(name, variant["options"]).normalize(pixels(224, 224)))
        for ours, theirs in OUTPUTS[name].items():
            assert_close(outputs[ours], variant["outputs"][theirs])


def test_every_stage_is_the_publishers(name, network, golden, pixels):
    stages = {stage["name"]: stage for stage in golden(name).variants[0]["stages"]}
    assert set(STAGES[name].values()) == set(stages)
    trunk = keras.Model(network.input, {ours: network.get_layer(ours).output for ours in STAGES[name]})
    outputs = trunk(preprocessing(name, {}).normalize(pixels(224, 224)))
    for ours, theirs in STAGES[name].items():
        stage = stages[theirs]
        got = np.asarray(outputs[ours])[0]
        assert got.size == np.prod(stage["shape"])
        assert got.shape == tuple(stage["shape"]) or ours == "googlenet-global_pool"
        assert_close(got.ravel()[np.arange(16) * (got.size - 1) // 15], stage["values"])
        assert got.mean() == pytest.approx(stage["mean"], rel=TOLERANCE)
        assert got.std() == pytest.approx(stage["std"], rel=TOLERANCE)


def test_other_sizes_agree_with_one_network_of_any_size(name, weight_file, sizes, pixels):
    network = GoogLeNet(weights=weight_file(name), input_shape=(None, None, 3), classifier_activation=None)
    for size in sizes[name]:
        image = pixels(size["height"], size["width"])
        assert_close(network(preprocessing(name, {}).normalize(image))[:, ::10], size["outputs"]["logits"])


@pytest.mark.full
def test_other_sizes_agree_in_the_heads_too(name, weight_file, sizes, pixels):
    for size in (size for size in sizes[name] if len(size["outputs"]) == 3):
        shape = (size["height"], size["width"], 3)
        network = GoogLeNet(weights=weight_file(name), input_shape=shape, auxiliary=True, classifier_activation=None)
        outputs = network(preprocessing(name, {}).normalize(pixels(*shape[:2])))
        for ours, theirs in OUTPUTS[name].items():
            assert_close(outputs[ours][:, ::10], size["outputs"][theirs])
