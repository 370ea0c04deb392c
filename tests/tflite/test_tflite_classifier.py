"""`TFLiteClassifier` on files of this package and of others, and the files that it refuses."""

import shutil
import zipfile

import numpy as np
import pytest
from colours import LABELS, SIDE, color_images, without_archive

from keras_inception.preprocessing import DEFAULT, NAMED
from keras_inception.tflite import metadata
from keras_inception.tflite.classifier import TFLiteClassifier


@pytest.mark.parametrize("variant", ["float32", "float16", "dynamic", "int8"])
def test_a_single_file_has_its_labels_and_preprocessing(exported, tiny_model, tmp_path, variant):
    alone = shutil.copy(exported[0] / f"colours_{variant}.tflite", tmp_path / "renamed.tflite")
    classifier = TFLiteClassifier(alone)
    assert classifier.labels == LABELS
    assert classifier.preprocessing == DEFAULT.replace(size=(SIDE, SIDE))
    images, _ = color_images(10, seed=9)
    probabilities = classifier.predict(images)
    assert probabilities.dtype == np.float32
    expected = tiny_model.predict(DEFAULT.normalize(images.astype(np.float32)), verbose=0)
    assert np.abs(probabilities - expected).max() < 0.1
    np.testing.assert_array_equal(classifier.predict(images.astype(np.float64)), probabilities)
    assert classifier.latency_ms(runs=3) > 0


def test_images_of_another_size_or_range_are_refused(exported):
    classifier = TFLiteClassifier(exported[0] / "colours_int8.tflite")
    assert classifier.predict(np.empty((0, SIDE, SIDE, 3), np.uint8)).shape == (0, 3)
    with pytest.raises(ValueError, match=r"must be \(n, 32, 32, 3\). Received: \(1, 8, 8, 3\)"):
        classifier.predict(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"pixels from 0 to 255, not normalized. Received: -1 to 1"):
        classifier.predict(np.linspace(-1, 1, SIDE * SIDE * 3).reshape(1, SIDE, SIDE, 3))


def test_files_that_are_no_models_are_refused(exported, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \.tflite file at"):
        TFLiteClassifier(tmp_path / "nothing.tflite")
    whole = (exported[0] / "colours_float32.tflite").read_bytes()
    for name, content in {"empty": b"", "garbage": b"not a model at all" * 9, "cut": whole[: len(whole) // 2]}.items():
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.tflite is not a TFLite model that can be run"):
            TFLiteClassifier(path)


def test_preprocessing_of_other_files_comes_from_their_metadata(exported, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(without_archive(exported[0] / "colours_float32.tflite"))
    imagenet = NAMED["torchvision"]
    about = metadata.About(name="x", version="1", description="", author="", license="")
    metadata.write(path, about, imagenet, exported[0] / "labels.txt")
    classifier = TFLiteClassifier(path)
    assert classifier.labels == LABELS
    np.testing.assert_allclose(classifier.preprocessing.mean, imagenet.mean, rtol=1e-5)
    np.testing.assert_allclose(classifier.preprocessing.std, imagenet.std, rtol=1e-5)


def other_file(path, function, *shapes):
    import tensorflow as tf

    signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    concrete = tf.function(function, input_signature=signature).get_concrete_function()
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())
    return path


def test_other_files_get_numbered_classes_or_are_refused(tmp_path):
    import tensorflow as tf

    def mean(x):
        return tf.nn.softmax(tf.reduce_mean(x, axis=[1, 2]))

    path = other_file(tmp_path / "good.tflite", mean, (1, 4, 4, 3))
    classifier = TFLiteClassifier(path)
    assert classifier.labels == ("class 0", "class 1", "class 2")
    assert classifier.preprocessing == DEFAULT.replace(size=(4, 4))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "one\ntwo\n")
    with pytest.raises(ValueError, match=r"must hold 3 labels\. Received: 2"):
        TFLiteClassifier(path)

    two = other_file(tmp_path / "two.tflite", lambda x, y: mean(x + y), (1, 4, 4, 3), (1, 4, 4, 3))
    with pytest.raises(ValueError, match=r"one input and one output\. Received: 2 and 1"):
        TFLiteClassifier(two)
    grey = other_file(tmp_path / "grey.tflite", mean, (1, 4, 4, 1))
    with pytest.raises(ValueError, match=r"must take float32 or uint8 \[1, height, width, 3\].*\[1, 4, 4, 1\]"):
        TFLiteClassifier(grey)
    maps = other_file(tmp_path / "maps.tflite", tf.nn.relu, (1, 4, 4, 3))
    with pytest.raises(ValueError, match=r"must give \[1, classes\]. Received: \[1, 4, 4, 3\]"):
        TFLiteClassifier(maps)
