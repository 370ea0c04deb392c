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


def other_file(path, function, *shapes, **options):
    """Convert a function of float tensors, with settings of the converter."""
    import tensorflow as tf

    signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    concrete = tf.function(function, input_signature=signature).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    for name, value in options.items():
        setattr(converter, name, value)
    path.write_bytes(converter.convert())
    return path


def mean(x):
    import tensorflow as tf

    return tf.nn.softmax(tf.reduce_mean(x, axis=[1, 2]))


def quantized(path, preprocessing, kind, function=mean, channels=3):
    """Convert a function to int8 with the input and output of a given type."""
    import tensorflow as tf

    def samples():
        for seed in range(10):
            yield [preprocessing.normalize(pixels(seed).astype(np.float32))]

    options = {"optimizations": [tf.lite.Optimize.DEFAULT], "representative_dataset": samples}
    types = dict.fromkeys(["inference_input_type", "inference_output_type"], tf.dtypes.as_dtype(kind))
    return other_file(path, function, (1, 8, 8, channels), **options, **types)


def pixels(seed):
    image = np.random.default_rng(seed).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    image[0, 0, 0], image[0, -1, -1] = 0, 255
    return image


def test_a_file_without_metadata_needs_preprocessing(tmp_path):
    path = other_file(tmp_path / "good.tflite", mean, (1, 4, 4, 3))
    with pytest.raises(ValueError, match=r"good\.tflite does not say how its input is normalized: .*unit"):
        TFLiteClassifier(path)
    classifier = TFLiteClassifier(path, preprocessing=DEFAULT)
    assert classifier.labels == ("class 0", "class 1", "class 2")
    assert not classifier.has_labels
    assert classifier.preprocessing == DEFAULT.replace(size=(4, 4))
    images = pixels(0)[:, :4, :4]
    expected = mean(DEFAULT.normalize(images.astype(np.float32)))
    np.testing.assert_allclose(classifier.predict(images), expected, atol=1e-6)


def test_given_preprocessing_and_labels_take_precedence(exported):
    path = exported[0] / "colours_float32.tflite"
    classifier = TFLiteClassifier(path, preprocessing=NAMED["torchvision"], labels=["a", "b", "c"])
    assert classifier.preprocessing == NAMED["torchvision"].replace(size=(SIDE, SIDE))
    assert classifier.labels == ("a", "b", "c")
    assert classifier.has_labels


@pytest.mark.parametrize("kind", ["uint8", "int8", "float32"])
@pytest.mark.parametrize("name", ["unit", "torchvision"])
def test_any_type_of_input_and_output(tmp_path, kind, name):
    path = quantized(tmp_path / f"{kind}.tflite", NAMED[name], kind)
    classifier = TFLiteClassifier(path, preprocessing=NAMED[name])
    assert classifier.input_type.__name__ == classifier.output_type.__name__ == kind
    expected = mean(NAMED[name].normalize(pixels(99).astype(np.float32)))
    np.testing.assert_allclose(classifier.predict(pixels(99)), expected, atol=0.02)


@pytest.mark.parametrize("kind", ["uint8", "int8", "float32"])
@pytest.mark.parametrize("name", ["zero_to_one", "raw"])
def test_files_of_one_channel_take_gray_images(tmp_path, kind, name):
    import tensorflow as tf

    def function(x):
        return tf.nn.softmax(tf.reduce_mean(x, axis=[1, 2]) @ tf.constant([[1.0, 2.0]]))

    gray = NAMED[name].replace(size=(8, 8), channels="gray")
    path = quantized(tmp_path / f"{kind}.tflite", NAMED["zero_to_one"].replace(channels="gray"), kind, function, 1)
    if kind == "float32":
        path = other_file(path, lambda x: function(x / gray.std[0] if name == "raw" else x), (1, 8, 8, 1))
    classifier = TFLiteClassifier(path, preprocessing=NAMED[name])
    assert classifier.preprocessing == gray
    image = np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)
    fitted = classifier.preprocessing.fit(image)
    assert (fitted == fitted[..., :1]).all()
    assert classifier.as_input(fitted[None]).shape == (1, 8, 8, 1)
    expected = function(fitted[None, ..., :1] / np.float32(1 if name == "raw" and kind == "float32" else 255))
    np.testing.assert_allclose(classifier.predict(fitted[None]), expected, atol=0.02)
    with pytest.raises(ValueError, match="must be one number each for gray images"):
        TFLiteClassifier(path, preprocessing=NAMED["torchvision"])


