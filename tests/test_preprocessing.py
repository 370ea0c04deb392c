import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from keras_inception import Preprocessing
from keras_inception.preprocessing import INTERPOLATIONS, NAMED

sides = st.integers(1, 600)
figures = st.floats(-1e6, 1e6)
scales = st.floats(1e-3, 1e6)
preprocessings = st.builds(
    Preprocessing,
    size=st.tuples(sides, sides),
    mean=st.tuples(figures, figures, figures),
    std=st.tuples(scales, scales, scales),
    channels=st.sampled_from(["RGB", "BGR"]),
    crop=st.floats(0.01, 1.0),
    interpolation=st.sampled_from(INTERPOLATIONS),
)


@given(preprocessings)
def test_it_comes_back_from_json(preprocessing):
    assert Preprocessing.from_json(preprocessing.to_json()) == preprocessing


def test_it_comes_back_from_a_file_with_its_own_size(tmp_path):
    preprocessing = NAMED["caffe"].replace(size=(96, 128))
    preprocessing.save(tmp_path / "preprocessing.json")
    assert Preprocessing.named(str(tmp_path / "preprocessing.json")) == preprocessing


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("size", (224,), r"`size` must be 2 numbers\. Received: size=\(224,\)"),
        ("size", 224, "`size` must be 2 numbers"),
        ("size", (0, 224), r"`size` must be positive integers\. Received: size=\(0, 224\)"),
        ("size", (224.5, 224), "`size` must be positive integers"),
        ("mean", (1.0, 2.0), r"`mean` must be 3 numbers\. Received: mean=\(1\.0, 2\.0\)"),
        ("mean", ("a", "b", "c"), "`mean` must be 3 numbers"),
        ("mean", (float("nan"), 0, 0), "`mean` must be 3 numbers"),
        ("mean", (10**400, 0, 0), "`mean` must be 3 numbers"),
        ("mean", (True, False, False), "`mean` must be 3 numbers"),
        ("std", (1.0, 0.0, 1.0), r"`std` must be positive\. Received: std=\(1\.0, 0\.0, 1\.0\)"),
        ("std", (float("inf"), 1.0, 1.0), "`std` must be 3 numbers"),
        ("channels", "GRB", r"`channels` must be 'RGB' or 'BGR'\. Received: channels='GRB'"),
        ("crop", 0, r"`crop` must be in \(0, 1\]\. Received: crop=0"),
        ("crop", 1.1, r"`crop` must be in \(0, 1\]"),
        ("crop", "all", r"`crop` must be in \(0, 1\]"),
        ("interpolation", "area", r"`interpolation` must be one of nearest, .* Received: 'area'"),
    ],
)
def test_a_bad_field_is_named(field, value, match):
    with pytest.raises(ValueError, match=match):
        Preprocessing(**{field: value})
    with pytest.raises(ValueError, match=f"`{field}`"):
        Preprocessing.from_json(json.dumps({field: value}))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"inception"', '{"mean_rgb": [0, 0, 0]}', '{"size": {}}'])
def test_json_that_is_no_preprocessing_is_refused(text):
    with pytest.raises(ValueError, match=r"preprocessing must be a JSON object|`size` must be"):
        Preprocessing.from_json(text)


def test_an_unknown_name_is_refused_with_those_that_are_known():
    match = r"`preprocessing` must be one of inception, unit, torchvision, caffe, or a JSON file\. Received: 'vgg'"
    with pytest.raises(ValueError, match=match):
        Preprocessing.named("vgg")


def test_a_file_that_is_no_preprocessing_is_named(tmp_path):
    path = tmp_path / "picture.json"
    path.write_bytes(b"\x89PNG\r\n\xff")
    with pytest.raises(ValueError, match=r"picture\.json: preprocessing must be a JSON object"):
        Preprocessing.named(str(path))


@pytest.mark.parametrize("name", NAMED)
def test_a_name_takes_the_networks_size(name):
    assert Preprocessing.named(name, (96, 128)) == NAMED[name].replace(size=(96, 128))
    assert Preprocessing.named(name).size == (224, 224)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)


