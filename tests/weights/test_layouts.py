"""Layouts of weights that have our own names."""

import contextlib
import dataclasses
import json
import zipfile

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers
from safetensors.numpy import save_file

import keras_inception
from keras_inception import Preprocessing
from keras_inception.layers import LocalResponseNormalization
from keras_inception.models import blocks
from keras_inception.preprocessing import DEFAULT
from keras_inception.weights.checkpoint import Checkpoint
from keras_inception.weights.layouts import Description, Record, WeightsFile, description_of_model, differences


def network(padding="same", pool=3, relu=True, epsilon=1e-3, side=32, top=True):
    """Two convolutions and a pooling, in one of several layouts."""
    inputs = keras.Input((side, side, 3), name="image")
    norm = blocks.BatchNorm(epsilon)
    x = blocks.conv(inputs, 4, 7, strides=2, padding=padding, batch_norm=norm, name="conv1")
    x = blocks.max_pool(x, pool, name="pool1")
    x = blocks.conv(x, 4, 3, relu=relu, name="conv2")
    x = layers.GlobalAveragePooling2D(name="global_pool")(blocks.max_pool(x, name="pool2"))
    return keras.Model(inputs, blocks.classifier(x, 5, dropout=0.1, activation=None, name="predictions") if top else x)


LAYOUTS = {
    "padded": ({"padding": "symmetric"}, ["conv1"]),
    "pooled": ({"pool": 2}, ["pool1"]),
    "epsilon": ({"epsilon": 1e-5}, ["conv1_bn"]),
    "linear": ({"relu": False}, ["pool2"]),
}


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_saved_network_is_described_as_the_built_one(ending, tmp_path):
    network("symmetric").save(tmp_path / f"model.{ending}")
    description = WeightsFile(tmp_path / f"model.{ending}").description
    assert description == description_of_model(network("symmetric"))._replace(name=description.name)
    assert description.input_shape == (32, 32, 3)
    assert description.layers["conv1_bn"].settings == {"epsilon": 1e-3, "scale": True}


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_layout_is_recognized_by_its_differences(layout, ending, tmp_path):
    options, expected = LAYOUTS[layout]
    network(**options).save(tmp_path / f"model.{ending}")
    description = WeightsFile(tmp_path / f"model.{ending}").description
    assert differences(description, description_of_model(network())) == expected
    assert differences(description_of_model(network()), description) == expected
    assert differences(description, description_of_model(network(**options))) == []


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_layer_of_our_own_is_the_same_in_every_file(ending, tmp_path):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, LocalResponseNormalization(name="norm")(inputs))
    model.save(tmp_path / f"model.{ending}")
    assert differences(WeightsFile(tmp_path / f"model.{ending}").description, description_of_model(model)) == []


def test_neither_size_nor_top_nor_dropout_is_a_layout():
    whole, other = description_of_model(network()), description_of_model(network(side=None, top=False))
    assert differences(whole, other) == differences(other, whole) == []


def test_layers_of_auxiliary_classifiers_can_be_ignored():
    one, other = description_of_model(network()), description_of_model(network(pool=2))
    assert differences(one, other, ignored=("pool", "aux")) == []


def test_weights_alone_tell_what_the_names_of_their_layers_tell(tmp_path):
    for name, (options, _) in LAYOUTS.items():
        network(**options).save_weights(tmp_path / f"{name}.weights.h5")
    found = {
        name: differences(WeightsFile(tmp_path / f"{name}.weights.h5").description, description_of_model(network()))
        for name in LAYOUTS
    }
    assert found == {"padded": ["conv1_pad"], "pooled": [], "epsilon": [], "linear": ["conv2_relu"]}
    network(top=False).save_weights(tmp_path / "body.weights.h5")
    assert differences(WeightsFile(tmp_path / "body.weights.h5").description, description_of_model(network())) == []


