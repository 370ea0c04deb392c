import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from images import waves
from PIL import Image
from resizes import RESIZES

from keras_inception import Preprocessing
from keras_inception.preprocessing import NAMED, PADDING

GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(GOLDEN))
from draw import draw_input  # noqa: E402

sides = st.integers(1, 600)
figures = st.floats(-1e6, 1e6)
scales = st.floats(1e-3, 1e6)
preprocessings = st.builds(
    lambda resize, crop, **fields: Preprocessing(crop=1.0 if resize["fitting"] == "pad" else crop, **fields, **resize),
    resize=st.sampled_from(RESIZES),
    size=st.tuples(sides, sides),
    mean=st.tuples(figures, figures, figures),
    std=st.tuples(scales, scales, scales),
    channels=st.sampled_from(["RGB", "BGR"]),
    crop=st.floats(0.1, 1.0),
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
        ("channels", "GRB", r"`channels` must be one of 'RGB', 'BGR', 'gray'\. .* Received: channels='GRB'"),
        ("crop", 0, r"`crop` must be in \(0, 1\]\. Received: crop=0"),
        ("crop", 1.1, r"`crop` must be in \(0, 1\]"),
        ("crop", "all", r"`crop` must be in \(0, 1\]"),
        ("interpolation", "area", r"`interpolation` must be one of 'nearest', .* Received: interpolation='area'"),
        (
            "fitting",
            "shortest",
            r"`fitting` must be one of 'box', .* Did you mean shorter\? Received: fitting='shortest'",
        ),
        ("fitting", ["box"], r"`fitting` must be one of 'box', 'shorter', 'stretch', 'central_crop', 'pad'\."),
        ("fitting", "central_crop", r"'central_crop' requires .* antialias=False\. Received: bilinear, antialias=True"),
        ("antialias", 0, r"`antialias` must be True or False\. Received: antialias=0"),
    ],
)
def test_a_bad_field_is_named(field, value, match):
    with pytest.raises(ValueError, match=match):
        Preprocessing(**{field: value})
    with pytest.raises(ValueError, match=f"`{field}`"):
        Preprocessing.from_json(json.dumps({field: value}))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"inception"', '{"mean_rgb": [0, 0, 0]}', '{"size": {}}'])
def test_other_json_is_refused(text):
    with pytest.raises(ValueError, match=r"preprocessing must be a JSON object|`size` must be"):
        Preprocessing.from_json(text)


@pytest.mark.parametrize("fitting", ["shorter", "stretch"])
def test_a_resize_that_would_exhaust_memory_is_refused(fitting):
    with pytest.raises(
        ValueError, match=rf"`crop` must be in \[0\.1, 1\] for fitting '{fitting}'\. Received: crop=1e-06"
    ):
        Preprocessing(fitting=fitting, crop=1e-6)


@pytest.mark.parametrize("resize", [resize for resize in RESIZES if resize["fitting"] in ("shorter", "stretch")])
def test_a_large_intermediate_image_is_cropped_before_it_is_resized(resize, monkeypatch):
    rows, columns = np.mgrid[:60, :70]
    picture = np.stack([rows * 4, columns * 3, rows + columns], axis=-1).astype(np.uint8)  # smooth
    preprocessing = Preprocessing(size=(16, 20), crop=0.3, **resize)
    whole = preprocessing.fit(picture)
    monkeypatch.setattr("keras_inception.preprocessing.LARGEST", 0)
    difference = np.abs(preprocessing.fit(picture).astype(int) - whole)
    assert difference.max() <= (4 if resize["interpolation"] == "nearest" else 1)


def test_a_very_long_image_takes_no_more_memory():
    ribbon = np.repeat(np.arange(90_000)[:, None, None] % 251, 3, axis=-1).astype(np.uint8)
    fitted = Preprocessing(size=(64, 64), crop=0.875, fitting="shorter").fit(ribbon)
    assert set(np.unique(fitted)) <= {45_000 % 251 - 1, 45_000 % 251, 45_000 % 251 + 1}


def test_bicubic_without_antialiasing_is_refused():
    with pytest.raises(ValueError, match=r"`antialias` must be True for bicubic interpolation\. Received: False"):
        Preprocessing(interpolation="bicubic", antialias=False)


def test_json_from_before_there_were_fittings_keeps_its_meaning():
    text = (
        '{"size": [299, 299], "mean": [127.5, 127.5, 127.5], "std": [127.5, 127.5, 127.5], '
        '"channels": "RGB", "crop": 0.875, "interpolation": "bilinear"}'
    )
    old = Preprocessing.from_json(text)
    assert old == Preprocessing(size=(299, 299), crop=0.875, fitting="box", antialias=True)


