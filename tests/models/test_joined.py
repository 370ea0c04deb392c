"""Several networks in one model, layers before a network, other channels than three, and weights of a run."""

import keras
import numpy as np
import pytest
from keras import layers
from model_helpers import image

import keras_inception
from keras_inception.preprocessing import Preprocessing

SHAPE = (32, 32, 3)


def small(name=None, **options):
    return keras_inception.GoogLeNet(input_shape=SHAPE, classes=4, name=name, **options)


def with_noise(model):
    """Set every weight of a network to something of its own."""
    rng = np.random.default_rng(7)
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape) * weight + 0.01 for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a network, and the path of a run directory that holds it."""
    run = tmp_path_factory.mktemp("run")
    model = with_noise(small())
    model.save(run / "model.keras")
    Preprocessing(size=(32, 32), mean=(1.0, 2.0, 3.0), crop=0.875).save(run / "preprocessing.json")
    return model, run


def test_two_networks_of_a_kind_fit_in_one_model(tmp_path):
    x = keras.Input(SHAPE)
    left, right = (with_noise(small(name, input_tensor=x)) for name in ("left", "right"))
    both = keras.Model(x, layers.Average()([left.output, right.output]))
    both.save(tmp_path / "both.keras")
    again = keras_inception.load(tmp_path / "both.keras")
    pixels = image(32, 32)
    np.testing.assert_allclose(again(pixels), (left(pixels) + right(pixels)) / 2, rtol=1e-5)
    assert len({weight.path for weight in both.weights}) == len(both.weights)


def test_networks_of_two_kinds_fit_in_one_model_by_their_default_names():
    shape = (75, 75, 3)
    options = {"include_top": False, "pooling": "avg", "input_shape": shape}
    one, other = keras_inception.GoogLeNet(**options), keras_inception.InceptionV3(**options)
    joined = keras.Model([one.input, other.input], layers.Concatenate()([one.output, other.output]))
    assert joined.output_shape == (None, 1024 + 2048)


def test_names_go_without_the_networks_own(trained, tmp_path):
    plain, run = trained
    other = small("left", weights=run)
    pixels = image(32, 32)
    np.testing.assert_array_equal(other(pixels), plain(pixels))
    maps = keras_inception.features(other, ["conv1", "inception_3b"])(pixels)
    wanted = keras_inception.features(plain, ["conv1", "inception_3b"])(pixels)
    for stage, value in wanted.items():
        np.testing.assert_array_equal(maps[stage], value)
    for name in ("left.keras", "left.weights.h5"):
        other.save(tmp_path / name) if name.endswith(".keras") else other.save_weights(tmp_path / name)
        np.testing.assert_array_equal(small(weights=tmp_path / name)(pixels), plain(pixels))
    assert small("left", filters={"conv1": 3, "left-conv2": 5}).get_layer("left-conv2").filters == 5


def test_heads_are_found_under_another_name():
    model = small("left", auxiliary=True)
    assert set(model.output) == {"predictions", "aux_4a", "aux_4d"}
    inference = keras_inception.inference_model(model)
    assert inference.output_shape == (None, 4)


def test_a_name_with_a_slash_is_refused():
    with pytest.raises(ValueError, match=r"`name` must be text without a slash. Received: name='a/b'"):
        small("a/b")


def test_a_network_stands_on_other_layers(trained):
    plain, run = trained
    bands = keras.Input((32, 32, 4))
    rgb = layers.Conv2D(3, 1, name="conv1")(bands)  # a name that the network has, too
    model = keras_inception.GoogLeNet(input_tensor=rgb, classes=4, weights=run, name="mine")
    pixels = np.random.default_rng(0).normal(size=(1, 32, 32, 4)).astype(np.float32)
    np.testing.assert_allclose(model(pixels), plain(model.get_layer("conv1")(pixels)), rtol=1e-5)


@pytest.mark.full
def test_a_network_stands_on_two_inputs(trained):
    plain, run = trained
    inputs = [keras.Input((32, 32, 1)), keras.Input((32, 32, 2))]
    model = keras_inception.GoogLeNet(input_tensor=layers.Concatenate()(inputs), classes=4, weights=run)
    pixels = image(32, 32)
    np.testing.assert_allclose(model([pixels[..., :1], pixels[..., 1:]]), plain(pixels), rtol=1e-6)


def test_one_channel_sees_gray_as_three_equal_ones(trained):
    plain, run = trained
    gray = keras_inception.GoogLeNet(input_shape=(32, 32, 1), classes=4, weights=run)
    pixels = image(32, 32)[..., :1]
    np.testing.assert_allclose(gray(pixels), plain(np.repeat(pixels, 3, axis=-1)), rtol=1e-4)
    assert gray.preprocessing.channels == "gray"
    assert gray.preprocessing.mean == (2.0, 2.0, 2.0)


def test_weights_for_three_channels_do_not_fit_four(trained):
    with pytest.raises(ValueError, match=r"of another shape: conv1/kernel \(7, 7, 3, 64\).*"):
        keras_inception.GoogLeNet(input_shape=(32, 32, 4), classes=4, weights=trained[1])


@pytest.mark.parametrize("weights", ["directory", "file"])
def test_the_weights_of_a_run_bring_their_preprocessing(weights, trained):
    plain, run = trained
    model = small(weights=run if weights == "directory" else run / "model.keras")
    pixels = image(32, 32)
    np.testing.assert_array_equal(model(pixels), plain(pixels))
    assert model.preprocessing == Preprocessing(size=(32, 32), mean=(1.0, 2.0, 3.0), crop=0.875)


def test_a_directory_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a file or a run directory. Received: .*, which has no preprocessing\.json"):
        small(weights=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_tensor": np.zeros((1, 32, 32, 3))}, "`input_tensor` must be what keras.Input"),
        ({"input_shape": 224}, r"`input_shape` must be \(height, width, channels\). Received: 224"),
        ({"input_shape": (32, 32, 0)}, r"`input_shape` must be \(height, width, channels\)"),
        ({"input_shape": (32, 32, None)}, r"`input_shape` must be \(height, width, channels\)"),
        ({"weights": 3}, "`weights` must be None, a name or a path. Received: an object of type int"),
        ({"filters": [3]}, r"`filters` must be a dict of filters by layer. Received: filters=\[3\]"),
        ({"dropout": "0.4"}, r"`dropout` must be in \[0, 1\). Received: dropout='0.4'"),
    ],
)
def test_arguments_of_another_type_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_inception.GoogLeNet(**arguments)
