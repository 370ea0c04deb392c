"""Tests that apply to every network in the registry. Tests of a single network are in its own file."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import keras
import numpy as np
import pytest
from model_helpers import image, macs, trainable
from networks import in_full_but

import keras_inception
from keras_inception import analysis
from keras_inception.registry import NETWORKS


class Case(NamedTuple):
    """How the tests build a network: the size of a small input, and further arguments."""

    side: int
    stages: tuple[str, ...]  # some, in order
    maps: dict  # the last feature map by the size of the image
    options: Mapping = MappingProxyType({})


CASES = {
    "alexnet": Case(67, ("conv2", "pool2", "conv5"), {(63, 63): (1, 1, 256), (224, 131): (6, 3, 256)}),
    "bn_inception": Case(
        64, ("inception_3b", "inception_4d", "inception_5b"), {(32, 32): (1, 1, 1024), (104, 209): (4, 7, 1024)}
    ),
    "googlenet": Case(
        32, ("inception_3b", "inception_4e", "inception_5b"), {(32, 32): (1, 1, 1024), (65, 97): (3, 4, 1024)}
    ),
    "inception_resnet_v2": Case(
        75, ("mixed_5b", "mixed_6a", "mixed_7a"), {(75, 75): (1, 1, 1536), (107, 139): (2, 3, 1536)}
    ),
    "inception_v2": Case(
        107, ("conv2d_1a", "mixed_6a", "mixed_7c"), {(75, 75): (1, 1, 2048), (107, 139): (2, 3, 2048)}
    ),
    "inception_v3": Case(107, ("mixed_5d", "mixed_6e", "mixed_7c"), {(75, 75): (1, 1, 2048), (107, 139): (2, 3, 2048)}),
    "inception_v4": Case(75, ("mixed_5e", "mixed_6h", "mixed_7d"), {(75, 75): (1, 1, 1536), (107, 139): (2, 3, 1536)}),
    "network_in_network": Case(
        32, ("cccp2", "cccp4"), {(8, 9): (2, 2, 192), (48, 35): (12, 8, 192)}, {"form": "cifar"}
    ),
    "plain34": Case(32, ("pool1", "conv3_4", "conv5_3"), {(32, 32): (1, 1, 512), (97, 130): (4, 5, 512)}),
    "resnet34": Case(32, ("pool1", "conv3_4", "conv5_3"), {(32, 32): (1, 1, 512), (97, 130): (4, 5, 512)}),
    "vgg16": Case(32, ("block1_conv2", "block5_conv3"), {(32, 33): (1, 1, 512), (79, 120): (2, 3, 512)}),
    "vgg19": Case(32, ("block1_conv2", "block5_conv4"), {(32, 33): (1, 1, 512), (79, 120): (2, 3, 512)}),
}
# Trainable parameters and multiply-adds of the publishers' own graphs, besides those in the registry.
VARIANTS = [
    ("googlenet", {"normalization": "batch_norm"}, 6_624_904, 1_498_376_192),
    ("googlenet", {"module": "naive"}, 97_526_008, 12_568_061_056),
    ("inception_v3", {"auxiliary": True}, 27_161_264, 5_718_899_296),
    ("network_in_network", {"form": "cifar", "classes": 10}, 966_986, 222_486_528),
    ("resnet34", {"shortcut": "A"}, 21_623_848, 3_644_493_824),
]


@pytest.fixture(
    scope="module",
    params=in_full_but({"googlenet", "network_in_network", "resnet34"}, NETWORKS),
)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def case(name):
    return CASES[name]


@pytest.fixture(scope="module")
def outputs(name):
    """Return the names of the outputs with the auxiliary classifiers."""
    return ("predictions", *NETWORKS[name].heads)


@pytest.fixture(scope="module")
def small(name, case):
    """Return a small network with seven classes, and auxiliary classifiers if it has any."""
    options = {**case.options, "classes": 7, "auxiliary": bool(NETWORKS[name].heads)}
    return keras_inception.create(name, input_shape=(case.side, case.side, 3), **options)


def shapes_only(name, **options):
    """Build a network without weights, for tests that need only the shapes."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            return keras_inception.create(name, **options)
    finally:
        keras.utils.clear_session(free_memory=False)  # or the next network would fill in this one's weights


def test_the_list_is_the_registry():
    assert keras_inception.list_models() == sorted(NETWORKS) == sorted(CASES)