def test_without_normalization_8_bit_inputs_take_raw_pixels(tmp_path):
    raw = DEFAULT.without_normalization()
    for kind, black in {"uint8": 0, "int8": -128}.items():
        path = quantized(tmp_path / f"{kind}.tflite", DEFAULT, kind)
        classifier = TFLiteClassifier(path, preprocessing=raw)
        np.testing.assert_array_equal(classifier.as_input(pixels(1)), pixels(1).astype(int) + black)
    uint8 = TFLiteClassifier(tmp_path / "uint8.tflite")
    np.testing.assert_array_equal(uint8.as_input(pixels(1)), pixels(1))
    with pytest.raises(ValueError, match="does not say how its input is normalized"):
        TFLiteClassifier(tmp_path / "int8.tflite")


def test_a_normalization_that_the_input_cannot_hold_is_refused(tmp_path):
    path = quantized(tmp_path / "int8.tflite", DEFAULT, "int8")
    with pytest.raises(ValueError, match=r"takes int8 for values from -\S+ to \S+, .* Received: -1\d\d\.\d to 151"):
        TFLiteClassifier(path, preprocessing=NAMED["keras_caffe"])


def test_other_files_are_read_with_the_labels_that_their_metadata_names(tmp_path):
    path, labels = other_file(tmp_path / "good.tflite", mean, (1, 4, 4, 3)), tmp_path / "probability-labels.txt"
    labels.write_text("one\ntwo\nthree\n", encoding="utf-8")
    metadata.write(path, metadata.About(name="x", version="1", description="", author="", license=""), DEFAULT, labels)
    assert TFLiteClassifier(path).labels == ("one", "two", "three")


def test_logits_of_other_files_become_probabilities(tmp_path):
    import tensorflow as tf

    def logits(x):
        return tf.reduce_mean(x, axis=[1, 2]) @ tf.constant(np.float32([[1, 2, 0], [0, -3, 1], [2, 1, 1]]))

    path = other_file(tmp_path / "logits.tflite", lambda x: tf.reshape(logits(x), (1, 1, 3)), (1, 4, 4, 3))
    images = pixels(0)[:, :4, :4]
    expected = tf.nn.softmax(logits(DEFAULT.normalize(images.astype(np.float32))))
    np.testing.assert_allclose(TFLiteClassifier(path, preprocessing=DEFAULT).predict(images), expected, atol=1e-6)


@pytest.fixture(scope="module")
def weights():
    import tensorflow as tf

    return tf.constant(np.float32([[1, 2, 0], [0, -3, 1], [2, 1, 1]]) * 5)


@pytest.mark.parametrize("ending", ["temperature", "logarithms", "ensemble", "scaled", "exponential"])
def test_what_other_files_end_in_tells_logits_from_probabilities(tmp_path, weights, ending):
    import tensorflow as tf

    def logits(x):
        return tf.reduce_mean(x, axis=[1, 2]) @ weights

    endings = {
        "temperature": (lambda x: logits(x) * tf.constant([2.0, 2.5, 2.0]) - 1, tf.nn.softmax),
        "logarithms": (lambda x: tf.nn.log_softmax(logits(x)), tf.exp),
        "ensemble": (lambda x: (tf.nn.softmax(logits(x)) + tf.nn.softmax(logits(-x))) / 2, tf.identity),
        "scaled": (lambda x: 100 * tf.nn.softmax(logits(x)), None),
        "exponential": (lambda x: tf.nn.elu(logits(x)), None),
    }
    function, answered = endings[ending]
    classifier = TFLiteClassifier(other_file(tmp_path / "other.tflite", function, (1, 4, 4, 3)), preprocessing=DEFAULT)
    images = pixels(0)[:, :4, :4]
    if answered is None:
        with pytest.raises(ValueError, match=r"other\.tflite must give probabilities .*\. Received: scores"):
            classifier.predict(images)
    else:
        expected = answered(function(DEFAULT.normalize(images.astype(np.float32))))
        np.testing.assert_allclose(classifier.predict(images), expected, atol=1e-6)