def archive(path, config, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("config.json", config)


@pytest.mark.parametrize(
    "config",
    [
        "",
        "[" * 100_000,
        "{}",
        '{"config": {"layers": 3}}',
        '{"config": {"layers": [{"config": {"name": []}}]}}',
        '{"config": {"layers": [{"class_name": "InputLayer", "config": {"name": "i", "batch_shape": 1}}]}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_description_is_an_error(config, tmp_path):
    archive(tmp_path / "file.keras", config)
    with pytest.raises(ValueError, match=r"file\.keras does not describe a functional network as Keras does: "):
        _ = WeightsFile(tmp_path / "file.keras").description


def test_a_huge_description_is_not_read(tmp_path):
    archive(tmp_path / "file.keras", b" " * 100_000_000, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "file.keras").stat().st_size < 1_000_000
    with pytest.raises(ValueError, match=r"config\.json is compressed"):
        _ = WeightsFile(tmp_path / "file.keras").description


@pytest.mark.parametrize("content", [b"", b"anything else"])
def test_other_files_have_no_description_and_no_record(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    assert WeightsFile(tmp_path / "file").description is None
    assert WeightsFile(tmp_path / "file").record is None


def test_weights_of_another_layout_are_refused_without_changing_the_network(tmp_path):
    saved, model = network("symmetric"), network()
    saved.save(tmp_path / "model.keras")
    tensors = {f"{layer.name}/{w.name}": w.numpy() for layer in saved.layers for w in layer.weights}
    checkpoint = Checkpoint(
        tmp_path / "model.keras",
        "googlenet",
        "keras_inception",
        tensors,
        DEFAULT,
        True,
        WeightsFile(tmp_path / "model.keras").description,
    )
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"model\.keras holds .* in another layout.* differs in conv1\. Open it with"):
        checkpoint.load_into(model, skip_mismatch=True)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    checkpoint.load_into(network("symmetric"))
    dataclasses.replace(checkpoint, description=None).load_into(model)


@pytest.mark.full
@pytest.mark.parametrize(
    ("file", "network", "options", "layer"),
    [
        ("caffe_googlenet", "googlenet", {}, "conv1"),
        ("tv_googlenet", "googlenet", {"normalization": "batch_norm"}, "pool4"),
        ("tv_inception_v3", "inception_v3", {}, "mixed_6c_pool"),
    ],
)
def test_the_publishers_layouts_are_not_our_own(file, network, options, layer, weight_file):
    theirs, ours = (
        description_of_model(keras_inception.create(network, include_top=False, input_shape=(96, 96, 3), **kind))
        for kind in ({"weights": weight_file(file)}, options)
    )
    assert layer in differences(theirs, ours)


RECORD = Record("googlenet", "caffe", Preprocessing.named("caffe"))


def test_a_record_is_read_as_it_was_written(tmp_path):
    save_file({"a": np.zeros(1)}, tmp_path / "file", metadata=RECORD.metadata())
    assert WeightsFile(tmp_path / "file").record == RECORD
    save_file({"a": np.zeros(1)}, tmp_path / "file", metadata={"format": "pt"})
    assert WeightsFile(tmp_path / "file").record is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", json.dumps({"network": "a", "publisher": "b", "preprocessing": {"size": 3}}), "[" * 100_000],
)
def test_a_damaged_record_is_an_error(text, tmp_path):
    save_file({"a": np.zeros(1)}, tmp_path / "file", metadata={"keras_inception": text})
    with pytest.raises(ValueError, match="file has a damaged record of its network: "):
        _ = WeightsFile(tmp_path / "file").record


def test_a_sequential_network_is_not_a_functional_one(tmp_path):
    keras.Sequential([keras.Input((4, 4, 3)), layers.Conv2D(2, 3, name="conv1")]).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"model\.keras does not describe a functional network"):
        _ = WeightsFile(tmp_path / "model.keras").description


@pytest.mark.parametrize("ending", ["keras", "h5", "weights.h5"])
def test_a_network_in_a_network_is_described_too(ending, tmp_path):
    inputs = keras.Input((32, 32, 3))
    outer = keras.Model(inputs, layers.Dense(2, name="own")(network("symmetric", top=False)(inputs)))
    (outer.save_weights if ending == "weights.h5" else outer.save)(tmp_path / f"model.{ending}")
    description = WeightsFile(tmp_path / f"model.{ending}").description
    assert {"own", "conv1_pad", "conv1", "conv2_relu"} <= set(description.layers)
    assert differences(description, description_of_model(network()))
    assert not differences(description, description_of_model(network("symmetric")))


@pytest.mark.parametrize("size", [6, 7, None])
def test_zeros_that_only_round_up_depend_on_the_size(size, tmp_path):
    def pooled(side):
        inputs = keras.Input((side, side, 3))
        return keras.Model(inputs, blocks.max_pool(layers.Conv2D(2, 1, name="conv1")(inputs), padding="ceil", name="p"))

    model = pooled(size)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    for file in ("model.keras", "model.weights.h5"):
        description = WeightsFile(tmp_path / file).description
        assert [differences(description, description_of_model(pooled(side))) for side in (6, 7, None)] == [[], [], []]


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    """The bytes of small files of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    network().save(folder / "model.keras")
    network().save(folder / "model.h5")
    network().save_weights(folder / "model.weights.h5")
    save_file({"a": np.zeros(1)}, folder / "model.safetensors", metadata=RECORD.metadata())
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@given(st.integers(0, 3), st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 255)), max_size=8), st.integers(0))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_described_or_raise_a_value_error(wholes, tmp_path_factory, kind, changes, end):
    content = bytearray(wholes[kind])
    for position, value in changes:
        content[position % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(content[: end or None])
    with contextlib.suppress(ValueError):
        _ = WeightsFile(path).record
        description = WeightsFile(path).description
        assert description is None or differences(description, description) == []


def test_an_empty_description_differs_from_nothing():
    assert differences(Description({}), description_of_model(network())) == []
