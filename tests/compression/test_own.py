"""Compressing one's own model: as a run directory, with its own preprocessing, and what is refused."""

import json
import shutil

import keras
import numpy as np
import pytest
from colours import LABELS
from keras import layers
from networks import transfer_model
from PIL import Image

import keras_inception
from keras_inception.compression import compress as compression
from keras_inception.compression.compress import compress
from keras_inception.compression.own import OwnModel, write_run
from keras_inception.preprocessing import DEFAULT
from keras_inception.runs import Run
from keras_inception.training import Recipe, callbacks, train

SIDE = 16
BLUE, GREEN, RED = LABELS


@pytest.fixture(scope="module")
def own() -> keras.Model:
    return transfer_model(SIDE, 3)


@pytest.fixture(scope="module")
def pruned(own, pictures, tmp_path_factory) -> Run:
    """Return the run of a transfer model, half of whose weights are zero."""
    folder = tmp_path_factory.mktemp("own")
    own.save(folder / "own.keras")
    options = {"data": pictures, "labels": [RED, BLUE, GREEN], "settings": {"epochs": "2"}, "verbose": 0}
    compress(folder / "own.keras", folder / "small", prune=0.5, **options)
    return Run(folder / "small")


def gray_pictures(folder):
    """Save images of two classes, black and white, and return the folder."""
    for name, value in (("black", 0), ("white", 255)):
        (folder / name).mkdir(parents=True)
        for number in range(4):
            image = np.full((20, 24), abs(value - 10 * number), np.uint8)
            Image.fromarray(image).save(folder / name / f"{number}.png")
    return folder


def classifier(*ends, shape=(SIDE, SIDE, 3), **options) -> keras.Model:
    image = x = keras.Input(shape, **options)
    for layer in ends:
        x = layer(x)
    return keras.Model(image, x, name="mine")


def ending(*ends) -> keras.Model:
    return classifier(layers.Rescaling(1 / 255), layers.GlobalAveragePooling2D(), *ends)


class OneImage(layers.Layer):
    def call(self, inputs):
        return keras.ops.reshape(inputs, (1, 3))


class Unregistered(layers.Layer):
    def call(self, inputs):
        return inputs * 2


def several_outputs(shape=(SIDE, SIDE, 3)) -> keras.Model:
    image = keras.Input(shape)
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(image))
    return keras.Model(image, {"class": layers.Dense(3)(x), "box": layers.Dense(4)(x)}, name="mine")


def pixels(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, SIDE, SIDE, 3)).astype(np.float32)


@pytest.mark.full
def test_half_of_the_weights_of_a_transfer_model_are_zero(pruned, own):
    model = pruned.model()
    kernels = [layer.kernel for layer in model.layers if type(layer) in (layers.Conv2D, layers.Dense)]
    zeros = sum(int((kernel.numpy() == 0).sum()) for kernel in kernels)
    assert 0.45 < zeros / sum(kernel.numpy().size for kernel in kernels) < 0.55
    body = own.get_layer("body")
    before, after = body.get_layer("stem_bn").get_weights(), model.get_layer("stem_bn").get_weights()
    np.testing.assert_array_equal(after, before, "its body is called with training=False")
    assert not np.array_equal(model.get_layer("stem").kernel, body.get_layer("stem").kernel)
    assert not np.array_equal(model.get_layer("depthwise").kernel, body.get_layer("depthwise").kernel), "is trained"


@pytest.mark.full
def test_the_source_is_the_given_model(pruned, own):
    source = Run(pruned.path / "steps" / "0_source")
    np.testing.assert_allclose(source.model()(pixels()), own(pixels(), training=False), atol=1e-5)
    assert source.labels == pruned.labels == (RED, BLUE, GREEN)
    assert (source.preprocessing.mean, source.preprocessing.std) == ((0, 0, 0), (1, 1, 1))
    assert source.preprocessing.size == (SIDE, SIDE)
    assert Recipe.load(pruned.path / "recipe.json").network is None
    assert "a network of one's own, 3 classes" in str(pruned)


@pytest.mark.full
def test_the_result_is_a_run_like_any_other(pruned, pictures, tmp_path):
    for images in (None, pictures):
        assert 0 <= keras_inception.evaluate(pruned.path, images).top1 <= 1
    report = keras_inception.export(pruned.path, tmp_path / "exported", quantize=["float32"], clients=())
    assert report["variants"]["float32"]["agreement"] == 1
    assert (tmp_path / "exported" / "labels.txt").read_text(encoding="utf-8") == f"{RED}\n{BLUE}\n{GREEN}\n"
    with pytest.raises(ValueError, match=r"small is a run, which has its own. Received"):
        compress(pruned.path, tmp_path / "again", prune=0.5, data=pictures)
    with pytest.raises(ValueError, match=r"`network` must be named to train one. Received: network=None"):
        train(pictures, tmp_path / "trained", recipe=Recipe(network=None))


