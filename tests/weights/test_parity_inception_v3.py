"""Inception v3 with its publishers' weights computes its publishers' outputs."""

import logging

import keras
import numpy as np
import pytest
from networks import in_full_but
from safetensors.numpy import save_file

from keras_inception import InceptionV2, InceptionV3, Preprocessing
from keras_inception.weights import read_weights
from keras_inception.weights.publishers import PUBLISHERS, publisher_of
from keras_inception.weights.publishers.inception_v3 import CONVOLUTIONS

TOLERANCE = 1e-4  # relative to the largest output; see tests/golden/README.md

FIXTURES = {"tv_inception_v3": "torchvision", "keras_inception_v3": "keras", "slim_inception_v3": "tf_slim"}
MODULES = [f"5{x}" for x in "bcd"] + [f"6{x}" for x in "abcde"] + [f"7{x}" for x in "abc"]
MIXED = {f"mixed_{key}": f"Mixed_{key}" for key in MODULES}
STAGES = {
    "tv_inception_v3": {
        "conv2d_1a_relu": "Conv2d_1a_3x3",
        "conv2d_2a_relu": "Conv2d_2a_3x3",
        "conv2d_2b_relu": "Conv2d_2b_3x3",
        "maxpool_3a": "maxpool1",
        "conv2d_3b_relu": "Conv2d_3b_1x1",
        "conv2d_4a_relu": "Conv2d_4a_3x3",
        "maxpool_5a": "maxpool2",
        **MIXED,
        "inception_v3-global_pool": "avgpool",
    },
    "keras_inception_v3": {
        "conv2d_1a_relu": "activation",
        "conv2d_2b_relu": "activation_2",
        "maxpool_3a": "max_pooling2d",
        "conv2d_4a_relu": "activation_4",
        "maxpool_5a": "max_pooling2d_1",
        **{f"mixed_{key}": f"mixed{number}" for number, key in enumerate(MODULES)},
        "inception_v3-global_pool": "avg_pool",
    },
    "slim_inception_v3": {
        "conv2d_1a_relu": "Conv2d_1a_3x3",
        "conv2d_2a_relu": "Conv2d_2a_3x3",
        "conv2d_2b_relu": "Conv2d_2b_3x3",
        "maxpool_3a": "MaxPool_3a_3x3",
        "conv2d_3b_relu": "Conv2d_3b_1x1",
        "conv2d_4a_relu": "Conv2d_4a_3x3",
        "maxpool_5a": "MaxPool_5a_3x3",
        **MIXED,
    },
}


def assert_close(got, want):
    want = np.asarray(want)
    assert np.abs(np.asarray(got).ravel() - want).max() <= TOLERANCE * np.abs(want).max()


def network(name, weight_file, **options):
    """The network with the publisher's number of classes, with logits and the auxiliary classifier if there is one."""
    classes = 1001 if name.startswith("slim") else 1000
    options = {"auxiliary": not name.startswith("keras"), "classes": classes, **options}
    return InceptionV3(weights=weight_file(name), classifier_activation=None, **options)


@pytest.fixture(scope="module", params=in_full_but({"tv_inception_v3"}, FIXTURES))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name, weight_file):
    return network(name, weight_file)


def test_the_logits_of_top_and_head_are_the_publishers(name, model, weight_file, golden, pixels):
    step = 10 if name.startswith("slim") else 1
    for variant in golden(name).variants:
        if variant.get("height", 299) != 299:
            continue  # another size, without the auxiliary classifier: see below
        options = variant["options"]
        preprocessing = read_weights(weight_file(name), "inception_v3", **options).preprocessing
        outputs = model(preprocessing.normalize(pixels(299, 299)))
        outputs = outputs if isinstance(outputs, dict) else {"predictions": outputs}
        wanted = {"predictions": "logits", "aux": "AuxLogits"}
        assert {wanted[ours] for ours in outputs} == set(variant["outputs"])
        for ours, values in outputs.items():
            assert_close(values[:, ::step], variant["outputs"][wanted[ours]])


