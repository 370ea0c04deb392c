"""What holds of every network of the registry; what is particular to one stands in a file of its own."""

from typing import NamedTuple

import keras
import numpy as np
import pytest
from counts import macs, trainable

import keras_inception
from keras_inception.registry import NETWORKS


class Expected(NamedTuple):
    """A network at its paper's size, and the smallest that the tests build."""

    options: dict
    parameters: int  # trainable
    macs: int
    small: int = 32  # side of a small input
    stages: tuple[str, ...] = ()


# Figures of NETWORKS.md, that is of the publishers' own graphs.
EXPECTED = {
    "alexnet": [Expected({}, 61_100_840, 714_188_480, 67, ("conv2", "pool2", "conv5"))],
    "bn_inception": [Expected({}, 11_295_240, 2_032_600_064, 64, ("inception_3b", "inception_4d", "inception_5b"))],
    "googlenet": [
        Expected({}, 6_998_552, 1_582_671_872, 32, ("inception_3b", "inception_4e", "inception_5b")),
        Expected({"normalization": "batch_norm"}, 6_624_904, 1_498_376_192),
        Expected({"module": "naive"}, 97_526_008, 12_568_061_056),
    ],
    "inception_resnet_v2": [Expected({}, 55_843_464, 13_155_794_016, 75, ("mixed_5b", "mixed_6a", "mixed_7a"))],
    "inception_v2": [Expected({}, 23_815_336, 5_299_886_272, 107, ("conv2d_1a", "mixed_6a", "mixed_7c"))],
    "inception_v3": [
        Expected({}, 23_834_568, 5_713_216_096, 107, ("mixed_5d", "mixed_6e", "mixed_7c")),
        Expected({"auxiliary": True}, 27_161_264, 5_718_899_296),
    ],
    "inception_v4": [Expected({}, 42_679_816, 12_253_974_624, 75, ("mixed_5e", "mixed_6h", "mixed_7d"))],
    "network_in_network": [
        Expected({"form": "cifar", "classes": 10}, 966_986, 222_486_528, 32, ("cccp2", "cccp4")),
        Expected({"form": "imagenet"}, 7_595_176, 1_100_188_800),
    ],
    "plain34": [Expected({}, 21_623_848, 3_644_493_824, 32, ("pool1", "conv3_4", "conv5_3"))],
    "resnet34": [
        Expected({"shortcut": "B"}, 21_797_672, 3_663_761_408, 32, ("pool1", "conv3_4", "conv5_3")),
        Expected({"shortcut": "A"}, 21_623_848, 3_644_493_824),
    ],
    "vgg16": [Expected({}, 138_357_544, 15_470_264_320, 32, ("block1_conv2", "block5_conv3"))],
    "vgg19": [Expected({}, 143_667_240, 19_632_062_464, 32, ("block1_conv2", "block5_conv4"))],
}
HEADS = {
    "googlenet": {"predictions", "aux_4a", "aux_4d"},
    "inception_v2": {"predictions", "aux"},
    "inception_v3": {"predictions", "aux"},
}
CASES = [pytest.param(name, case, id=f"{name} {case.options}") for name, cases in EXPECTED.items() for case in cases]


def picture(side, batch=2):
    return np.random.default_rng(side).normal(size=(batch, side, side, 3)).astype(np.float32)


