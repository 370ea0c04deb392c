"""Export of what people bring: the files agree with the model as it was given, or the export is refused."""

import keras
import numpy as np
import pytest
from colours import LABELS, SIDE
from keras import layers
from networks import with_drawn_weights
from PIL import Image

import keras_inception
from keras_inception.preprocessing import Preprocessing
from keras_inception.tflite.classifier import TFLiteClassifier

BOTH = ["float32", "int8"]


def convolved(x):
    """Apply a small body with batch norm, of layers whose names every body has."""
    image = keras.Input(x.shape[1:])
    y = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(layers.Conv2D(8, 3, 2, name="conv")(image)))
    return layers.GlobalAveragePooling2D()(keras.Model(image, y, name="body")(x))


def exported(model, folder, pictures, *, quantize=BOTH, **options):
    """Export a model, and return the report with each file and what the given model says of the test images."""
    report = keras_inception.export(
        model, folder, quantize=quantize, calibration=pictures / "train", test=pictures / "test", clients=(), **options
    )
    return {name: TFLiteClassifier(folder / row["path"]) for name, row in report["variants"].items() if "path" in row}


def images_of(pictures):
    return np.stack([np.asarray(Image.open(path)) for path in sorted((pictures / "test").rglob("*.png"))])


@pytest.mark.parametrize(
    ("prepare", "quantization"),
    [
        pytest.param(keras.applications.mobilenet_v2.preprocess_input, (1 / 127.5, 127.5), marks=pytest.mark.full),
        (keras.applications.resnet50.preprocess_input, (1.0, 0)),
    ],
    ids=["unit", "caffe"],
)
def test_augmentation_and_preprocessing_inside(prepare, quantization, pictures, tmp_path):
    image = keras.Input((SIDE, SIDE, 3))
    augmentation = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.2)])
    x = layers.Dropout(0.2)(convolved(prepare(augmentation(image))))
    model = with_drawn_weights(keras.Model(image, layers.Dense(3, activation="softmax")(x), name="own"))
    model.save(tmp_path / "own.keras")
    pixels = images_of(pictures)
    expected = model.predict(pixels.astype(np.float32), verbose=0)
    files = exported(tmp_path / "own.keras", tmp_path / "files", pictures, min_agreement=0)
    np.testing.assert_allclose(files["float32"].predict(pixels), expected, atol=1e-4)
    assert np.abs(files["int8"].predict(pixels) - expected).max() < 0.1
    assert files["int8"].quantization[0] == pytest.approx(quantization[0], rel=1e-3)
    assert files["int8"].quantization[1] == pytest.approx(quantization[1], abs=1)


def test_one_sigmoid_becomes_two_scores(pictures, tmp_path):
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Dense(1, activation="sigmoid", name="or")(convolved(image))
    model = with_drawn_weights(keras.Model(image, x, name="binary"))
    files = exported(model, tmp_path, pictures, preprocessing="unit", min_agreement=0)
    assert files["float32"].labels == ("class 0", "class 1")
    pixels = images_of(pictures)
    p = model.predict(pixels / np.float32(127.5) - 1, verbose=0)
    np.testing.assert_allclose(files["float32"].predict(pixels), np.hstack([1 - p, p]), atol=1e-4)
    assert np.abs(files["int8"].predict(pixels) - np.hstack([1 - p, p])).max() < 0.05


def test_independent_scores_stay_as_they_are(pictures, tmp_path):
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Reshape((3,))(layers.Activation("sigmoid")(layers.Dense(3)(convolved(image))))
    model = with_drawn_weights(keras.Model(image, x, name="tags"))
    files = exported(model, tmp_path, pictures, preprocessing="unit", labels=LABELS, min_agreement=0)
    pixels = images_of(pictures)
    expected = model.predict(pixels / np.float32(127.5) - 1, verbose=0)
    np.testing.assert_allclose(files["float32"].predict(pixels), expected, atol=1e-4)
    assert np.abs(files["int8"].predict(pixels) - expected).max() < 0.05


@pytest.mark.full
def test_decisions_on_each_class_are_compared_if_scores_are_independent(pictures, tmp_path):
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Dense(3, activation="sigmoid", name="tags")(convolved(image))
    model = with_drawn_weights(keras.Model(image, x))
    model.get_layer("tags").bias.assign([-8, -8, -8])  # scores of int8 are all 0, and tie
    report = keras_inception.export(
        model, tmp_path, preprocessing="unit", quantize=["int8"], calibration=pictures / "train", clients=()
    )
    row = report["variants"]["int8"]
    assert (row["agreement"], row["ties"]) == (1, 0)