def test_every_stage_is_the_publishers(name, model, golden, pixels):
    stages = {stage["name"]: stage for stage in golden(name).variants[0]["stages"]}
    assert set(STAGES[name].values()) == set(stages)
    trunk = keras.Model(model.input, {ours: model.get_layer(ours).output for ours in STAGES[name]})
    outputs = trunk(model.preprocessing.normalize(pixels(299, 299)))
    for ours, theirs in STAGES[name].items():
        stage = stages[theirs]
        got = np.asarray(outputs[ours])[0]
        assert got.size == np.prod(stage["shape"])
        assert got.shape == tuple(stage["shape"]) or ours == "inception_v3-global_pool"
        assert_close(got.ravel()[np.arange(16) * (got.size - 1) // 15], stage["values"])
        assert got.mean() == pytest.approx(stage["mean"], rel=TOLERANCE)
        assert got.std() == pytest.approx(stage["std"], rel=TOLERANCE)


def test_every_tensor_is_used_once_and_every_variable_set(name, model, weight_file, golden):
    before = model.get_weights()
    for variable in model.weights:
        variable.assign(np.full(variable.shape, np.nan))
    read_weights(weight_file(name), "inception_v3").load_into(model)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    # The same numbers, sorted: nothing twice, nothing left out.
    got = np.sort(np.concatenate([weight.ravel() for weight in before]))
    want = np.sort(np.concatenate([tensor.ravel() for tensor in golden(name).weights.values()]))
    assert len(want) == golden(name).count["all"]
    np.testing.assert_array_equal(got, want)
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable == golden(name).count["trainable"]


@pytest.mark.full
def test_another_size_agrees_and_the_background_class_is_left_out(weight_file, golden, pixels):
    model = network("slim_inception_v3", weight_file, input_shape=(None, None, 3), auxiliary=False, classes=1000)
    for variant, size in zip(golden("slim_inception_v3").variants, ((299, 299), (160, 192)), strict=True):
        assert size == (variant["height"], variant["width"])
        logits = model(model.preprocessing.normalize(pixels(*size)))
        assert_close(logits[:, 9::10], variant["outputs"]["logits"][1:])


@pytest.mark.full
def test_a_smaller_network_loads_the_weights_of_the_head(weight_file, golden):
    model = network("slim_inception_v3", weight_file, input_shape=(75, 80, 3), classes=1000)
    weights = golden("slim_inception_v3").weights
    kernel = weights["InceptionV3/AuxLogits/Conv2d_2a_5x5/weights"]
    np.testing.assert_array_equal(model.get_layer("aux_5x5").kernel, kernel)
    kernel = weights["InceptionV3/AuxLogits/Conv2d_2b_1x1/weights"][0, 0, :, 1:]  # without the background
    np.testing.assert_array_equal(model.get_layer("aux").kernel, kernel)
    assert model.preprocessing.size == (75, 80)


@pytest.mark.full
def test_a_head_that_is_not_asked_for_is_skipped(weight_file, caplog):
    with caplog.at_level(logging.INFO, logger="keras_inception"):
        model = network("tv_inception_v3", weight_file, include_top=False, auxiliary=False)
    assert model.count_params() == 23_869_000 - 2_049_000
    assert "AuxLogits.conv0.conv.weight" in caplog.text
    assert "(14 in all)" in caplog.text


@pytest.mark.full
def test_a_head_that_the_file_lacks_is_an_error(weight_file):
    with pytest.raises(ValueError, match=r"Tensors missing: aux_1x1/kernel, .* \(10 in all\)$"):
        network("keras_inception_v3", weight_file, auxiliary=True)


@pytest.mark.parametrize(
    ("name", "transform_input", "preprocessing"),
    [
        ("tv_inception_v3", False, Preprocessing.named("torchvision").replace(size=(299, 299), crop=299 / 342)),
        ("tv_inception_v3", True, Preprocessing.named("torchvision_unit").replace(size=(299, 299), crop=299 / 342)),
        pytest.param(
            "keras_inception_v3", False, Preprocessing.named("keras").replace(size=(299, 299)), marks=pytest.mark.full
        ),
        pytest.param(
            "slim_inception_v3",
            False,
            Preprocessing.named("inception").replace(size=(299, 299)),
            marks=pytest.mark.full,
        ),
    ],
)
def test_the_preprocessing_is_the_publishers(name, transform_input, preprocessing, weight_file):
    checkpoint = read_weights(weight_file(name), "inception_v3", transform_input=transform_input)
    assert checkpoint.publisher == FIXTURES[name]
    assert checkpoint.preprocessing == preprocessing


@pytest.mark.full
def test_transform_input_is_only_for_torchvision(weight_file):
    with pytest.raises(ValueError, match=r"`transform_input` is for torchvision's weights, and .* has tf_slim's"):
        network("slim_inception_v3", weight_file, transform_input=True)


@pytest.mark.parametrize(
    ("argument", "value", "needed"),
    [
        ("stem", "7x7", "'factorised'"),
        ("five", "two_3x3", "'5x5'"),
        ("factor_relu", False, "True"),
        ("head_batch_norm", False, "True"),
        ("reduction", "pool_last", "'parallel'"),
    ],
)
def test_an_option_that_contradicts_the_weights_is_refused(argument, value, needed, weight_file):
    match = rf"`{argument}` must be {needed} with the keras weights .* Received: {argument}={value!r}"
    with pytest.raises(ValueError, match=match):
        network("keras_inception_v3", weight_file, **{argument: value})


def test_v2_has_no_publisher(weight_file):
    with pytest.raises(ValueError, match=r"names of inception_v2 from one of keras_inception\. Received: Conv2d_1a_"):
        InceptionV2(weights=weight_file("tv_inception_v3"))


@pytest.mark.full
def test_weights_without_scale_are_read_again_under_our_names(weight_file, tmp_path):
    model = network("keras_inception_v3", weight_file, input_shape=(75, 75, 3))
    ours = {f"{layer.name}/{weight.name}": np.array(weight) for layer in model.layers for weight in layer.weights}
    save_file(ours, tmp_path / "ours.safetensors")
    again = InceptionV3(weights=tmp_path / "ours.safetensors", input_shape=(75, 75, 3), classifier_activation=None)
    x = np.random.default_rng(0).normal(size=(2, 75, 75, 3)).astype(np.float32)
    np.testing.assert_array_equal(model(x), again(x))


@pytest.mark.parametrize("name", FIXTURES)
def test_every_name_of_a_publisher_maps_to_a_different_one_of_ours(name, golden):
    names = list(golden(name).weights)
    name_map = PUBLISHERS["inception_v3"][FIXTURES[name]].for_file(names)
    ours = [name_map.ours(theirs) for theirs in names]
    assert None not in ours
    assert len(set(ours)) == len(names)
    assert publisher_of(names, "inception_v3") == FIXTURES[name]


@pytest.mark.parametrize(
    ("publisher", "name", "ours"),
    [
        ("torchvision", "Conv2d_2b_3x3.bn.running_var", "conv2d_2b_bn/moving_variance"),
        ("torchvision", "Mixed_5d.branch3x3dbl_2.conv.weight", "mixed_5d_double_3x3_1/kernel"),
        ("torchvision", "Mixed_6c.branch7x7dbl_5.bn.weight", "mixed_6c_double_7x7_4_bn/gamma"),
        ("torchvision", "Mixed_7c.branch3x3dbl_2.bn.bias", "mixed_7c_double_3x3_bn/beta"),
        ("torchvision", "Mixed_7b.branch3x3_2b.conv.weight", "mixed_7b_3x3_3x1/kernel"),
        ("torchvision", "AuxLogits.conv1.bn.running_mean", "aux_5x5_bn/moving_mean"),
        ("torchvision", "AuxLogits.fc.bias", "aux/bias"),
        ("torchvision", "Mixed_7b.branch3x3stack.conv.weight", None),
        ("keras", "conv2d/kernel", "conv2d_1a/kernel"),
        ("keras", "conv2d_26/kernel", "mixed_6a_3x3/kernel"),
        ("keras", "batch_normalization_93/moving_variance", "mixed_7c_pool_proj_bn/moving_variance"),
        ("keras", "conv2d_94/kernel", None),
        ("tf_slim", "InceptionV3/Mixed_5c/Branch_1/Conv_1_0c_5x5/weights", "mixed_5c_5x5/kernel"),
        ("tf_slim", "InceptionV3/Mixed_6a/Branch_0/Conv2d_1a_1x1/BatchNorm/beta", "mixed_6a_3x3_bn/beta"),
        ("tf_slim", "InceptionV3/Mixed_7b/Branch_1/Conv2d_0b_3x1/weights", "mixed_7b_3x3_3x1/kernel"),
        ("tf_slim", "InceptionV3/Mixed_7c/Branch_1/Conv2d_0c_3x1/weights", "mixed_7c_3x3_3x1/kernel"),
        ("tf_slim", "InceptionV3/AuxLogits/Conv2d_2b_1x1/biases", "aux/bias"),
        ("tf_slim", "InceptionV1/Conv2d_1a_7x7/weights", None),
    ],
)
def test_names_by_example(publisher, name, ours):
    assert PUBLISHERS["inception_v3"][publisher].ours(name) == ours


def renumbered(name, convolution, normalization):
    """A name of Keras in a file whose layers start at other numbers."""
    layer, variable = name.split("/")
    kind, _, number = layer.rpartition("_") if layer[-1].isdigit() else (layer, "", "0")
    first = {"conv2d": convolution, "batch_normalization": normalization}.get(kind)
    return name if first is None else f"{kind}_{int(number) + first}/{variable}"


@pytest.mark.parametrize("first", [(1, 1), (95, 94)])
def test_numbered_layers_of_keras_may_start_at_any_number(first, golden):
    names = list(golden("keras_inception_v3").weights)
    others = [renumbered(name, *first) for name in names]
    assert "conv2d_1/kernel" in others or "conv2d_95/kernel" in others
    assert publisher_of(others, "inception_v3") == "keras"
    plain = PUBLISHERS["inception_v3"]["keras"]
    counted = plain.for_file(others)
    assert [counted.ours(name) for name in others] == [plain.ours(name) for name in names]


def test_the_convolutions_of_keras_are_all_ours(model):
    layers = {layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)}
    assert layers - {"aux_1x1", "aux_5x5"} == set(CONVOLUTIONS)
    assert len(CONVOLUTIONS) == 94