def test_a_dynamic_batch_dimension_is_accepted(tmp_path):
    import tensorflow as tf

    def reshaped(x):
        return tf.reshape(mean(x), (tf.shape(x)[0], 3))

    images = np.concatenate([pixels(seed)[:, :4, :4] for seed in range(3)])
    for name, function in {"plain": mean, "reshaped": reshaped}.items():
        path = other_file(tmp_path / f"{name}.tflite", function, (None, 4, 4, 3))
        expected = mean(DEFAULT.normalize(images.astype(np.float32)))
        np.testing.assert_allclose(TFLiteClassifier(path, preprocessing=DEFAULT).predict(images), expected, atol=1e-6)


def test_one_sigmoid_score_is_that_of_the_second_label(tmp_path):
    import tensorflow as tf

    def score(x):
        return tf.reduce_mean(x, axis=[1, 2]) @ tf.constant(np.float32([[1], [-2], [3]]))

    path = other_file(tmp_path / "one.tflite", lambda x: tf.sigmoid(score(x)), (1, 4, 4, 3))
    images = pixels(0)[:, :4, :4]
    second = tf.sigmoid(score(DEFAULT.normalize(images.astype(np.float32)))).numpy().item()
    classifier = TFLiteClassifier(path, preprocessing=DEFAULT, labels=("cat", "dog"))
    assert classifier.classes == 2
    np.testing.assert_allclose(classifier.predict(images), [[1 - second, second]], atol=1e-6)
    with pytest.raises(ValueError, match=r"second of two labels\. Received: one score and no labels"):
        TFLiteClassifier(path, preprocessing=DEFAULT)
    path = other_file(tmp_path / "logit.tflite", score, (1, 4, 4, 3))
    with pytest.raises(ValueError, match="Received: one logit and 2 labels"):
        TFLiteClassifier(path, preprocessing=DEFAULT, labels=("cat", "dog"))


def test_a_score_for_each_class_may_have_more_axes(tmp_path):
    import tensorflow as tf

    deep = other_file(tmp_path / "deep.tflite", lambda x: tf.reshape(mean(x), (1, 1, 1, 3)), (1, 4, 4, 3))
    images = pixels(0)[:, :4, :4]
    expected = mean(DEFAULT.normalize(images.astype(np.float32)))
    np.testing.assert_allclose(TFLiteClassifier(deep, preprocessing=DEFAULT).predict(images), expected, atol=1e-6)


def test_other_files_are_refused(tmp_path):
    import tensorflow as tf

    path = other_file(tmp_path / "good.tflite", mean, (1, 4, 4, 3))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "one\ntwo\n")
    with pytest.raises(ValueError, match=r"must hold 3 labels\. Received: 2"):
        TFLiteClassifier(path, preprocessing=DEFAULT)

    two = other_file(tmp_path / "two.tflite", lambda x, y: mean(x + y), (1, 4, 4, 3), (1, 4, 4, 3))
    with pytest.raises(ValueError, match=r"one input and one output\. Received: 2 and 1"):
        TFLiteClassifier(two)
    four = other_file(tmp_path / "four.tflite", mean, (1, 4, 4, 4))
    with pytest.raises(ValueError, match=r"must take float32, .* or int8 \[1, height, width, 3 or 1\].*\[1, 4, 4, 4\]"):
        TFLiteClassifier(four)
    free = other_file(tmp_path / "free.tflite", mean, (1, None, None, 3))
    with pytest.raises(ValueError, match=r"must take .* Received: float32 \[1, -1, -1, 3\]"):
        TFLiteClassifier(free)
    maps = other_file(tmp_path / "maps.tflite", tf.nn.relu, (1, 4, 4, 3))
    with pytest.raises(ValueError, match=r"must give \[1, classes\]. Received: float32 \[1, 4, 4, 3\]"):
        TFLiteClassifier(maps)
