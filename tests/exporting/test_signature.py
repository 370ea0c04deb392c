import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_inception.exporting.signature import deployed
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


@pytest.mark.parametrize("variant", VARIANTS)
def test_gray_networks_get_files_that_take_rgb(variant):
    import keras

    image = keras.Input((2, 3, 1))
    identity = keras.Model(image, keras.layers.Flatten()(image))
    gray = Preprocessing(size=(2, 3), mean=10, std=(255,), channels="gray")
    expected_input = VARIANTS[variant].input(gray)
    assert expected_input.channels == "RGB"
    pixels = np.random.default_rng(0).integers(0, 256, (1, 2, 3, 3)).astype(np.float32)
    got = deployed(identity, gray, expected_input)(expected_input.normalize(pixels))["probabilities"]
    luminance = np.asarray(Image.fromarray(pixels[0].astype(np.uint8)).convert("L"), np.float32)
    np.testing.assert_allclose(np.reshape(got, (2, 3)), (luminance - 10) / 255, atol=0.6 / 255)


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
