"""Files of Keras 1 to 3, written by Keras or in its formats."""

import json
import zipfile
from io import BytesIO
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from writers import keras_legacy

import keras_inception
from keras_inception.weights import read_tensors

FILES = Path(__file__).parent / "files"


def save_legacy_weights(model, path):
    """Save weights alone as Keras 2 did: what Keras 3 puts in the group `model_weights`."""
    model.save(path.with_name("whole.h5"))
    with h5py.File(path.with_name("whole.h5")) as whole, h5py.File(path, "w") as file:
        group = whole["model_weights"]
        for name, value in group.attrs.items():
            file.attrs[name] = value
        for name in group:
            group.copy(name, file)


SAVED = {
    "model.keras": keras.Model.save,
    "model.h5": keras.Model.save,
    "weights.h5": save_legacy_weights,
    "model.weights.h5": keras.Model.save_weights,
}


def filled(model):
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape).astype(np.float32) for weight in model.get_weights()])
    return model


def network(dtype=None):
    """Return a model with two layers of each class, so that groups are counted, a nested model, and much state."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="stem")(inputs)
    x = layers.BatchNormalization(name="stem_bn")(x)
    inner = keras.Sequential([layers.Conv2D(3, 1, name="inner_a"), layers.Conv2D(2, 1, name="inner_b")], name="inner")
    x = inner(x)
    x = layers.Conv2D(4, 3, use_bias=False, name="another", dtype=dtype)(x)
    x = layers.BatchNormalization(scale=False, name="another_bn")(x)
    x = layers.RandomFlip(seed=3)(layers.Dropout(0.5, seed=3)(x))
    outputs = layers.Dense(2, name="predictions")(layers.Flatten()(x))
    model = filled(keras.Model(inputs, outputs))
    model.compile("adam", "mse", metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    return model


def weights_of(model):
    parts = [*model.layers, *model.get_layer("inner").layers]
    return {
        f"{layer.name}/{weight.name}": np.asarray(weight, np.float32)
        for layer in parts
        if not isinstance(layer, keras.Model)
        for weight in layer.weights
        if "seed" not in weight.path
    }


def assert_equal(got, want):
    assert sorted(got) == sorted(want)
    for name, values in want.items():
        np.testing.assert_array_equal(got[name], values)


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.mark.parametrize("name", SAVED)
def test_every_form_is_read_by_layer_and_variable(name, model, tmp_path):
    SAVED[name](model, tmp_path / name)
    assert_equal(read_tensors(tmp_path / name), weights_of(model))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_variables_of_other_floating_types_are_read(name, dtype, tmp_path):
    model = network(dtype)
    SAVED[name](model, tmp_path / name)
    assert_equal(read_tensors(tmp_path / name), weights_of(model))


@pytest.mark.parametrize("trainable", [True, False])
def test_the_order_of_a_frozen_layers_variables_is_known(trainable, tmp_path):
    inputs = keras.Input((4,))
    model = filled(keras.Model(inputs, layers.BatchNormalization(name="bn", trainable=trainable)(inputs)))
    model.save(tmp_path / "model.keras")
    want = {f"bn/{weight.name}": np.asarray(weight) for weight in model.layers[1].weights}
    assert_equal(read_tensors(tmp_path / "model.keras"), want)


def without_names(path):
    """Return an HDF5 file as Keras 3.5 and earlier wrote it: layers without their names."""
    content = BytesIO(path.read_bytes() if path.suffix == ".h5" else zipfile.ZipFile(path).read("model.weights.h5"))
    with h5py.File(content, "r+") as file:
        file.visititems(lambda _, node: node.attrs.clear() if isinstance(node, h5py.Group) else None)
    return content.getvalue()


def with_weights(path, weights, config=None):
    buffer = BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = {"model.weights.h5": weights, "config.json": config}.get(name) or old.read(name)
            new.writestr(name, content)
    return buffer.getvalue()


def test_missing_names_come_from_the_configuration(model, tmp_path, read):
    model.save(tmp_path / "model.keras")
    content = without_names(tmp_path / "model.keras")
    assert_equal(read(with_weights(tmp_path / "model.keras", content)), weights_of(model))


def test_a_file_of_keras_3_5():
    shapes = {
        "z/kernel": (1, 1, 2, 2),
        "z_bn/beta": (2,),
        "z_bn/moving_mean": (2,),
        "z_bn/moving_variance": (2,),
        "inner_a/kernel": (1, 1, 2, 3),
        "a/kernel": (1, 1, 3, 1),
        "a/bias": (1,),
    }
    want = {name: np.arange(np.prod(shape)).reshape(shape) + 10 * i for i, (name, shape) in enumerate(shapes.items())}
    assert_equal(read_tensors(FILES / "old_keras.keras"), want)


def test_weights_of_keras_3_5_without_the_configuration(read):
    with zipfile.ZipFile(FILES / "old_keras.keras") as file:
        tensors = read(file.read("model.weights.h5"))
    assert tensors.keys() == {
        "layers/conv2d/kernel",
        "layers/conv2d_1/kernel",
        "layers/conv2d_1/bias",
        *(f"layers/batch_normalization/{name}" for name in ("beta", "moving_mean", "moving_variance")),
        "layers/sequential/layers/conv2d/kernel",
    }


def test_weights_without_names_are_named_by_class_and_order(model, tmp_path, read):
    model.save_weights(tmp_path / "model.weights.h5")
    tensors = read(without_names(tmp_path / "model.weights.h5"))
    inner = "layers/sequential/layers"
    names = {
        "stem": "layers/conv2d",
        "stem_bn": "layers/batch_normalization",
        "inner_a": f"{inner}/conv2d",
        "inner_b": f"{inner}/conv2d_1",
        "another": "layers/conv2d_1",
        "another_bn": "layers/batch_normalization_1",
        "predictions": "layers/dense",
    }
    named = ((name.partition("/"), values) for name, values in weights_of(model).items())
    assert_equal(tensors, {f"{names[layer]}/{variable}": values for (layer, _, variable), values in named})


def small_network(seed=0, **options):
    keras.utils.set_random_seed(seed)
    return keras_inception.GoogLeNet(**{"classes": 5, "input_shape": (64, 64, 3), **options})


@pytest.fixture(scope="module")
def nameless(tmp_path_factory):
    """A network and the .weights.h5 that Keras 3.5 would have written of it."""
    folder, network = tmp_path_factory.mktemp("nameless"), filled(small_network())
    network.save_weights(folder / "named.weights.h5")
    (folder / "old.weights.h5").write_bytes(without_names(folder / "named.weights.h5"))
    return network, folder / "old.weights.h5"


def test_a_network_takes_weights_without_names_by_class_and_order(nameless):
    network, path = nameless
    for old, new in zip(network.weights, small_network(weights=path).weights, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"include_top": False}, r"lacks layer names.*cannot be matched by class and order"),
        ({"classes": 6}, "does not fit the network. Tensors of another shape: predictions"),
    ],
)
def test_weights_without_names_that_do_not_fit_are_refused(nameless, options, match):
    with pytest.raises(ValueError, match=match):
        small_network(weights=nameless[1], **options)


def test_no_part_of_weights_without_names_is_loaded(nameless):
    checkpoint = keras_inception.weights.read_weights(nameless[1], "googlenet")
    network = small_network(classes=6)
    before = network.get_weights()
    with pytest.raises(ValueError, match="does not fit the network"):
        checkpoint.load_into(network, skip_mismatch=True)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_weights_without_names_are_not_converted(nameless, tmp_path):
    from keras_inception.conversion import convert

    with pytest.raises(ValueError, match=r"old\.weights\.h5 lacks layer names"):
        convert(nameless[1], tmp_path / "new.safetensors", model="googlenet")


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (b"{", "Expecting property name"),
        (b"[]", "not that of a Keras model"),
        (b'{"config": 3}', "not that of a Keras model"),
        (b'{"config": {"layers": [3]}}', "not that of a Keras model"),
        (b'{"config": {"layers": [{"class_name": "Dense"}]}}', "not that of a Keras model"),
        (b'{"config": {"layers": []}}', "lacks the name of the layer"),
        (b'{"config": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not that of a Keras model"),
        (json.dumps({"config": {"layers": [{"class_name": "A" * 10**6}]}}).encode(), "not that of a Keras model"),
    ],
)
def test_a_damaged_configuration_is_refused(model, tmp_path, read, config, match):
    model.save(tmp_path / "model.keras")
    content = without_names(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=match):
        read(with_weights(tmp_path / "model.keras", content, config))


def test_keras_1_names_become_todays(tmp_path):
    values = [np.full(2, index, np.float32) for index in range(6)]
    names = ("bn_conv1_gamma:0", "bn_conv1_beta:0", "bn_conv1_running_mean:0", "bn_conv1_running_std:0")
    keras_legacy(
        tmp_path / "vgg.h5",
        {
            "block1_conv1": {"block1_conv1_W_1:0": values[0], "block1_conv1_b_1:0": values[1]},
            "block1_pool": {},
            "bn_conv1": dict(zip(names, values[2:], strict=True)),
        },
    )
    want = ("block1_conv1/kernel", "block1_conv1/bias")
    want += tuple(f"bn_conv1/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance"))
    assert_equal(read_tensors(tmp_path / "vgg.h5"), dict(zip(want, values, strict=True)))


def test_many_names_in_several_attributes_are_read(tmp_path):
    layers_of = {f"conv{i}": {f"conv{i}/kernel:0": np.full((1, 1, 2, 2), i, np.float32)} for i in range(300)}
    keras_legacy(tmp_path / "many.h5", layers_of, parts=3)
    tensors = read_tensors(tmp_path / "many.h5")
    assert len(tensors) == 300
    assert all((tensors[f"conv{i}/kernel"] == i).all() for i in range(300))


def test_the_group_of_a_layer_names_it_and_not_its_variables(tmp_path):
    keras_legacy(tmp_path / "scoped.h5", {"conv1": {"model/conv1_7/kernel:0": np.ones(2, np.float32)}})
    assert list(read_tensors(tmp_path / "scoped.h5")) == ["conv1/kernel"]


def test_an_hdf5_file_of_something_else_is_refused(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["images"] = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"data\.h5 cannot be read as a Keras file: "):
        read_tensors(tmp_path / "data.h5")