@pytest.mark.parametrize("name", NETWORKS, indirect=False)
def test_the_registrys_figures_are_the_networks_own(name):
    with keras.StatelessScope(initialize_variables=False):
        model = keras_inception.create(name)
        cost = analysis.cost(model)
    keras.utils.clear_session(free_memory=False)
    size, parameters, multiply_adds = NETWORKS[name][1:4]
    assert cost.input_shape == model.input_shape[1:] == (size, size, 3)
    assert cost.trainable == trainable(model) == parameters
    assert cost.macs == macs(model) == multiply_adds


@pytest.mark.parametrize(("name", "options", "parameters", "multiply_adds"), VARIANTS, ids=str, indirect=False)
def test_variants_have_the_published_parameters_and_multiply_adds(name, options, parameters, multiply_adds):
    model = shapes_only(name, **options)
    assert trainable(model) == parameters
    assert macs(model) == multiply_adds


def test_outputs_are_probabilities_under_their_names(case, small, outputs):
    found = small(image(case.side, case.side, batch=2))
    found = found if isinstance(found, dict) else {"predictions": found}
    assert tuple(found) == outputs
    for values in found.values():
        assert values.shape == (2, 7)
        np.testing.assert_allclose(np.asarray(values).sum(axis=1), 1, rtol=1e-5)
    assert small.get_layer("predictions").output.shape == (None, 7)


def test_a_saved_network_opens_unchanged(case, small, tmp_path):
    small.save(tmp_path / "model.keras")
    opened = keras_inception.load(tmp_path / "model.keras")
    x = image(case.side, case.side, batch=2)
    before, after = (model(x) for model in (small, opened))
    for output in before if isinstance(before, dict) else [...]:
        np.testing.assert_array_equal(before[output], after[output])


def test_without_a_top_it_takes_any_size(name, case):
    model = keras_inception.create(name, include_top=False, **case.options)
    assert model.input_shape == (None, None, None, 3)
    for size, last_map in case.maps.items():
        output = model(image(*size))
        assert output.shape == (1, *last_map)
        assert np.isfinite(output).all()


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_any_number_of_channels(name, case, channels):
    model = shapes_only(name, input_shape=(case.side, case.side, channels), classes=5, **case.options)
    assert model.input_shape[-1] == channels
    assert model.output_shape == (None, 5)


def test_it_builds_under_mixed_precision(name, case, outputs, mixed_bfloat16):
    options = {**case.options, "classes": 5, "auxiliary": len(outputs) > 1}
    model = keras_inception.create(name, input_shape=(case.side, case.side, 3), **options)
    assert model.get_layer(case.stages[-1]).compute_dtype == "bfloat16"
    found = model(image(case.side, case.side))
    for output in found.values() if isinstance(found, dict) else [found]:
        assert np.asarray(output).dtype == np.float32
        np.testing.assert_allclose(np.sum(output), 1.0, rtol=1e-5)


def test_features_are_the_named_stages(small, case):
    model = keras_inception.features(small, case.stages)
    maps = model(image(case.side, case.side, batch=2))
    assert tuple(maps) == case.stages
    sides = [maps[stage].shape[1] for stage in case.stages]
    assert sides == sorted(sides, reverse=True)
    assert all(np.asarray(maps[stage]).min() >= 0 for stage in case.stages)  # after the ReLU


def test_the_error_for_an_unknown_stage_suggests_the_nearest(small):
    message = r"`stages` must be layers of .* Did you mean predictions\? Received: 'predictons'"
    with pytest.raises(ValueError, match=message):
        keras_inception.features(small, ["predictons"])


