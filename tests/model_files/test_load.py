"""Every kind of model file that is accepted, as docs/models.md lists them, and those that are not."""

import json
import logging
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
from keras import layers

from keras_inception import Preprocessing, export, load
from keras_inception.exporting.signature import save
from keras_inception.model_files import is_one_layer
from keras_inception.runs import DATA, LABELS, MODEL, PREPROCESSING, RECIPE


def equal(got, want):
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.fixture
def tf_keras():
    return pytest.importorskip("tf_keras")


def test_a_run(tmp_path, build, predicts):
    for name, content in ((LABELS, "a\nb\nc\n"), (PREPROCESSING, "{}"), (RECIPE, "{}"), (DATA, "{}")):
        (tmp_path / name).write_text(content)
    model = build()
    model.save(tmp_path / MODEL)
    equal(predicts(load(tmp_path)), predicts(model))


@pytest.mark.full
def test_a_model_in_memory_is_taken_as_it_is(tmp_path, build, pictures):
    model = build()
    raw = Preprocessing(size=(16, 16), mean=(0, 0, 0), std=(1, 1, 1))
    kept = {"quantize": ["float32"], "preprocessing": raw, "clients": ()}
    report = export(model, tmp_path / "exported", test=pictures / "test", **kept)
    assert report["variants"]["float32"]["agreement"] == 1


@pytest.mark.parametrize("name", ["own.keras", "own.h5", "without_suffix"])
def test_a_file_of_keras_3(tmp_path, build, predicts, name):
    model = build()
    model.compile("adam", "categorical_crossentropy")
    model.save(tmp_path / "saved.keras" if name == "without_suffix" else tmp_path / name)
    if name == "without_suffix":
        (tmp_path / "saved.keras").rename(tmp_path / name)
    loaded = load(tmp_path / name)
    equal(predicts(loaded), predicts(model))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]


def test_a_file_of_keras_3_with_raw_operations(tmp_path, build, predicts):
    def first(x):
        return keras.ops.image.resize(keras.applications.mobilenet_v2.preprocess_input(x)[..., ::-1] * 2, (12, 12))

    model = build(first=first)
    model.save(tmp_path / "own.keras")
    equal(predicts(load(tmp_path / "own.keras")), predicts(model))


def test_a_compiled_model_inside_is_not_compiled_again(tmp_path, images):
    inner = keras.Sequential([keras.Input((16, 16, 3)), layers.Flatten()])
    inner.compile(loss=lambda a, b: keras.ops.mean(a - b))  # which could not be found
    model = keras.Sequential([keras.Input((16, 16, 3)), inner, layers.Dense(2)])
    model.save(tmp_path / "own.keras")
    equal(load(tmp_path / "own.keras")(images), model(images))


def test_mixed_precision_opens_as_it_is(tmp_path, build, predicts):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy("float32")
    model.save(tmp_path / "own.keras")
    loaded = load(tmp_path / "own.keras")
    assert {layer.compute_dtype for layer in loaded.layers if layer.weights} == {"bfloat16"}
    equal(predicts(loaded), predicts(model))


@pytest.mark.parametrize("name", ["own.keras", "own.h5"])
def test_a_file_of_tf_keras_that_keras_3_opens(tmp_path, tf_keras, build, predicts, name):
    model = build(tf_keras)
    model.save(tmp_path / name)
    loaded = load(tmp_path / name)
    assert not is_one_layer(loaded)
    equal(predicts(loaded), predicts(model))


def with_groups(config):
    """Add what older versions of Keras 2 stored for a DepthwiseConv2D, and Keras 3 refuses."""
    if isinstance(config, dict):
        if config.get("class_name") == "DepthwiseConv2D":
            config["config"]["groups"] = 1
        config = {key: with_groups(value) for key, value in config.items()}
    return [with_groups(item) for item in config] if isinstance(config, list) else config


def changed(path, change):
    """Change the configuration in an .h5 file."""
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(change(json.loads(file.attrs["model_config"]))).encode()


def test_a_file_of_teachable_machine_is_rebuilt_in_keras_3(tmp_path, tf_keras, build, predicts):
    inner = build(tf_keras)
    body = tf_keras.Sequential([tf_keras.Model(inner.input, inner.layers[-4].output), tf_keras.layers.Flatten()])
    model = tf_keras.Sequential([body, tf_keras.Sequential([tf_keras.layers.Dense(3, activation="softmax")])])
    model.build((None, 16, 16, 3))
    model.save(tmp_path / "keras_model.h5")
    changed(tmp_path / "keras_model.h5", with_groups)
    loaded = load(tmp_path / "keras_model.h5")
    assert not is_one_layer(loaded)
    equal(predicts(loaded), predicts(model))


