"""`evaluate` and `predict` from Python, with a classifier that is computed by hand."""

import json
import logging

import numpy as np
import pytest
from by_color import ByColor

from keras_inception.evaluation.classifiers import open_classifier
from keras_inception.evaluation.evaluator import evaluate
from keras_inception.evaluation.prediction import predict
from keras_inception.preprocessing import Preprocessing


def test_evaluate_a_classifier(pictures):
    calls = []
    result = evaluate(ByColor(), pictures, on_progress=lambda *call: calls.append(call))
    assert (result.count, result.top1, result.class_names) == (12, 1.0, ("blue", "green", "red"))
    assert result.loss == pytest.approx(-np.log(0.9))
    assert (result.models, result.crops) == (("by color",), 1)
    assert ("Classifying", 12, 12) in calls
    values = result.to_dict()
    assert json.loads(json.dumps(values)) == values
    assert list(values)[:3] == ["models", "crops", "top1"]
    assert "12 images: top-1 100.0%" in str(result)
    assert result.images.paths[:2] == ("test/blue/0.png", "test/blue/1.png")
    assert result.images.truth.tolist() == sorted([0, 1, 2] * 4)
    assert result.images.confidence == pytest.approx(0.9)


def test_evaluate_an_ensemble_over_crops(pictures):
    result = evaluate(ByColor(), pictures / "test", crops=10, ensemble=[ByColor(confidence=0.7)])
    assert result.loss == pytest.approx(-np.log(0.8))
    assert str(result).endswith("Averaged over 10 crops of each image and 2 networks.")


def test_images_that_are_left_out_are_logged(pictures, tmp_path, caplog):
    (tmp_path / "red").mkdir()
    (tmp_path / "red" / "good.png").write_bytes((pictures / "test" / "red" / "0.png").read_bytes())
    (tmp_path / "red" / "bad.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert evaluate(ByColor(), tmp_path).count == 1
    assert caplog.messages == [f"left out {tmp_path / 'red' / 'bad.png'}: empty file"]
    with pytest.raises(ValueError, match=r"bad\.png: empty file"):
        evaluate(ByColor(), tmp_path, strict=True)


def test_a_classifier_without_images_is_an_error():
    with pytest.raises(ValueError, match="labeled images must be given: by color is not a run"):
        evaluate(ByColor())


@pytest.fixture
def bare(tmp_path):
    """A file without metadata that classifies images of `pictures` by their mean color."""
    import tensorflow as tf

    def network(x):
        return tf.nn.softmax(tf.reverse(tf.reduce_mean(x, axis=[1, 2]), [1]) * 8)

    concrete = tf.function(network, input_signature=[tf.TensorSpec((1, 8, 8, 3))]).get_concrete_function()
    path = tmp_path / "bare.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())
    return path


def test_a_file_without_metadata_takes_preprocessing_and_labels(bare, pictures, tmp_path):
    (tmp_path / "labels.txt").write_text("blue\r\ngreen\r\nred\r\n")
    description = {"preprocessing": "unit", "labels": tmp_path / "labels.txt"}
    assert evaluate(bare, pictures / "test", **description).top1 == 1
    image = pictures / "test" / "red" / "0.png"
    assert predict(bare, image, **description)[0].top[0].label == "red"
    assert predict(bare, image, preprocessing=Preprocessing())[0].top[0].label == "class 2"
    with pytest.raises(ValueError, match=r"bare\.tflite does not say how its input is normalized: give `prep"):
        predict(bare, image)
    with pytest.raises(ValueError, match=r"bare\.tflite does not name its classes: give `labels` \(--labels\)"):
        evaluate(bare, pictures / "test", preprocessing="unit")
    with pytest.raises(ValueError, match=r"`preprocessing` must be one of .* Received: 'units'"):
        predict(bare, image, preprocessing="units")


def own_model(classes=3, channels=3):
    """A network of raw pixels that classifies images of `pictures` by their mean color; one sigmoid is for red."""
    import keras

    image = keras.Input((8, 8, channels))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 32)(image))
    model = keras.Model(image, keras.layers.Dense(classes, activation="softmax" if classes > 1 else "sigmoid")(x))
    weights = np.eye(3)[::-1] if classes == 3 else np.array([[1], [-1], [-1]])
    model.set_weights([weights[:channels], np.zeros(classes)])
    return model


@pytest.mark.parametrize("name", ["own.keras", "own.h5", "exported"])
def test_ones_own_model_takes_preprocessing_and_labels(pictures, tmp_path, name):
    path, model = tmp_path / name, own_model()
    model.export(path, verbose=False) if name == "exported" else model.save(path)
    (tmp_path / "labels.txt").write_text("blue\ngreen\nred\n")
    description = {"preprocessing": "raw", "labels": tmp_path / "labels.txt"}
    result = evaluate(path, pictures / "test", **description)
    assert (result.top1, result.models) == (1, (str(path),))
    image = pictures / "test" / "red" / "0.png"
    assert predict(path, image, **description)[0].top[0].label == "red"
    assert predict(path, image, preprocessing="raw")[0].top[0].label == "class 2"
    with pytest.raises(ValueError, match=rf"must say what .*{name} expects: raw if it normalizes pixels itself, "):
        predict(path, image)
    with pytest.raises(ValueError, match=rf"{name} does not name its classes: give `labels` \(--labels\)"):
        evaluate(path, pictures / "test", preprocessing="raw")
    with pytest.raises(ValueError, match=rf"must be 3, one for each class of .*{name}\. Received: 2: a, b"):
        predict(path, image, preprocessing="raw", labels=["a", "b"])


def test_ones_own_model_of_two_classes_or_of_gray_images(pictures, tmp_path):
    own_model(1).save(tmp_path / "binary.keras")
    image = pictures / "test" / "red" / "0.png"
    guesses = predict(tmp_path / "binary.keras", image, preprocessing="raw", labels=["other", "red"])[0].top
    assert guesses[0].label == "red"
    assert sum(guess.probability for guess in guesses) == pytest.approx(1)
    own_model(channels=1).save(tmp_path / "gray.keras")
    assert open_classifier(tmp_path / "gray.keras", "raw").preprocessing.channels == "gray"
    assert predict(tmp_path / "gray.keras", image, preprocessing="raw")[0].top


def test_weights_alone_are_named(pictures, tmp_path):
    own_model().save_weights(tmp_path / "own.weights.h5")
    with pytest.raises(ValueError, match=r"own\.weights\.h5 holds weights alone"):
        evaluate(tmp_path / "own.weights.h5", pictures / "test", preprocessing="raw", labels=["a", "b", "c"])


@pytest.mark.parametrize("argument", [{"preprocessing": "unit"}, {"labels": ["a", "b", "c"]}])
def test_only_a_file_takes_preprocessing_and_labels(pictures, argument):
    message = f"`{next(iter(argument))}` is only for a file. Received: by color, which has its own"
    with pytest.raises(ValueError, match=message):
        evaluate(ByColor(), pictures / "test", **argument)
    with pytest.raises(ValueError, match=message):
        predict(ByColor(), pictures / "test" / "red" / "0.png", **argument)


def test_a_classifier_is_opened_as_it_is():
    classifier = ByColor()
    assert open_classifier(classifier) is classifier