@pytest.mark.full
def test_every_step_takes_a_model_in_memory(own, pictures, tmp_path):
    steps = {"macs": 0.8, "prune": 0.5, "cluster": 16, "quantize": True}
    report = compress(own, tmp_path / "small", data=pictures, settings={"epochs": "1"}, verbose=0, **steps)
    assert [step.step for step in report] == ["source", "slim", "prune", "cluster", "quantize"]
    assert report[1].macs <= 0.8 * report[0].macs
    exported = keras_inception.export(tmp_path / "small", tmp_path / "exported", clients=())
    assert exported["variants"]["int8"]["agreement"] >= 0.9


@pytest.mark.full
def test_an_interrupted_compression_is_resumed(own, pictures, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(callbacks.RunCheckpoint, "on_epoch_begin", stop)
        with pytest.raises(KeyboardInterrupt):
            compress(own, tmp_path / "small", data=pictures, prune=0.5, settings={"epochs": "1"}, verbose=0)
    moved = (tmp_path / "small").rename(tmp_path / "moved")
    assert [step.step for step in compress(None, moved, resume=True, verbose=0)] == ["source", "prune"]
    with pytest.raises(ValueError, match="when resuming, give only `data`"):
        compress(None, moved, resume=True, data=pictures, labels=["blue", "green", "red"])
    shutil.copytree(pictures, tmp_path / "elsewhere")
    compress(None, moved, resume=True, data=tmp_path / "elsewhere", verbose=0)
    recorded = [json.loads(path.read_text())["source"] for path in moved.rglob("data.json")]
    assert recorded == [str(tmp_path / "elsewhere")] * 3, "of the source, the step and the result"


@pytest.mark.parametrize(
    ("end", "classes"),
    [
        ([layers.Dense(3, activation="softmax")], 3),
        ([layers.Dense(3)], 3),
        ([layers.Dense(3), layers.Softmax(), layers.Reshape((3,))], 3),
        ([layers.Dense(1, activation="sigmoid")], 2),
        ([layers.Dense(1), layers.Activation("sigmoid"), layers.Reshape((1,))], 2),
    ],
    ids=["softmax", "logits", "a softmax that is moved", "sigmoid", "a sigmoid that is moved"],
)
def test_outputs_become_probabilities(end, classes, pictures, tmp_path):
    model = ending(*end)
    data = pictures / "train"
    if classes == 2:
        data = tmp_path / "two"
        for name in (GREEN, RED):
            (data / name).parent.mkdir(exist_ok=True)
            (data / name).symlink_to(pictures / "train" / name)
    run = write_run(model, OwnModel(data), tmp_path / "run")
    given, scores = np.asarray(model(pixels())), np.asarray(run.model()(pixels()))
    assert scores.shape == (4, classes)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    if given.shape[1] == 3:
        np.testing.assert_array_equal(scores.argmax(axis=1), given.argmax(axis=1))
    else:
        np.testing.assert_allclose(scores[:, 1:], given, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            ending(layers.Dense(4)),
            {},
            r"`data` must have 4 classes, one for each score of mine. .* 3: blau.*, green",
        ),
        (
            classifier(layers.Rescaling(1 / 255), layers.Conv2D(3, SIDE), OneImage(), batch_size=1),
            {},
            "`model` must work with batches of any size, to be trained. Received: mine",
        ),
        (ending(Unregistered(), layers.Dense(3)), {}, "mine cannot be opened again .* of class 'Unregistered'"),
        (ending(layers.Lambda(lambda x: x * 2, name="own"), layers.Dense(3)), {}, "own, a Lambda, .* a class of your"),
        (classifier(layers.Rescaling(1 / 255), shape=(None, None, 3)), {}, "`size` must be given .* takes any size"),
        (several_outputs(), {}, "`output_name` must name one of the outputs of mine, box, class"),
        (ending(layers.Dense(3, activation="sigmoid")), {}, "must give one class .* independent scores of dense"),
        (classifier(layers.Rescaling(1 / 255), layers.Conv2D(3, 1)), {}, r"must give \(batch, classes\)"),
        (ending(layers.Dense(3)), {"labels": (BLUE, GREEN, "yellow")}, r"`labels` must be the classes of .*yellow"),
        (
            classifier(layers.GlobalMaxPooling2D(), layers.Dense(3)),
            {},
            "given: nothing tells what mine .* unit",
        ),
        (ending(layers.Dense(3)), {"preprocessing": DEFAULT}, r"`model` must take images, \(batch, 224, 224, 3\)"),
        (classifier(layers.Dense(3), shape=(4,)), {}, r"must take images, \(batch, height, width, channels\)"),
    ],
    ids=[
        "classes",
        "batch",
        "class",
        "lambda",
        "any size",
        "outputs",
        "several labels",
        "a map",
        "labels",
        "preprocessing",
        "size",
        "no image",
    ],
)
def test_models_that_cannot_be_compressed_leave_nothing_behind(model, options, message, pictures, tmp_path):
    with pytest.raises(ValueError, match=message):
        compress(model, tmp_path / "small", prune=0.5, data=pictures / "train", **options)
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_named(own, tmp_path):
    with pytest.raises(ValueError, match="`data` must be given for a model: a folder of images"):
        compress(own, tmp_path / "small", prune=0.5)
    with pytest.raises(ValueError, match="`preprocessing`, `size` must be given with `data`"):
        compress(own, tmp_path / "small", prune=0.5, preprocessing="unit", size=(8, 8))
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    with pytest.raises(ValueError, match=r"saved is a SavedModel, which has no layers: compress the .keras file"):
        compress(tmp_path / "saved", tmp_path / "small", prune=0.5, data=tmp_path)
    with pytest.raises(ValueError, match="nowhere does not exist"):
        compress(own, tmp_path / "small", prune=0.5, data=tmp_path / "nowhere")