def test_the_old_name_of_a_fitting_warns_and_is_read_from_files():
    new = NAMED["inception"]
    old = new.to_json().replace("central_crop", "slim")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Preprocessing.from_json(old) == new
    with pytest.warns(DeprecationWarning, match="'slim' is now called 'central_crop'"):
        assert new.replace(fitting="slim") == new
    with pytest.warns(DeprecationWarning, match="'slim' is now called 'central_crop'") as warned:
        assert Preprocessing(crop=0.875, fitting="slim", antialias=False) == new
    assert warned[0].filename == __file__


def test_an_unknown_name_is_refused_and_the_known_ones_are_listed():
    known = "inception, unit, raw, zero_to_one, torchvision, torchvision_unit, keras, keras_caffe, caffe"
    match = rf"`preprocessing` must be one of {known}, or a JSON file\. Received: 'vgg'"
    with pytest.raises(ValueError, match=match):
        Preprocessing.named("vgg")


def test_a_file_without_a_preprocessing_is_named(tmp_path):
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
    """Return pixels normalized like torchvision's `ToTensor` and `Normalize`."""
    return (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


def torchvision_transform_input(pixels):
    """Return ImageNet's normalization as torchvision's GoogLeNet converts it with `transform_input`."""
    return imagenet(pixels) * (np.array([0.229, 0.224, 0.225]) / 0.5) + (np.array([0.485, 0.456, 0.406]) - 0.5) / 0.5


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("torchvision", imagenet),
        ("torchvision_unit", torchvision_transform_input),
        ("inception", lambda pixels: pixels / 127.5 - 1),
        ("keras", lambda pixels: pixels / 127.5 - 1),
        ("keras_caffe", lambda pixels: pixels[..., ::-1] - np.array([103.939, 116.779, 123.68])),
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

    for preprocessing in (*NAMED.values(), Preprocessing(channels="gray")):
        for kind in (tf.float32, tf.uint8, tf.int32, tf.int64, tf.float64):
            got = preprocessing.normalize(tf.cast(pixels, kind))
            assert got.dtype == tf.float32
            np.testing.assert_allclose(got, preprocessing.normalize(pixels), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("kind", ["uint8", "int64", "float64", "float16"])
def test_arrays_of_any_numbers_become_float32(pixels, kind):
    got = NAMED["caffe"].normalize(pixels.astype(kind))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, NAMED["caffe"].normalize(pixels), atol=1e-4)


def test_without_normalization_pixels_are_unchanged(pixels):
    raw = NAMED["caffe"].without_normalization()
    np.testing.assert_array_equal(raw.normalize(pixels), pixels)
    assert (raw.size, raw.crop) == (NAMED["caffe"].size, NAMED["caffe"].crop)


@given(preprocessings, sides, sides)
@settings(max_examples=60)
def test_an_image_of_any_size_fits(preprocessing, height, width):
    color = (PADDING,) * 3 if preprocessing.fitting == "pad" else (10, 20, 30)
    fitted = preprocessing.fit(Image.new("RGB", (width, height), color))
    assert fitted.dtype == np.uint8
    assert fitted.shape == (*preprocessing.size, 3)
    np.testing.assert_array_equal(fitted, np.broadcast_to(np.uint8(color), fitted.shape))


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [(40, 80, slice(2, 6), slice(0, 8)), (80, 40, slice(0, 8), slice(2, 6)), (1000, 1, slice(0, 8), slice(4, 5))],
)
def test_padding_keeps_the_whole_image_in_the_middle(height, width, rows, columns):
    fitted = Preprocessing(size=(8, 8), fitting="pad").fit(np.full((height, width, 3), 200, np.uint8))
    expected = np.full((8, 8, 3), PADDING)
    expected[rows, columns] = 200
    np.testing.assert_array_equal(fitted, expected)


def test_padding_crops_nothing():
    with pytest.raises(
        ValueError, match=r"`crop` must be 1 for fitting 'pad', which cuts nothing off\. Received: crop=0\.9"
    ):
        Preprocessing(fitting="pad", crop=0.9)


def test_an_image_of_the_networks_size_is_unchanged(pixels):
    for resize in RESIZES:
        np.testing.assert_array_equal(Preprocessing(size=(5, 4), **resize).fit(pixels[0]), pixels[0])


