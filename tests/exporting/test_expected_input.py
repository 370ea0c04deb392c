"""What a network expects of its input: stated, found in its first layers, or left over by labeled images."""

import keras
import numpy as np
import pytest
from colours import LABELS, SIDE, trained
from keras import layers

import keras_inception
from keras_inception.exporting.expected_input import is_of_the_registry, preprocessing_inside, without_normalization
from keras_inception.exporting.options import ExportOptions
from keras_inception.exporting.source import open_source
from keras_inception.models.flat import flat
from keras_inception.preprocessing import DEFAULT, NAMED, Preprocessing
from keras_inception.utils.progress import silent

SHAPE = (SIDE, SIDE, 3)


def beginning_with(*first, dtype="float32"):
    """Return a network that begins with these functions of its input."""
    x = image = keras.Input(SHAPE, dtype=dtype)
    for function in first:
        x = function(x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(x))
    return keras.Model(image, layers.Dense(3, activation="softmax")(x))


def opened(source, **arguments):
    said: list[str] = []
    return open_source(source, ExportOptions(**arguments), said.append, silent), said


@pytest.mark.parametrize(
    ("first", "name"),
    [
        ([layers.Rescaling(1 / 127.5, offset=-1)], "raw"),
        ([layers.Rescaling(2.0, offset=-1)], "zero_to_one"),
        ([layers.Normalization(mean=[127.0] * 3, variance=[4000.0] * 3)], "raw"),
        ([layers.Normalization(mean=[0.5] * 3, variance=[0.06] * 3)], "zero_to_one"),
        ([layers.RandomFlip(), layers.ZeroPadding2D(), layers.Rescaling(1 / 255)], "raw"),
        ([keras.Sequential([layers.RandomFlip(), keras.Sequential([layers.Rescaling(1 / 255)])])], "raw"),
        ([keras.applications.mobilenet_v2.preprocess_input], "raw"),
        ([keras.applications.resnet50.preprocess_input], "raw"),
        ([keras.applications.densenet.preprocess_input], "raw"),
        ([layers.Lambda(lambda x: x / 255)], "raw"),
        ([layers.RandomCrop(16, 16), layers.Rescaling(1 / 255)], "raw"),
        ([keras.ops.image.rgb_to_grayscale, layers.Rescaling(1 / 255)], "raw"),
        ([layers.Permute((3, 1, 2)), layers.Permute((2, 3, 1)), layers.Rescaling(1 / 255)], "raw"),
        ([], None),
        ([layers.ZeroPadding2D(), layers.BatchNormalization()], None),
        ([lambda x: layers.Concatenate()([layers.Rescaling(1 / 255)(x), layers.Conv2D(4, 1)(x)])], None),
    ],
)
def test_first_layers_that_normalize_are_found(first, name):
    assert preprocessing_inside(beginning_with(*first), SHAPE) == name


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ([layers.Rescaling(1 / 127.5, offset=-1)], NAMED["unit"]),
        ([keras.applications.mobilenet_v2.preprocess_input], NAMED["unit"]),
        ([keras.applications.resnet50.preprocess_input], NAMED["keras_caffe"]),
        ([keras.applications.densenet.preprocess_input], NAMED["torchvision"]),
        ([layers.Lambda(lambda x: 1 - x / 255)], None),
        ([layers.Lambda(lambda x: x**2 / 255)], None),
        ([layers.ZeroPadding2D(), layers.Rescaling(1 / 255)], None),
        ([], None),
    ],
)
def test_a_normalization_inside_may_become_preprocessing(first, expected):
    model, raw = flat(beginning_with(*first)), NAMED["raw"].replace(size=SHAPE[:2])
    rest, found = without_normalization(model, raw)
    if expected is None:
        assert (rest, found) == (model, raw)
        return
    assert found.channels == expected.channels
    np.testing.assert_allclose([*found.mean, *found.std], [*expected.mean, *expected.std], rtol=1e-4)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *SHAPE)).astype(np.float32)
    np.testing.assert_allclose(rest(found.normalize(pixels)), model(pixels), atol=1e-5)


def test_integers_are_raw_pixels():
    assert preprocessing_inside(beginning_with(layers.Rescaling(1 / 255), dtype="uint8"), SHAPE) == "raw"


def test_a_nested_network_that_normalizes_is_found():
    inner = keras.applications.MobileNetV3Small(input_shape=(32, 32, 3), weights=None, include_top=False)
    image = keras.Input((32, 32, 3))
    outputs = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(inner(image)))
    assert preprocessing_inside(keras.Model(image, outputs), (32, 32, 3)) == "raw"


