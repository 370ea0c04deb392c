import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_inception.exporting.signature import deployed, probability_model
from keras_inception.exporting.variants import VARIANTS
from keras_inception.preprocessing import DEFAULT, NAMED, Preprocessing

figures = st.tuples(*[st.floats(0, 255, width=16)] * 3)
deviations = st.tuples(*[st.floats(1, 255, width=16)] * 3)
preprocessings = st.builds(
    Preprocessing,
    size=st.just((2, 3)),
    mean=st.one_of(figures, st.just((127.5,) * 3)),
    std=st.one_of(deviations, st.just((127.5,) * 3)),
    channels=st.sampled_from(["RGB", "BGR"]),
)


@settings(max_examples=15)
@given(preprocessing=preprocessings, variant=st.sampled_from(sorted(VARIANTS)))
def test_the_deployed_graph_turns_its_input_into_what_the_network_expects(preprocessing, variant):
    import keras

    image = keras.Input((2, 3, 3))
    identity = keras.Model(image, keras.layers.Flatten()(image))
    expected_input = VARIANTS[variant].input(preprocessing)
    graph = deployed(identity, preprocessing, expected_input)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 2, 3, 3)).astype(np.float32)
    got = graph(expected_input.normalize(pixels))["probabilities"]
    expected = preprocessing.normalize(pixels).reshape(1, -1)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)
    assert expected_input.channels == "RGB"


def test_the_default_needs_no_operation():
    assert VARIANTS["float32"].input(DEFAULT) == VARIANTS["int8"].input(DEFAULT) == DEFAULT


def test_metadata_describes_what_it_can_and_the_graph_does_the_rest():
    caffe = NAMED["caffe"]
    assert VARIANTS["float16"].input(caffe) == caffe.replace(channels="RGB", mean=(123.0, 117.0, 104.0))
    assert VARIANTS["int8"].input(caffe) == caffe.without_normalization()
    imagenet = NAMED["torchvision"]
    assert VARIANTS["float32"].input(imagenet) == imagenet
    assert VARIANTS["int8"].input(imagenet) == imagenet.without_normalization()
    below_black = DEFAULT.replace(mean=(-1.0, -1.0, -1.0))
    assert VARIANTS["int8"].input(below_black) == below_black.without_normalization()


def dense(units, activation, shape=(4, 4, 3)):
    import keras

    image = keras.Input(shape)
    x = keras.layers.Flatten()(image)
    return keras.Model(image, keras.layers.Dense(units, activation=activation, name="last")(x))


SMALL = DEFAULT.replace(size=(4, 4))


def test_probabilities_are_kept_and_logits_get_a_softmax():
    import keras

    image = np.ones((1, 4, 4, 3), np.float32)
    softmax = dense(3, "softmax")
    np.testing.assert_allclose(probability_model(softmax, SMALL)(image), softmax(image), atol=1e-6)
    logits = dense(3, None)
    expected = keras.ops.softmax(logits(image))
    np.testing.assert_allclose(probability_model(logits, SMALL)(image), expected, atol=1e-6)


def test_a_mean_of_two_softmaxes_counts_as_probabilities():
    import keras

    image = keras.Input((4, 4, 3))
    x = keras.layers.Flatten()(image)
    heads = [keras.layers.Dense(3, activation="softmax")(x) for _ in range(2)]
    model = keras.Model(image, keras.layers.Average()(heads))
    image = np.ones((1, 4, 4, 3), np.float32)
    np.testing.assert_allclose(probability_model(model, SMALL)(image), model(image), atol=1e-6)


def test_a_model_that_does_not_classify_images_is_refused():
    import keras

    with pytest.raises(ValueError, match=r"must end in softmax or logits. Received: .*sigmoid"):
        probability_model(dense(3, "sigmoid"), SMALL)
    with pytest.raises(ValueError, match=r"two classes or more. Received: \(None, 1\)"):
        probability_model(dense(1, "sigmoid"), SMALL)
    with pytest.raises(ValueError, match=r"must take images, \(batch, 4, 4, 3\).*\(None, 4, 4, 1\)"):
        probability_model(dense(3, "softmax", shape=(4, 4, 1)), SMALL)
    image = keras.Input((4, 4, 3))
    with pytest.raises(ValueError, match=r"must give \(batch, classes\)"):
        probability_model(keras.Model(image, keras.layers.Conv2D(2, 1)(image)), SMALL)
    with pytest.raises(ValueError, match="functional Keras model"):
        probability_model(keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)]), SMALL)


def test_broken_weights_are_refused():
    model = dense(3, "softmax")
    model.get_layer("last").bias.assign([np.nan, 0, 0])
    with pytest.raises(ValueError, match="NaN or infinity"):
        probability_model(model, SMALL)