def coordinates(height, width):
    """Return an image whose red is the row and whose green is the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("picture", "size", "crop", "rows", "columns"),
    [
        ((200, 100), (100, 100), 1.0, (50, 149), (0, 99)),  # the center of a tall image
        ((100, 200), (100, 100), 1.0, (0, 99), (50, 149)),  # the center of a wide image
        ((200, 200), (100, 100), 0.5, (50, 149), (50, 149)),  # torchvision's center crop
        ((100, 200), (50, 25), 0.5, (25, 73), (88, 111)),  # half of a tall rectangle in a wide image
        ((120, 240), (60, 120), 1.0, (0, 118), (0, 238)),  # the whole image, shrunk
    ],
)
def test_the_center_is_cropped_to_the_aspect_ratio_of_the_input(picture, size, crop, rows, columns):
    preprocessing = Preprocessing(size=size, crop=crop, interpolation="nearest")
    fitted = preprocessing.fit(coordinates(*picture)).astype(int)
    for channel, (first, last) in enumerate((rows, columns)):
        assert fitted[..., channel].min() == pytest.approx(first, abs=1)
        assert fitted[..., channel].max() == pytest.approx(last, abs=1)


def test_shrinking_averages_all_pixels():
    checkerboard = np.indices((64, 64)).sum(0) % 2 * 255
    picture = np.repeat(checkerboard[..., None], 3, axis=-1).astype(np.uint8)
    fitted = Preprocessing(size=(8, 8)).fit(picture)
    assert np.abs(fitted.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_pillow_images_of_any_mode_become_rgb(mode):
    fitted = Preprocessing(size=(8, 8)).fit(Image.new("RGB", (16, 16), "white").convert(mode))
    np.testing.assert_array_equal(fitted, np.full((8, 8, 3), 255))


def test_a_call_is_fit_and_normalize(pixels):
    preprocessing = NAMED["torchvision"].replace(size=(4, 4))
    got = preprocessing(pixels[0])
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, preprocessing.normalize(preprocessing.fit(pixels[0]).astype(np.float32)))


# (height, width): landscape, portrait, square, smaller than any input, very wide, already resized.
ODD_SIZES = [(375, 500), (501, 333), (77, 77), (19, 31), (40, 399), (256, 341)]


@pytest.mark.parametrize("shape", ODD_SIZES)
@pytest.mark.parametrize(
    ("name", "fields", "shorter_side", "side"),
    [
        ("torchvision", {}, 256, 224),
        ("torchvision_unit", {"size": (299, 299), "crop": 299 / 342}, 342, 299),
        ("torchvision_unit", {"size": (299, 299), "crop": 299 / 341, "interpolation": "bicubic"}, 341, 299),
        ("torchvision_unit", {"size": (96, 96), "crop": 1.0, "interpolation": "nearest"}, 96, 96),
    ],
)
def test_shorter_is_torchvisions_resize_and_center_crop(shape, name, fields, shorter_side, side):
    """Compare with torchvision's two steps, reimplemented here. `test_torchvisions_own_transforms` uses its pixels."""
    preprocessing = NAMED[name].replace(**fields)
    image = Image.fromarray(waves(*shape))
    longer = int(shorter_side * max(shape) / min(shape))
    resized_size = (shorter_side, longer) if image.width <= image.height else (longer, shorter_side)
    resized = image.resize(resized_size, Image.Resampling[preprocessing.interpolation.upper()])
    left, upper = (round((length - side) / 2) for length in resized.size)
    expected = resized.crop((left, upper, left + side, upper + side))
    np.testing.assert_array_equal(preprocessing.fit(image), np.asarray(expected))


def test_torchvisions_own_transforms():
    """Compare with pixels that torchvision itself returned (golden/make_transforms.py)."""
    golden = json.loads((GOLDEN / "tv_transforms.json").read_text())
    step = golden["step"]
    for case in golden["cases"]:
        pixels = np.rint(draw_input(case["height"], case["width"], case["seed"])[0] * 255).astype(np.uint8)
        preprocessing = NAMED["torchvision"].replace(
            size=(case["crop_size"],) * 2,
            crop=case["crop_size"] / case["resize_size"],
            interpolation=case["interpolation"],
        )
        fitted = preprocessing.fit(pixels)[::step, ::step]
        np.testing.assert_array_equal(fitted.ravel(), case["pixels"])
        np.testing.assert_allclose(preprocessing.normalize(fitted).ravel(), case["normalised"], atol=2e-6)