def test_a_networks_own_preprocessing_is_used():
    model = keras_inception.GoogLeNet(input_shape=(32, 32, 3), classes=3, normalization="batch_norm")
    assert model.preprocessing == DEFAULT.replace(size=(32, 32))
    model.preprocessing = NAMED["torchvision"]
    assert opened(model, quantize=["float32"])[0].preprocessing == NAMED["torchvision"].replace(size=(32, 32))


@pytest.mark.full
def test_a_saved_network_of_ours_is_known_by_its_layers(tmp_path):
    keras_inception.GoogLeNet(input_shape=(32, 32, 3), classes=3, normalization="batch_norm").save(
        tmp_path / "own.keras"
    )
    found, _ = opened(tmp_path / "own.keras", quantize=["float32"])
    assert found.preprocessing == DEFAULT.replace(size=(32, 32))
    namesake = keras.applications.InceptionV3(input_shape=(75, 75, 3), weights=None, classes=3, name="inception_v3")
    assert not is_of_the_registry(namesake)


def test_labeled_images_may_leave_one_choice(pictures):
    model = trained(NAMED["raw"])
    found, said = opened(model, labels=LABELS, test=pictures / "test", quantize=["float32"])
    assert found.preprocessing == NAMED["raw"].replace(size=(SIDE, SIDE))
    assert any("raw, the only one" in line for line in said)


def test_nothing_is_assumed(tiny_model, pictures):
    with pytest.raises(
        ValueError, match=r"`preprocessing` must be given: nothing tells what tiny expects\. Choose one of raw"
    ):
        opened(tiny_model, quantize=["float32"])
    with pytest.raises(ValueError, match=r"the labeled images do not tell which of these tiny expects\. .*torchvision"):
        opened(tiny_model, labels=LABELS, test=pictures / "test", quantize=["float32"])


@pytest.mark.parametrize("stated", [0, [0], [0, 0, 0]])
def test_gray_networks_get_gray_images(stated, pictures):
    image = keras.Input((SIDE, SIDE, 1))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(x))
    std = np.add(stated, 255).tolist()
    found, _ = opened(
        model, preprocessing=Preprocessing(size=(SIDE, SIDE), mean=stated, std=std), calibration=pictures / "test"
    )
    assert found.preprocessing.channels == "gray"
    assert (found.test.max(axis=-1) == found.test.min(axis=-1)).all()
    assert found.test.shape[-1] == 3
    with pytest.raises(ValueError, match="must be one number each for gray images"):
        opened(model, preprocessing="torchvision", quantize=["float32"])


def test_other_numbers_of_channels_are_refused():
    image = keras.Input((8, 8, 4))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(image)))
    with pytest.raises(ValueError, match=r"3 channels, or of 1 for gray\. Received: 4 channels"):
        opened(model, preprocessing="unit", quantize=["float32"])


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ([keras.Input((8, 8, 3)), keras.Input((4,))], r"as its only input\. Received: \(None, 8, 8, 3\), \(None, 4\)$"),
        (
            [keras.Input((28, 28))],
            r"Received: \(None, 28, 28\) \(if the images are gray, let it begin with a channel of 1",
        ),
        ([keras.Input((8, 8, 3), dtype="int8")], r"must take floats, or integers from 0 to 255\. Received: int8"),
    ],
)
def test_other_inputs_are_refused(inputs, says):
    flattened = [layers.Flatten()(keras.ops.cast(x, "float32")) for x in inputs]
    x = layers.Concatenate()(flattened) if len(inputs) > 1 else flattened[0]
    with pytest.raises(ValueError, match=says):
        opened(keras.Model(inputs, layers.Dense(3)(x)), size=(8, 8), quantize=["float32"])


def test_channels_first_are_refused_by_the_name_of_the_layer():
    image = keras.Input((3, 8, 8))
    x = layers.GlobalAveragePooling2D(data_format="channels_first", name="pool")(layers.Rescaling(1 / 255)(image))
    with pytest.raises(ValueError, match=r"channels last\. Received: pool, a GlobalAveragePooling2D with data_format"):
        opened(keras.Model(image, layers.Dense(3)(x)), quantize=["float32"])


def test_integer_inputs_take_raw_pixels_only():
    model = beginning_with(layers.Rescaling(1 / 255), dtype="uint8")
    assert opened(model, preprocessing="raw", quantize=["float32"])[0].preprocessing == NAMED["raw"].replace(
        size=SHAPE[:2]
    )
    with pytest.raises(ValueError, match=r"`preprocessing` must be raw pixels for .*, whose input is uint8"):
        opened(model, preprocessing="unit", quantize=["float32"])


def test_images_of_any_size_need_one():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(image)))
    with pytest.raises(ValueError, match=r"`size` must be given as \(height, width\): .* takes any size"):
        opened(model, preprocessing="unit", quantize=["float32"])
    found, _ = opened(model, preprocessing="unit", size=(8, 12), quantize=["float32"])
    assert found.model.input_shape == (None, 8, 12, 3)