@pytest.mark.full
def test_a_model_may_need_its_batch_of_one_and_compute_in_float64(pictures, tmp_path):
    image = keras.Input(batch_shape=(1, SIDE, SIDE, 3))
    halves = keras.ops.reshape(image, (1, SIDE, SIDE // 2, 6))
    x = layers.Conv2D(8, 3, activation="relu", dtype="float64")(halves)
    x = layers.Dense(3, activation="softmax", dtype="float64")(layers.GlobalAveragePooling2D(dtype="float64")(x))
    model = with_drawn_weights(keras.Model(image, x, name="one"))
    files = exported(model, tmp_path, pictures, preprocessing="unit", quantize=["float32"])
    pixels = images_of(pictures)
    expected = model.predict(pixels / np.float32(127.5) - 1, batch_size=1, verbose=0)
    np.testing.assert_allclose(files["float32"].predict(pixels), expected, atol=1e-4)


def test_an_output_is_chosen_by_name(pictures, tmp_path):
    image = keras.Input((SIDE, SIDE, 3))
    x = convolved(image)
    outputs = [layers.Dense(3, activation="softmax", name=name)(x) for name in ("shape", "color")]
    model = with_drawn_weights(keras.Model(image, outputs, name="two"))
    options = {"preprocessing": "unit", "labels": LABELS, "quantize": ["float32"]}
    with pytest.raises(
        ValueError, match=r"`output_name` must name one of the outputs of two, shape, color.*Received: none"
    ):
        keras_inception.export(model, tmp_path / "none", **options)
    with pytest.raises(ValueError, match=r"Did you mean color\? Received: 'colour'"):
        keras_inception.export(model, tmp_path / "none", output_name="colour", **options)
    files = exported(model, tmp_path / "color", pictures, output_name="color", **options)
    pixels = images_of(pictures)
    expected = model.predict(pixels / np.float32(127.5) - 1, verbose=0)[1]
    np.testing.assert_allclose(files["float32"].predict(pixels), expected, atol=1e-4)


class Forgetful(layers.Layer):
    """Multiplies by a number that its configuration lacks."""

    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor

    def get_config(self):
        return super().get_config()  # which Keras completes only for layers that do not define it

    def call(self, x):
        return x * self.factor


def forgetful():
    image = keras.Input((SIDE, SIDE, 3))
    x = Forgetful(20.0, name="forgets")(convolved(image))
    x = layers.Dropout(0.5)(layers.Dense(3, activation="softmax", dtype="float32")(x))
    return with_drawn_weights(keras.Model(image, x, name="forgetful"))


def test_the_given_layers_are_used_and_not_their_configurations(pictures, tmp_path):
    model, pixels = forgetful(), images_of(pictures)
    files = exported(model, tmp_path, pictures, preprocessing="unit", labels=LABELS, quantize=["float32"])
    expected = model.predict(pixels / np.float32(127.5) - 1, verbose=0)
    np.testing.assert_allclose(files["float32"].predict(pixels), expected, atol=1e-4)


def test_a_copy_that_differs_from_the_given_model_is_refused(pictures, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")  # so that a copy in float32 is needed
    try:
        model = forgetful()
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(
        ValueError, match=r"forgetful cannot be exported: .* The first layer that differs is forgets \(Forg"
    ):
        exported(model, tmp_path, pictures, preprocessing="unit", labels=LABELS, quantize=["float32"])
    assert not list(tmp_path.glob("*.tflite"))


# The smallest images that each network takes.
APPLICATIONS = {
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "NASNetMobile": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "VGG16": 32,
    "Xception": 71,
}


@pytest.mark.full
@pytest.mark.parametrize("name", APPLICATIONS)
def test_networks_of_keras_applications(name, pictures, tmp_path):
    """Save a network as the tutorials build it, and export it in every variant."""
    side = APPLICATIONS[name]
    options = {} if name.startswith(("Conv", "Eff", "MobileNetV3")) else {"preprocessing": "unit"}
    expected_input = Preprocessing.named(options.get("preprocessing", "raw"), (side, side))
    network = getattr(keras.applications, name)
    body = with_drawn_weights(network(input_shape=(side, side, 3), include_top=False, weights=None))
    image = keras.Input((side, side, 3))
    x = layers.GlobalAveragePooling2D()(body(layers.RandomFlip()(image), training=False))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.Dropout(0.2)(x)), name="tutorial")
    model.save(tmp_path / "own.keras")
    files = exported(
        *(tmp_path / "own.keras", tmp_path / "files", pictures),
        quantize=None,
        labels=LABELS,
        min_agreement=0,
        **options,
    )
    assert set(files) == {"float32", "float16", "dynamic", "int8"}
    pixels = np.stack([expected_input.fit(image) for image in images_of(pictures)])
    expected = model.predict(expected_input.normalize(pixels.astype(np.float32)), verbose=0)
    for variant, tolerance in {"float32": 1e-4, "float16": 1e-2, "dynamic": 0.25, "int8": 0.25}.items():
        assert np.abs(files[variant].predict(pixels) - expected).max() < tolerance, variant
