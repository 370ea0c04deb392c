"""ImageNet's classes by name, and the preprocessing of the published networks."""

import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_inception import GoogLeNet, Preprocessing, decode_predictions, imagenet, preprocess_input
from keras_inception.preprocessing import DEFAULT
from keras_inception.weights.publishers import PUBLISHED


def probabilities(*indices, classes=1000):
    """Return predictions for one image whose most likely classes are `indices`, in this order."""
    row = np.zeros((1, classes), np.float32)
    for rank, index in enumerate(indices):
        row[0, index] = 0.5 / 2**rank
    return row


def test_there_are_a_thousand_classes_in_the_order_of_their_ids():
    ids, names = zip(*imagenet.classes(), strict=True)
    assert len(ids) == len(set(ids)) == len(set(names)) == 1000
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in ids)
    assert list(ids) == sorted(ids)
    assert all(name == name.strip() and name for name in names)


# Some classes from the lists of keras.applications and Caffe (synset_words.txt).
@pytest.mark.parametrize(
    ("index", "wnid", "name"),
    [
        (0, "n01440764", "tench"),
        (134, "n02012849", "crane bird"),
        (285, "n02124075", "Egyptian cat"),
        (517, "n03126707", "crane"),
        (638, "n03710637", "maillot"),
        (639, "n03710721", "maillot tank suit"),
        (999, "n15075141", "toilet tissue"),
    ],
)
def test_classes_by_example(index, wnid, name):
    assert imagenet.classes()[index] == (wnid, name)


def test_the_most_likely_classes_come_first():
    batch = np.concatenate([probabilities(285, 0, 999), probabilities(517)])
    first, second = decode_predictions(batch, top=3)
    assert first == [
        ("n02124075", "Egyptian cat", 0.5),
        ("n01440764", "tench", 0.25),
        ("n15075141", "toilet tissue", 0.125),
    ]
    assert second[0] == ("n03126707", "crane", 0.5)
    assert len(decode_predictions(batch)[0]) == 5


def test_a_background_class_is_left_out():
    ((best, second),) = decode_predictions(probabilities(0, 286, 1000, classes=1001), top=2)
    assert best == ("n02124075", "Egyptian cat", 0.25)
    assert second == ("n15075141", "toilet tissue", 0.125)


@pytest.mark.parametrize("convert", [keras.ops.convert_to_tensor, np.ndarray.tolist, lambda x: x.astype(np.float16)])
def test_tensors_lists_and_other_types_are_accepted(convert):
    (best,) = decode_predictions(convert(probabilities(285)), top=1)[0]
    assert best == ("n02124075", "Egyptian cat", 0.5)
    assert type(best[2]) is float


@pytest.mark.parametrize(
    ("predictions", "top", "says"),
    [
        (np.zeros((2, 19)), 5, r"`predictions` must be \(batch, 1000\), or \(batch, 1001\).* Received: \(2, 19\)"),
        (np.zeros(1000), 5, r"Received: \(1000,\)"),
        (np.zeros((1, 7, 7, 1000)), 5, r"Received: \(1, 7, 7, 1000\)"),
        (np.full((1, 1000), np.nan), 5, "must be numbers"),
        (np.full((1, 1000), "cat"), 5, "must be numbers"),
        ({"predictions": np.zeros((1, 1000))}, 5, r"pass one of the outputs\. Received: \['predictions'\]"),
        (np.zeros((1, 1000)), 0, r"`top` must be an integer from 1 to 1000\. Received: top=0"),
        (np.zeros((1, 1000)), 1001, "Received: top=1001"),
        (np.zeros((1, 1000)), 2.5, "Received: top=2.5"),
    ],
)
def test_predictions_that_cannot_be_decoded_are_refused(predictions, top, says):
    with pytest.raises(ValueError, match=says):
        decode_predictions(predictions, top)


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: f"{entry.network}-{entry.publisher}")
def test_every_published_network_has_its_preprocessing(entry):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    x = preprocess_input(pixels, entry.network, f"imagenet:{entry.publisher}")
    assert x.dtype == np.float32
    channels = pixels[..., ::-1] if entry.preprocessing.channels == "BGR" else pixels
    np.testing.assert_allclose(x * entry.preprocessing.std + entry.preprocessing.mean, channels, atol=1e-4)