def imagenet(pixels):
    """torchvision's `ToTensor` and `Normalize`."""
    return (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


def torchvision_transform_input(pixels):
    """What torchvision's GoogLeNet makes of ImageNet's normalisation with `transform_input`."""
    return imagenet(pixels) * (np.array([0.229, 0.224, 0.225]) / 0.5) + (np.array([0.485, 0.456, 0.406]) - 0.5) / 0.5


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("torchvision", imagenet),
        ("inception", torchvision_transform_input),
        ("inception", lambda pixels: pixels / 127.5 - 1),
        ("unit", lambda pixels: pixels / 127.5 - 1),
        ("caffe", lambda pixels: pixels[..., ::-1] - np.array([104.0, 117.0, 123.0])),
    ],
)
def test_normalization_is_the_publishers(name, formula, pixels):
    got = Preprocessing.named(name).normalize(pixels)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, formula(pixels), rtol=1e-5, atol=1e-5)


def test_normalization_of_a_tensor_is_that_of_the_array(pixels):
    import tensorflow as tf

    for preprocessing in NAMED.values():
        got = preprocessing.normalize(tf.constant(pixels, tf.float32))
        assert got.dtype == tf.float32
        np.testing.assert_allclose(got, preprocessing.normalize(pixels), rtol=1e-6, atol=1e-6)


def test_without_normalization_pixels_stay_what_they_are(pixels):
    raw = NAMED["caffe"].without_normalization()
    np.testing.assert_array_equal(raw.normalize(pixels), pixels)
    assert (raw.size, raw.crop) == (NAMED["caffe"].size, NAMED["caffe"].crop)


@given(preprocessings, sides, sides)
def test_any_picture_fits(preprocessing, height, width):
    fitted = preprocessing.fit(Image.new("RGB", (width, height), (10, 20, 30)))
    assert fitted.dtype == np.uint8
    assert fitted.shape == (*preprocessing.size, 3)
    np.testing.assert_array_equal(fitted, np.broadcast_to(np.uint8([10, 20, 30]), fitted.shape))


def test_a_picture_of_the_networks_size_is_left_alone(pixels):
    for interpolation in INTERPOLATIONS:
        preprocessing = Preprocessing(size=(5, 4), interpolation=interpolation)
        np.testing.assert_array_equal(preprocessing.fit(pixels[0]), pixels[0])


def coordinates(height, width):
    """A picture whose red is the row and whose green is the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("picture", "size", "crop", "rows", "columns"),
    [
        ((200, 100), (100, 100), 1.0, (50, 149), (0, 99)),  # the middle of a tall one
        ((100, 200), (100, 100), 1.0, (0, 99), (50, 149)),  # the middle of a wide one
        ((200, 200), (100, 100), 0.5, (50, 149), (50, 149)),  # torchvision's centre crop
        ((100, 200), (50, 25), 0.5, (25, 73), (88, 111)),  # half of a tall rectangle in a wide picture
        ((120, 240), (60, 120), 1.0, (0, 118), (0, 238)),  # shrunk whole
    ],
)
def test_the_centre_is_cropped_in_the_networks_shape(picture, size, crop, rows, columns):
    preprocessing = Preprocessing(size=size, crop=crop, interpolation="nearest")
    fitted = preprocessing.fit(coordinates(*picture)).astype(int)
    for channel, (first, last) in enumerate((rows, columns)):
        assert fitted[..., channel].min() == pytest.approx(first, abs=1)
        assert fitted[..., channel].max() == pytest.approx(last, abs=1)


def test_shrinking_averages_what_it_leaves_out():
    checkerboard = np.indices((64, 64)).sum(0) % 2 * 255
    picture = np.repeat(checkerboard[..., None], 3, axis=-1).astype(np.uint8)
    fitted = Preprocessing(size=(8, 8)).fit(picture)
    assert np.abs(fitted.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_pillow_pictures_of_any_mode_become_rgb(mode):
    fitted = Preprocessing(size=(8, 8)).fit(Image.new("RGB", (16, 16), "white").convert(mode))
    np.testing.assert_array_equal(fitted, np.full((8, 8, 3), 255))


def test_a_call_is_fit_and_normalize(pixels):
    preprocessing = NAMED["torchvision"].replace(size=(4, 4))
    got = preprocessing(pixels[0])
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, preprocessing.normalize(preprocessing.fit(pixels[0]).astype(np.float32)))