@pytest.fixture(scope="module", params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def case(name):
    return EXPECTED[name][0]


@pytest.fixture(scope="module")
def small(name, case):
    """Seven classes, the heads where there are some."""
    options = {**case.options, "classes": 7, "auxiliary": name in HEADS}
    return keras_inception.create(name, input_shape=(case.small, case.small, 3), **options)


def test_the_list_is_that_of_the_registry():
    assert keras_inception.list_models() == sorted(NETWORKS) == sorted(EXPECTED)


@pytest.mark.parametrize(("name", "case"), CASES, indirect=False)
def test_parameters_and_multiply_adds_are_the_published_ones(name, case):
    with keras.StatelessScope(initialize_variables=False):  # shapes are all that is needed
        model = keras_inception.create(name, **case.options)
    keras.utils.clear_session(free_memory=False)  # or the next network would fill this one's weights in
    assert trainable(model) == case.parameters
    assert macs(model) == case.macs


def test_outputs_are_probabilities_under_their_names(name, case, small):
    outputs = small(picture(case.small))
    assert (set(outputs) if isinstance(outputs, dict) else {"predictions"}) == HEADS.get(name, {"predictions"})
    for values in outputs.values() if isinstance(outputs, dict) else [outputs]:
        assert values.shape == (2, 7)
        np.testing.assert_allclose(np.asarray(values).sum(axis=1), 1, rtol=1e-5)
    assert small.get_layer("predictions").output.shape == (None, 7)


def test_a_saved_network_opens_as_it_was(name, case, small, tmp_path):
    small.save(tmp_path / "model.keras")
    opened = keras_inception.load(tmp_path / "model.keras")
    x = picture(case.small)
    before, after = (model(x) for model in (small, opened))
    for output in before if isinstance(before, dict) else [...]:
        np.testing.assert_array_equal(before[output], after[output])


def test_without_a_top_it_takes_any_size(name, case):
    options = {key: value for key, value in case.options.items() if key != "classes"}
    model = keras_inception.create(name, include_top=False, **options)
    assert model.input_shape == (None, None, None, 3)
    channels = model.output_shape[-1]
    first, second = (model(picture(side, batch=1)) for side in (case.small, case.small + 37))
    assert first.shape[-1] == second.shape[-1] == channels
    assert second.shape[1] > first.shape[1] or first.shape[1] == second.shape[1] == 1
    assert np.isfinite(np.asarray(second)).all()


def test_features_are_the_named_stages(small, case):
    model = keras_inception.features(small, case.stages)
    maps = model(picture(case.small))
    assert tuple(maps) == case.stages
    sides = [maps[stage].shape[1] for stage in case.stages]
    assert sides == sorted(sides, reverse=True)
    assert all(np.asarray(maps[stage]).min() >= 0 for stage in case.stages)  # what follows the ReLU


def test_an_unknown_stage_is_named_with_what_is_near(small):
    with pytest.raises(ValueError, match=r"`stages` must be layers of .* Received: 'predictons'"):
        keras_inception.features(small, ["predictons"])


def test_a_training_step_moves_every_weight(name, case, small):
    outputs = HEADS.get(name, {"predictions"})
    small.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", run_eagerly=True)
    everything = small.get_weights()
    before = [np.array(weight) for weight in small.trainable_weights]
    y = np.array([1, 4])
    small.train_on_batch(picture(case.small), dict.fromkeys(outputs, y) if len(outputs) > 1 else y)
    after = [np.array(weight) for weight in small.trainable_weights]
    small.set_weights(everything)
    still = [old for old, new in zip(before, after, strict=True) if np.array_equal(old, new)]
    assert all(np.isfinite(weight).all() for weight in after)
    # A ReLU may be dead for two pictures, a whole network may not.
    assert len(still) < len(before) / 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 0}, "`classes` must be a positive integer. Received: classes=0"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\). Received: dropout=1.0"),
        ({"pooling": "avg"}, "`pooling` is for `include_top=False`"),
        ({"pooling": "sum", "include_top": False}, "`pooling` must be one of None, 'avg', 'max'. Received"),
        ({"input_shape": (8, 8, 3)}, r"`input_shape` must be at least \d+ on each side. Received: \(8, 8, 3\)"),
        ({"input_shape": (224, 224, 4)}, r"`input_shape` must be \(height, width, 3\). Received"),
        ({"weights": "no/such/file.pth"}, "no/such/file.pth"),
    ],
)
def test_wrong_arguments_are_refused(name, options, message):
    with pytest.raises((ValueError, OSError), match=message):
        keras_inception.create(name, **options)


def test_heads_are_refused_where_there_are_none(name):
    if name in HEADS:
        with pytest.raises(ValueError, match="`auxiliary=True` needs `include_top=True`"):
            keras_inception.create(name, auxiliary=True, include_top=False)
    else:
        with pytest.raises(ValueError, match=f"`auxiliary` must be False: {name} has no auxiliary classifiers"):
            keras_inception.create(name, auxiliary=True)


def test_own_weights_come_back(name, case, small, tmp_path):
    small.save_weights(tmp_path / "small.weights.h5")
    options = {**case.options, "classes": 7, "auxiliary": name in HEADS}
    again = keras_inception.create(
        name, input_shape=(case.small, case.small, 3), weights=tmp_path / "small.weights.h5", **options
    )
    for old, new in zip(small.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("spelling", ["Inception_V3", "inceptionv3", "INCEPTION-V3"])
def test_names_are_taken_in_any_spelling(spelling):
    model = keras_inception.create(spelling, include_top=False, pooling="avg")
    assert model.name == "inception_v3"
    assert model.output_shape == (None, 2048)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"`model` must be one of .* Did you mean ResNet34\? Received: 'resnet50'"):
        keras_inception.create("resnet50")