def test_what_the_bridge_cannot_rebuild_is_called_as_one_layer(tmp_path, tf_keras, build, images, predicts):
    normalization = tf_keras.layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0])

    def first(x):
        return tf.image.resize(normalization(tf_keras.applications.mobilenet_v2.preprocess_input(x))[:, ::-1], (12, 12))

    model = build(tf_keras, first)
    model.save(tmp_path / "own.h5")
    loaded = load(tmp_path / "own.h5")
    assert is_one_layer(loaded)
    assert loaded.input_shape == (None, 16, 16, 3)
    assert loaded.output_shape == (None, 3)
    equal(predicts(loaded), predicts(model))
    assert loaded.count_params() == model.count_params()
    save(loaded, tmp_path / "exported")  # as an export to TFLite does
    equal(load(tmp_path / "exported")(images[:1]), predicts(model)[:1])


def test_without_tf_keras_the_message_says_how_to_get_it(tmp_path, tf_keras, build, monkeypatch):
    build(tf_keras).save(tmp_path / "own.h5")
    changed(tmp_path / "own.h5", with_groups)
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    with pytest.raises(ValueError, match=r"own\.h5 is not .*groups.*pip install \"keras-inception\[mobile\]\""):
        load(tmp_path / "own.h5")


def test_a_saved_model_of_keras_3(tmp_path, build, images, predicts):
    model = build()
    model.export(tmp_path / "exported", verbose=False)
    loaded = load(tmp_path / "exported")
    assert loaded.input_shape == (None, 16, 16, 3)
    assert loaded.name == "exported"
    equal(predicts(loaded), predicts(model))
    save(loaded, tmp_path / "again")  # as an export to TFLite does
    equal(load(tmp_path / "again")(images[:1]), predicts(model)[:1])


def test_a_saved_model_of_tf_keras(tmp_path, tf_keras, build, predicts):
    model = build(tf_keras, tf_keras.layers.RandomRotation(0.1))
    model.save(tmp_path / "exported", save_format="tf")
    equal(predicts(load(tmp_path / "exported")), predicts(model))


class Scores(tf.Module):
    """A module of TensorFlow, without Keras, with a table, random numbers, a loop and two outputs."""

    def __init__(self, batch=None, dtype=tf.uint8):
        super().__init__()
        self.matrix = tf.Variable(tf.random.stateless_normal((3, 5), (0, 0)))
        gains = tf.lookup.KeyValueTensorInitializer(tf.constant([0], tf.int64), tf.constant([1.0]))
        self.table = tf.lookup.StaticHashTable(gains, 0.0)
        image = tf.TensorSpec((batch, 16, 16, 3), dtype, name="image")
        self.scores = tf.function(self._scores, input_signature=[image], autograph=False)

    def _scores(self, image):
        x = tf.reduce_mean(tf.cast(image, tf.float32) / 255, [1, 2]) @ self.matrix
        x = x * self.table.lookup(tf.constant(0, tf.int64)) + 0 * tf.random.uniform(())
        _, x = tf.while_loop(lambda n, _: n < 2, lambda n, x: (n + 1, x + 1), (tf.constant(0), x))
        return {"scores": tf.nn.softmax(x), "logits": x}


@pytest.mark.parametrize("batch", [None, 1])
def test_a_saved_model_of_tensorflow_with_several_outputs(tmp_path, images, batch):
    module = Scores(batch)
    tf.saved_model.save(module, str(tmp_path / "exported"), signatures=module.scores)
    loaded = load(tmp_path / "exported")
    assert loaded.input_shape == (batch, 16, 16, 3)
    assert loaded.inputs[0].dtype == "uint8"
    assert set(loaded.output) == {"scores", "logits"}
    pixels = images.astype(np.uint8)[:1]
    for name, want in module.scores(pixels).items():
        equal(loaded(pixels)[name], want)
        equal(loaded.layers[-1]({"image": pixels.astype(np.float32)})[name], want)  # as an export feeds it