def test_a_training_step_changes_nearly_every_weight(case, small, outputs):
    small.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", run_eagerly=True)
    everything = small.get_weights()
    before = [np.array(weight) for weight in small.trainable_weights]
    y = np.array([1, 4])
    small.train_on_batch(image(case.side, case.side, batch=2), dict.fromkeys(outputs, y) if len(outputs) > 1 else y)
    after = [np.array(weight) for weight in small.trainable_weights]
    small.set_weights(everything)
    unchanged = [old for old, new in zip(before, after, strict=True) if np.array_equal(old, new)]
    assert all(np.isfinite(weight).all() for weight in after)
    # Some ReLUs may be dead for two images, but not those of a whole network.
    assert len(unchanged) < len(before) / 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 0}, "`classes` must be a positive integer. Received: classes=0"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\). Received: dropout=1.0"),
        ({"pooling": "avg"}, "`pooling` is for `include_top=False`"),
        ({"pooling": "sum", "include_top": False}, "`pooling` must be one of None, 'avg', 'max'. Received"),
        ({"input_shape": (7, 7, 3)}, r"`input_shape` must be at least \d+ on each side. Received: \(7, 7, 3\)"),
        ({"input_shape": (224, 224)}, r"`input_shape` must be \(height, width, channels\). Received"),
        ({"weights": "no/such/file.pth"}, "no/such/file.pth"),
        ({"filters": {"conv1": 0}}, r"`filters` must be positive integers. Received: filters={'conv1': 0}"),
    ],
)
def test_wrong_arguments_are_refused(name, options, message):
    with pytest.raises((ValueError, OSError), match=message):
        keras_inception.create(name, **options)


def test_auxiliary_classifiers_are_refused_where_there_are_none(name, outputs):
    if len(outputs) > 1:
        with pytest.raises(ValueError, match="`auxiliary=True` needs `include_top=True`"):
            keras_inception.create(name, auxiliary=True, include_top=False)
    else:
        with pytest.raises(ValueError, match=f"`auxiliary` must be False: {name} has no auxiliary classifiers"):
            keras_inception.create(name, auxiliary=True)


def test_own_weights_come_back(name, case, small, tmp_path):
    small.save_weights(tmp_path / "small.weights.h5")
    options = {**case.options, "classes": 7, "auxiliary": bool(NETWORKS[name].heads)}
    again = keras_inception.create(
        name, input_shape=(case.side, case.side, 3), weights=tmp_path / "small.weights.h5", **options
    )
    for old, new in zip(small.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_convolutions_take_their_number_of_filters_or_refuse_it(name, case, small):
    """No entry of `filters` is ignored, whatever builds the convolution."""
    first, *_, last = (layer for layer in small.layers if isinstance(layer, keras.layers.Conv2D))
    filters = {layer.name: layer.filters - 1 for layer in (first, last)}
    options = {**case.options, "classes": 7, "auxiliary": bool(NETWORKS[name].heads), "filters": filters}
    try:
        model = shapes_only(name, input_shape=(case.side, case.side, 3), **options)
    except ValueError as error:
        assert f"`filters` of {last.name} must be {last.filters}" in str(error)  # noqa: PT017
    else:
        assert {layer: model.get_layer(layer).filters for layer in filters} == filters


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "inception_resnet_v2",
            {"filters": {"block35_1_conv": 100}},
            "of block35_1_conv must be 320: .* Received: 100",
        ),
        (
            "network_in_network",
            {"filters": {"predictions_conv": 4}},
            "of predictions_conv must be 1000: .* Received: 4",
        ),
        ("resnet34", {"filters": {"conv2_2_2": 32}}, "of conv2_2_2 must be 64, the channels of the shortcut"),
        ("alexnet", {"filters": {"conv6": 4}}, r"must name convolutions of alexnet\. Did you mean conv5\? .*'conv6'"),
        ("alexnet", {"filters": {"fc6": 4}}, "must name convolutions of alexnet.* Received: 'fc6'"),
    ],
    indirect=False,
)
def test_filters_that_cannot_take_effect_are_refused(name, options, message):
    with pytest.raises(ValueError, match=f"^`filters` {message}"):
        shapes_only(name, **options)


def test_filters_that_a_sum_determines_may_be_stated():
    filters = {"mixed_5b_1x1": 64, "block35_1_conv": 288, "block35_1_1x1": 8}
    model = shapes_only("inception_resnet_v2", filters=filters)
    assert {name: model.get_layer(name).filters for name in filters} == filters


@pytest.mark.parametrize("spelling", in_full_but({"INCEPTION-V3"}, ["Inception_V3", "inceptionv3", "INCEPTION-V3"]))
def test_names_are_accepted_in_any_spelling(spelling):
    model = shapes_only(spelling, include_top=False, pooling="avg")
    assert model.name == "inception_v3"
    assert model.output_shape == (None, 2048)


def test_the_error_for_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"`model` must be one of .* Did you mean ResNet34\? Received: 'resnet50'"):
        keras_inception.create("resnet50")