def test_inputs_by_example():
    white = np.full((1, 1, 3), 255.0, np.float32)
    np.testing.assert_allclose(preprocess_input(white), np.ones((1, 1, 3)))  # includes transform_input
    np.testing.assert_allclose(preprocess_input(white, "Inception-V3"), np.ones((1, 1, 3)))
    np.testing.assert_allclose(preprocess_input(white, "vgg16", "imagenet:keras")[0, 0], [151.061, 138.221, 131.32])
    np.testing.assert_allclose(preprocess_input(white, "resnet34")[0, 0], [2.2489, 2.4286, 2.64], atol=1e-4)


def test_a_tensor_stays_a_tensor():
    x = preprocess_input(keras.ops.convert_to_tensor(np.full((2, 4, 4, 3), 255.0, np.float32)))
    assert keras.ops.is_tensor(x)
    np.testing.assert_allclose(x, 1)


@pytest.mark.parametrize(("network", "weights"), [("inception_v3", "imagenet:keras"), ("vgg16", "imagenet:keras")])
@pytest.mark.parametrize("kind", ["uint8", "int32", "float32"])
def test_a_pipeline_gives_the_numbers_of_arrays(network, weights, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)
    data = tf.data.Dataset.from_generator(
        lambda: iter(pixels.astype(kind)), output_signature=tf.TensorSpec((None, None, 3), kind)
    )
    mapped = np.stack(list(data.map(lambda x: preprocess_input(x, network, weights)).as_numpy_iterator()))
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped, preprocess_input(pixels, network, weights), atol=1e-4)


def test_symbolic_bytes_are_normalized_in_a_model():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)
    image = keras.Input((None, None, 3), dtype="uint8")
    model = keras.Model(image, preprocess_input(image, "vgg16", "imagenet:keras"))
    np.testing.assert_allclose(model(pixels), preprocess_input(pixels, "vgg16", "imagenet:keras"), atol=1e-4)


def test_a_tensor_of_unknown_shape_is_refused():
    image = tf.data.Dataset.from_tensors(b"").map(lambda content: tf.numpy_function(lambda _: 0, [content], tf.uint8))
    with pytest.raises(ValueError, match=r"a tensor of unknown shape, to which tf\.ensure_shape"):
        image.map(preprocess_input)


def test_a_network_built_with_weights_carries_its_preprocessing():
    pixels = np.full((32, 32, 3), 200, np.uint8)
    network = GoogLeNet(False, input_shape=(32, 32, 3))
    np.testing.assert_array_equal(preprocess_input(pixels, network), DEFAULT.normalize(pixels))
    del network.preprocessing
    with pytest.raises(ValueError, match=r"`model` must be a network's name, or a network of this package"):
        preprocess_input(pixels, network)
    network.preprocessing = Preprocessing.named("caffe")
    expected = Preprocessing.named("caffe").normalize(pixels)
    np.testing.assert_array_equal(preprocess_input(pixels, network), expected)


@pytest.mark.parametrize(
    ("x", "model", "says"),
    [
        (np.zeros((4, 4, 3)), "plain34", "no ImageNet weights of plain34 are published"),
        (np.zeros((4, 4, 3)), "lenet", "`model` must be one of "),
        (np.zeros((4, 4)), "vgg16", r"Received: \(4, 4\)"),
        (np.zeros((1, 3, 4, 4)), "vgg16", r"`x` must be an array of RGB pixels.* Received: \(1, 3, 4, 4\)"),
        ("cat.jpg", "vgg16", "Received: str"),
        (np.zeros((4, 4, 3), bool), "vgg16", "`x` must be integers or floats, 0 to 255. Received: dtype bool"),
        (np.full((4, 4, 3), "cat"), "vgg16", "`x` must be integers or floats"),
    ],
)
def test_input_that_cannot_be_preprocessed_is_refused(x, model, says):
    with pytest.raises(ValueError, match=says):
        preprocess_input(x, model)


def test_names_and_inputs_need_no_keras():
    code = (
        "import sys, numpy as np, keras_inception as k\n"
        "k.decode_predictions(k.preprocess_input(np.zeros((1, 1000, 3)), 'vgg16')[..., 0])\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
