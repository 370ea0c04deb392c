"""GoogLeNet with TF-slim's weights of inception_v1 computes TF-slim's outputs."""

import keras
import numpy as np
import pytest

from keras_inception import GoogLeNet, Preprocessing
from keras_inception.weights import read_weights
from keras_inception.weights.publishers import PUBLISHERS, publisher_of

TOLERANCE = 1e-4  # relative to the largest output; see tests/golden/README.md

NAME = "slim_inception_v1"
# In TF-slim, a stage's first letter is its pooling.
OURS = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
THEIRS = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
STAGES = {
    "conv1_relu": "Conv2d_1a_7x7",
    "pool1": "MaxPool_2a_3x3",
    "conv2_reduce_relu": "Conv2d_2b_1x1",
    "conv2_relu": "Conv2d_2c_3x3",
    "pool2": "MaxPool_3a_3x3",
    "pool3": "MaxPool_4a_3x3",
    "pool4": "MaxPool_5a_2x2",
    **{f"inception_{ours}": f"Mixed_{theirs}" for ours, theirs in zip(OURS, THEIRS, strict=True)},
}


def assert_close(got, want):
    want = np.asarray(want)
    assert np.abs(np.asarray(got).ravel() - want).max() <= TOLERANCE * np.abs(want).max()


@pytest.fixture(scope="module")
def model(weight_file):
    return GoogLeNet(weights=weight_file(NAME), classes=1001, classifier_activation=None)


@pytest.mark.full
def test_the_logits_are_the_publishers(model, golden, pixels):
    assert model.preprocessing == Preprocessing.named("inception")
    [variant] = golden(NAME).variants
    assert_close(model(model.preprocessing.normalize(pixels(224, 224)))[:, ::10], variant["outputs"]["logits"])


@pytest.mark.full
def test_every_stage_is_the_publishers(model, golden, pixels):
    stages = {stage["name"]: stage for stage in golden(NAME).variants[0]["stages"]}
    assert set(STAGES.values()) == set(stages)
    trunk = keras.Model(model.input, {ours: model.get_layer(ours).output for ours in STAGES})
    outputs = trunk(model.preprocessing.normalize(pixels(224, 224)))
    for ours, theirs in STAGES.items():
        got = np.asarray(outputs[ours])[0]
        assert got.shape == tuple(stages[theirs]["shape"])
        assert_close(got.ravel()[np.arange(16) * (got.size - 1) // 15], stages[theirs]["values"])
        assert got.mean() == pytest.approx(stages[theirs]["mean"], rel=TOLERANCE)
        assert got.std() == pytest.approx(stages[theirs]["std"], rel=TOLERANCE)


@pytest.mark.full
def test_every_tensor_is_used_once_and_every_variable_set(model, weight_file, golden):
    for variable in model.weights:
        variable.assign(np.full(variable.shape, np.nan))
    read_weights(weight_file(NAME), "googlenet").load_into(model)
    got = np.sort(np.concatenate([weight.ravel() for weight in model.get_weights()]))
    want = np.sort(np.concatenate([tensor.ravel() for tensor in golden(NAME).weights.values()]))
    assert len(want) == golden(NAME).count["all"]
    np.testing.assert_array_equal(got, want)


@pytest.mark.full
def test_the_background_class_is_left_out(weight_file, golden, pixels):
    model = GoogLeNet(weights=weight_file(NAME), classifier_activation=None)
    logits = model(model.preprocessing.normalize(pixels(224, 224)))
    assert logits.shape == (1, 1000)
    assert_close(logits[:, 9::10], golden(NAME).variants[0]["outputs"]["logits"][1:])


@pytest.mark.full
def test_there_is_no_head(weight_file):
    with pytest.raises(ValueError, match=r"Tensors missing: aux_4a"):
        GoogLeNet(weights=weight_file(NAME), auxiliary=True)


def test_every_name_maps_to_a_different_one_of_ours(golden):
    names = list(golden(NAME).weights)
    ours = [PUBLISHERS["googlenet"]["tf_slim"].ours(name) for name in names]
    assert None not in ours
    assert len(set(ours)) == len(names)
    assert publisher_of(names, "googlenet") == "tf_slim"