@pytest.mark.parametrize("shape", ODD_SIZES)
def test_shorter_covers_an_input_that_is_not_square(shape):
    """The image fills the whole input and keeps its aspect ratio."""
    height, width = shape
    places = np.mgrid[:height, :width] * (255 / np.array([height, width]).reshape(2, 1, 1))
    smooth = np.stack([*places, places[0]], axis=-1).astype(np.uint8)
    fitted = Preprocessing(size=(48, 80), crop=0.8, fitting="shorter").fit(smooth).astype(float)
    scale = min(height / 60, width / 100)  # original pixels per resized pixel
    for channel, side, resized in ((0, height, 48), (1, width, 80)):
        shown = np.ptp(fitted[..., channel]) / 255 * side
        assert shown == pytest.approx((resized - 1) * scale, abs=0.03 * side + 2 * scale)


@pytest.mark.parametrize("shape", ODD_SIZES)
@pytest.mark.parametrize(("name", "size"), [("keras", (299, 299)), ("keras_caffe", (224, 224))])
def test_stretch_is_keras_load_img(shape, name, size, tmp_path):
    import keras

    Image.fromarray(waves(*shape)).save(tmp_path / "picture.png")
    expected = keras.utils.img_to_array(keras.utils.load_img(tmp_path / "picture.png", target_size=size))
    np.testing.assert_array_equal(Preprocessing.named(name, size).fit(waves(*shape)), expected)


@pytest.mark.parametrize("shape", ODD_SIZES)
@pytest.mark.parametrize("size", [(224, 224), (299, 299), (96, 128)])
def test_central_crop_is_tensorflows(shape, size):
    """Compare with TF-slim's inception_preprocessing, except that we round to 256 levels."""
    import tensorflow as tf

    image = tf.image.convert_image_dtype(waves(*shape), tf.float32)
    image = tf.image.central_crop(image, central_fraction=0.875)
    resized = tf.compat.v1.image.resize_bilinear(image[None], size, align_corners=False)[0]
    difference = Preprocessing.named("inception", size).fit(waves(*shape)) - 255 * resized.numpy()
    assert np.abs(difference).max() < 0.505


@pytest.mark.parametrize("shape", ODD_SIZES)
def test_caffe_stretches_without_antialiasing_and_crops(shape):
    """Use TensorFlow 2's bilinear resize, which equals OpenCV's: to 256×256, then a center crop."""
    import tensorflow as tf

    resized = tf.image.resize(waves(*shape).astype(np.float32), (256, 256), antialias=False).numpy()
    difference = NAMED["caffe"].fit(waves(*shape)) - resized[16:-16, 16:-16]
    assert np.abs(difference).max() < 0.51


@pytest.mark.parametrize(("crop", "shape"), [(0.875, (375, 500)), (1.0, (501, 333)), (0.3, (77, 77))])
def test_a_box_without_antialiasing_samples_the_four_nearest_pixels(crop, shape):
    height, width = shape
    ramp = np.stack([*np.mgrid[:height, :width] / 3, np.zeros(shape)], axis=-1)
    fitted = Preprocessing(size=(20, 30), crop=crop, antialias=False).fit(ramp.astype(np.uint8))
    scale = crop * min(height / 20, width / 30)
    rows = (height - 20 * scale) / 2 + (np.arange(20) + 0.5) * scale - 0.5
    columns = (width - 30 * scale) / 2 + (np.arange(30) + 0.5) * scale - 0.5
    assert np.abs(fitted[:, 0, 0] - rows / 3).max() < 1.2  # `astype` rounds the ramp down
    assert np.abs(fitted[0, :, 1] - columns / 3).max() < 1.2


def test_the_default_has_not_changed():
    """Runs older than the `fitting` field used Pillow's resize with a fractional box."""
    for shape in ODD_SIZES:
        image = Image.fromarray(waves(*shape))
        scale = 0.875 * min(image.width / 96, image.height / 64)
        left, upper = (image.width - 96 * scale) / 2, (image.height - 64 * scale) / 2
        box = (left, upper, image.width - left, image.height - upper)
        expected = np.asarray(image.resize((96, 64), Image.Resampling.BILINEAR, box=box))
        np.testing.assert_array_equal(Preprocessing(size=(64, 96), crop=0.875).fit(image), expected)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("unit", "the central 1 of the largest centered rectangle of the input's aspect ratio"),
        ("torchvision", "resized to just cover 256×256, keeping the aspect ratio"),
        ("keras", "resized to 224×224 whatever the aspect ratio, then center-cropped to the input; nearest"),
        ("inception", "the central 0.875 of each side, resized to the input whatever the aspect ratio; bilinear"),
    ],
)
def test_it_describes_itself_in_words(name, says):
    assert NAMED[name].describe().startswith(says)
    assert NAMED[name].describe().endswith(", antialiased" if NAMED[name].antialias else ", not antialiased")