@keras.saving.register_keras_serializable(package="tests")
class Forgetful(layers.Layer):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return super().get_config()


def test_a_layer_whose_configuration_forgets_an_argument_is_refused(pictures, tmp_path):
    with pytest.raises(ValueError, match=r"mine cannot be compressed: its layers, made again .* give other outputs"):
        write_run(ending(Forgetful(3.0), layers.Dense(3)), OwnModel(pictures), tmp_path / "run")


def test_the_size_and_the_output_of_a_model_are_chosen(pictures, tmp_path):
    run = write_run(
        several_outputs((None, None, 3)), OwnModel(pictures, size=(8, 12), output_name="class"), tmp_path / "run"
    )
    assert run.model().input_shape == (None, 8, 12, 3)
    assert run.preprocessing.size == (8, 12)
    assert run.model().output_shape == (None, 3)


def test_the_images_of_a_model_may_be_those_of_a_table(own, pictures, tmp_path):
    folder = write_run(own, OwnModel(pictures / "train"), tmp_path / "folder")
    shutil.copy(folder.path / "split.csv", tmp_path / "labels.csv")
    table = OwnModel(tmp_path / "labels.csv", root=pictures / "train", columns="path,label")
    table.check()
    run = write_run(own, table, tmp_path / "run")
    assert run.data["root"] == str(pictures / "train")
    assert (run.path / "split.csv").read_text() == (folder.path / "split.csv").read_text()
    with pytest.raises(ValueError, match="must have a column named file"):
        OwnModel(tmp_path / "labels.csv", columns="file,label").check()


@pytest.mark.full
def test_gray_networks_are_pruned_and_evaluated(tmp_path):
    ends = [layers.Conv2D(8, 3, activation="relu"), layers.Flatten(), layers.Dense(2)]
    gray = classifier(layers.Rescaling(1 / 255), *ends, shape=(SIDE, SIDE, 1))
    data = gray_pictures(tmp_path / "gray")
    compress(gray, tmp_path / "small", data=data, prune=0.5, settings={"epochs": "1"}, validation=0.25, verbose=0)
    run = Run(tmp_path / "small")
    assert run.model().input_shape == (None, SIDE, SIDE, 1)
    assert run.preprocessing.channels == "gray"
    assert [float((run.model().get_layer(each.name).kernel.numpy() == 0).mean()) for each in ends[::2]] == [0.5, 0.5]
    assert 0 <= keras_inception.evaluate(run.path, data).top1 <= 1


def test_what_cannot_be_trained_is_refused_before_the_first_step(own, pictures, tmp_path):
    shared = layers.Conv2D(16, 3, padding="same", name="shared")
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.GlobalAveragePooling2D()(shared(shared(layers.Conv2D(16, 3)(layers.Rescaling(1 / 255)(image)))))
    model = keras.Model(image, layers.Dense(3)(x))
    with pytest.raises(ValueError, match="shared cannot be quantized: it is called more than once"):
        compress(model, tmp_path / "small", data=pictures, prune=0.5, quantize=True)
    assert not list(tmp_path.iterdir())


def test_a_failed_resume_loses_nothing(own, pictures, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(compression, "train", stop)
        with pytest.raises(KeyboardInterrupt):
            compress(own, tmp_path / "small", data=pictures, prune=0.5)
    (tmp_path / "small" / "steps" / "1_prune_start.keras").write_bytes(b"")
    with pytest.raises(ValueError, match=r"1_prune_start.keras"):
        compress(None, tmp_path / "small", resume=True)
    assert Run(tmp_path / "small" / "steps" / "0_source").model().output_shape == (None, 3)


@pytest.mark.full
def test_networks_that_are_not_square_are_compressed(pictures, tmp_path):
    ends = [layers.Conv2D(16, 3), layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dense(3)]
    wide = classifier(layers.Rescaling(1 / 255), *ends, shape=(12, 20, 3))
    compress(wide, tmp_path / "small", macs=0.8, data=pictures, settings={"epochs": "1"}, verbose=0)
    assert Run(tmp_path / "small").model().input_shape == (None, 12, 20, 3)