def test_the_signature_of_a_saved_model_must_be_told(tmp_path):
    module = Scores()
    tf.saved_model.save(module, str(tmp_path / "one"), signatures={"classify": module.scores})
    assert load(tmp_path / "one").input_shape == (None, 16, 16, 3)
    tf.saved_model.save(module, str(tmp_path / "two"), signatures={"a": module.scores, "b": module.scores})
    with pytest.raises(ValueError, match=r"two must have a signature named serving_default or serve.* Received: a, b$"):
        load(tmp_path / "two")
    tf.saved_model.save(tf.Module(), str(tmp_path / "none"))  # the only function would become the default
    with pytest.raises(ValueError, match=r"none must have a signature .*Received: none$"):
        load(tmp_path / "none")


def test_a_saved_model_of_encoded_images_is_named_with_its_input(tmp_path):
    module = tf.Module()
    module.decoded = tf.function(
        lambda content: tf.cast(tf.map_fn(tf.io.decode_jpeg, content, tf.uint8), tf.float32),
        input_signature=[tf.TensorSpec((None,), tf.string, name="content")],
    )
    tf.saved_model.save(module, str(tmp_path / "jpeg"), signatures=module.decoded)
    with pytest.raises(ValueError, match=r"must take images as tensors of numbers.*'content' takes string"):
        load(tmp_path / "jpeg")


def test_a_damaged_saved_model_is_named(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff" * 50)
    with pytest.raises(ValueError, match="is not a SavedModel that can be opened"):
        load(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match="is not a SavedModel of TensorFlow 2"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["own.weights.h5", "own.h5", "own.safetensors", "own.pth", "own.ckpt"])
def test_weights_alone_say_that_the_network_is_missing(tmp_path, build, name):
    path = tmp_path / name
    if name == "own.weights.h5":
        build().save_weights(path)
    elif name == "own.h5":
        build().save(path)
        with h5py.File(path, "r+") as file:
            del file.attrs["model_config"]
    elif name == "own.safetensors":
        safetensors.numpy.save_file({"a": np.zeros(3)}, path)
    elif name == "own.pth":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", b"")
    else:
        path.write_bytes(b"any")
    with pytest.raises(
        ValueError, match=rf"{name} holds weights alone, and the network is missing\..*--model NAME --weights"
    ):
        load(path)


def test_the_prefix_of_a_checkpoint_is_weights_alone(tmp_path):
    (tmp_path / "ckpt.index").touch()
    with pytest.raises(ValueError, match=r"ckpt holds weights alone"):
        load(tmp_path / "ckpt")
    with pytest.raises(
        FileNotFoundError, match=r"no run directory, \.keras or \.h5 file, or SavedModel folder at .*no$"
    ):
        load(tmp_path / "no")


def test_a_folder_of_something_else_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"is not a run directory: .*, and no saved_model\.pb of a SavedModel$"):
        load(tmp_path)


def test_what_is_no_model_is_named_with_what_is_accepted(tmp_path):
    accepted = r"Accepted: a run directory, a \.keras or \.h5 file, or a SavedModel folder$"
    for name, content, reason in (
        ("a.tflite", b"\x00\x00\x00\x00TFL3", "it is a TFLite file, which is what an export makes"),
        ("a.txt", b"", "it is empty"),
        ("a.onnx", b"something", "it is of an unknown format, or damaged"),
        ("a.json", b'{"class_name": "Functional"}', "it is JSON, which holds no weights; build .*, and pass the model"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name} is not a Keras file that can be opened: {reason}\. {accepted}"):
            load(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "converted_keras.zip", "w") as archive:
        archive.writestr("keras_model.h5", b"")
    with pytest.raises(ValueError, match=r"an archive that holds keras_model\.h5: unpack it"):
        load(tmp_path / "converted_keras.zip")


def test_the_message_of_keras_is_reduced_to_its_cause(tmp_path, build):
    """One line, however long the configuration is that Keras repeats."""
    build().save(tmp_path / "own.keras")
    with zipfile.ZipFile(tmp_path / "own.keras") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents["config.json"] = contents["config.json"].replace(b'"negative_slope"', b'"steepness"')
    with zipfile.ZipFile(tmp_path / "own.keras", "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match="steepness") as caught:
        load(tmp_path / "own.keras")
    assert "\n" not in str(caught.value)
    assert "config=" not in str(caught.value)
    assert len(str(caught.value)) < 500


CUSTOM = """
import keras

class Gain(keras.layers.Layer):
    def __init__(self, factor=2.0, **others):
        super().__init__(**others)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}

def leaky(x):
    return keras.ops.maximum(x, 0.1 * x)
"""


@pytest.mark.parametrize("name", ["own.keras", "own.h5"])
def test_custom_objects_are_taken_from_a_python_file_with_one_warning(tmp_path, images, name, caplog):
    (tmp_path / "custom.py").write_text(CUSTOM)
    own = {}
    exec(CUSTOM, own)
    stack = [keras.Input((16, 16, 3)), own["Gain"](3.0, name="gain"), layers.Conv2D(2, 3, activation=own["leaky"])]
    model = keras.Sequential(stack)
    model.save(tmp_path / name)
    with pytest.raises(
        ValueError, match=rf"{name} is not opened: layer 'gain' is of class 'Gain', which Keras.*'leaky'"
    ):
        load(tmp_path / name)
    with caplog.at_level(logging.WARNING):
        loaded = load(tmp_path / name, tmp_path / "custom.py")
    assert [record.getMessage() for record in caplog.records if "custom.py" in record.getMessage()] == [
        f"warning: running the code in {tmp_path / 'custom.py'}, and any code in the model file"
    ]
    equal(loaded(images), model(images))


@pytest.mark.parametrize("name", ["own.keras", "own.h5"])
def test_lambdas_of_ones_own_open_with_custom_objects(tmp_path, images, name):
    offset = 3.0
    # Names such as `tf` and `keras` are found although Keras does not store them.
    function = lambda x, by=2.0: tf.cast(keras.ops.add(x, offset), "float32") * by  # noqa: E731
    model = keras.Sequential([keras.Input((16, 16, 3)), layers.Lambda(function, name="prepare"), layers.Conv2D(2, 3)])
    model.save(tmp_path / name)
    (tmp_path / "empty.py").touch()
    loaded = load(tmp_path / name, tmp_path / "empty.py")
    equal(loaded(images), model(images))
    loaded.save(tmp_path / "again.keras")
    equal(load(tmp_path / "again.keras", tmp_path / "empty.py")(images), model(images))
    (tmp_path / "other.py").write_text("def prepare(x):\n    return 0 * x\n")
    assert not np.allclose(load(tmp_path / name, tmp_path / "other.py")(images), model(images))


def test_a_lambda_of_tf_keras_opens_with_custom_objects(tmp_path, tf_keras, images, build, predicts):
    model = build(tf_keras, tf_keras.layers.Lambda(lambda x: tf.nn.relu(x - 100)))
    model.save(tmp_path / "own.h5")
    (tmp_path / "empty.py").touch()
    equal(predicts(load(tmp_path / "own.h5", tmp_path / "empty.py")), predicts(model))


@pytest.mark.parametrize("name", ["own.keras", "own.h5"])
def test_a_lambda_of_a_named_function_opens_with_its_import(tmp_path, images, name):
    prepare = layers.Lambda(keras.applications.mobilenet_v2.preprocess_input, name="prepare")
    model = keras.Sequential([keras.Input((16, 16, 3)), prepare, layers.Conv2D(2, 3)])
    model.save(tmp_path / name)
    with pytest.raises(ValueError, match=r"layer 'prepare' is a Lambda, .*uses the function 'preprocess_input'"):
        load(tmp_path / name)
    (tmp_path / "custom.py").write_text("from keras.applications.mobilenet_v2 import preprocess_input\n")
    equal(load(tmp_path / name, tmp_path / "custom.py")(images), model(images))


def test_a_class_that_custom_objects_lack_is_named(tmp_path):
    own = {}
    exec(CUSTOM, own)
    keras.Sequential([keras.Input((2,)), own["Gain"](name="gain")]).save(tmp_path / "own.keras")
    (tmp_path / "empty.py").touch()
    with pytest.raises(ValueError, match=r"'Gain'.*empty\.py must define or import what is missing$"):
        load(tmp_path / "own.keras", tmp_path / "empty.py")


def test_a_python_file_that_cannot_be_run_is_named(tmp_path, build):
    build().save(tmp_path / "own.keras")
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    with pytest.raises(ValueError, match=r"broken\.py cannot be run: ModuleNotFoundError: No module named"):
        load(tmp_path / "own.keras", tmp_path / "broken.py")
    (tmp_path / "script.py").write_text("raise SystemExit('usage: script.py DATA')\n")
    with pytest.raises(ValueError, match=r"script\.py cannot be run: SystemExit: usage: script\.py DATA"):
        load(tmp_path / "own.keras", tmp_path / "script.py")
    with pytest.raises(ValueError, match=r"`custom_objects` must be a Python file, FILE\.py\. Received: .*own\.keras"):
        load(tmp_path / "own.keras", tmp_path / "own.keras")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.py, which does not exist"):
        load(tmp_path / "own.keras", tmp_path / "nowhere.py")
