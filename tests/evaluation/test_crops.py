"""Test-time crops: where each view lies, and how probabilities are averaged."""

import re
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_inception.evaluation.crops import CROPS, VIEWS, averaged, check_class_names, view_batches, views
from keras_inception.evaluation.metrics import evaluate_batches
from keras_inception.preprocessing import Preprocessing


def places(height, width):
    """Return an image whose red channel is the column and whose green channel is the row."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, np.full_like(rows, 7)], axis=-1).astype(np.uint8)


def region(view):
    """Return (top, left, mirrored) if a view is a rectangle of `places`, pixel for pixel; otherwise None."""
    height, width, _ = view.shape
    for mirrored, upright in ((False, view), (True, view[:, ::-1])):
        left, top, _ = map(int, upright[0, 0])
        expected = np.zeros_like(upright)
        expected[..., 0] = np.arange(left, left + width)
        expected[..., 1] = np.arange(top, top + height)[:, None]
        expected[..., 2] = 7
        if np.array_equal(upright, expected):
            return top, left, mirrored
    return None


# Images whose squares need no resizing, so that every pixel shows its position: shape of the image, size and crop of
# the network, then the upper left corner and the sides of the center square of 10 crops.
EXACT = {
    "landscape": ((32, 50), (28, 28), 0.875, (0, 9), (32, 32)),
    "portrait": ((50, 32), (28, 28), 0.875, (9, 0), (32, 32)),
    "square": ((32, 32), (28, 28), 0.875, (0, 0), (32, 32)),
    "a crop of 1 means 8/7": ((32, 48), (28, 28), 1.0, (0, 8), (32, 32)),
    "another crop": ((40, 60), (28, 28), 0.7, (0, 10), (40, 40)),
    "a wide network": ((32, 100), (28, 56), 0.875, (0, 18), (32, 64)),
    "a wide network, a tall image": ((90, 64), (28, 56), 0.875, (29, 0), (32, 64)),
    "AlexNet": ((256, 256), (224, 224), 0.875, (0, 0), (256, 256)),
}


@pytest.mark.parametrize("case", EXACT.values(), ids=EXACT)
@pytest.mark.parametrize("crops", [10, 12])
def test_positions_of_10_and_12_crops(case, crops):
    shape, size, crop, (top, left), (height, width) = case
    found = views(places(*shape), Preprocessing(size=size, crop=crop), crops)
    assert found.shape == (crops, *size, 3)
    assert found.dtype == np.uint8
    down, across = height - size[0], width - size[1]
    corners = [(0, 0), (0, across), (down, 0), (down, across), (down // 2, across // 2)]
    half = crops // 2
    for index, (below, beside) in enumerate(corners):
        assert region(found[index]) == (top + below, left + beside, False)
        assert region(found[half + index]) == (top + below, left + beside, True)
    np.testing.assert_array_equal(found[half:], found[:half, :, ::-1])


@pytest.mark.parametrize("case", EXACT.values(), ids=EXACT)
def test_the_sixth_of_12_crops_is_the_whole_square(case):
    shape, size, crop, (top, left), (height, width) = case
    whole = views(places(*shape), Preprocessing(size=size, crop=crop), 12)[5].astype(float)
    rows = top + (np.arange(size[0]) + 0.5) * height / size[0] - 0.5
    columns = left + (np.arange(size[1]) + 0.5) * width / size[1] - 0.5
    assert np.abs(whole[1:-1, 1:-1, 1] - rows[1:-1, None]).max() <= 0.6  # rounded; edges are interpolated from one side
    assert np.abs(whole[1:-1, 1:-1, 0] - columns[None, 1:-1]).max() <= 0.6


def squares_of_144(shape):
    """Return the squares of 1409.4842 for an input of 28 pixels: (scale, place) -> (top, left) in the image."""
    shorter, longer = min(shape), max(shape)
    found = {}
    for scale in (32, 36, 40, 44):
        for place, start in enumerate((0, (longer - shorter) / 2, longer - shorter)):
            found[scale, place] = (0, start) if shape[0] < shape[1] else (start, 0)
    return found


@pytest.mark.parametrize("shape", [(120, 250), (250, 120), (200, 200), (44, 60), (60, 32)])
def test_positions_of_144_crops(shape):
    """Check 4 scales, 3 squares, 6 views and mirror images to a pixel, and exactly where nothing is resized."""
    found = views(places(*shape), Preprocessing(size=(28, 28), crop=0.6), 144)
    assert found.shape == (144, 28, 28, 3)
    np.testing.assert_array_equal(found[72:], found[:72, :, ::-1])
    shorter = min(shape)
    for square, ((scale, _), (top, left)) in enumerate(squares_of_144(shape).items()):
        pixel = shorter / scale  # of the scaled image, in pixels of the image
        free = scale - 28
        for view, (down, across) in enumerate([(0, 0), (0, free), (free, 0), (free, free), (free / 2, free / 2)]):
            crop = found[6 * square + view].astype(float)
            rows = top + (down + np.arange(28) + 0.5) * pixel - 0.5
            columns = left + (across + np.arange(28) + 0.5) * pixel - 0.5
            inner = slice(2, -2)  # edges of the image are interpolated from one side
            assert np.abs(crop[inner, inner, 1] - rows[inner, None]).max() <= 0.6
            assert np.abs(crop[inner, inner, 0] - columns[None, inner]).max() <= 0.6
            if scale == shorter and (top, left) == (int(top), int(left)):
                assert region(found[6 * square + view]) == (top + down, left + across, False)
        whole = found[6 * square + 5].astype(float)
        center = (top + (shorter - 1) / 2, left + (shorter - 1) / 2)
        assert (whole[..., 1].mean(), whole[..., 0].mean()) == pytest.approx(center, abs=0.6)
        assert np.ptp(whole[..., 0]) == pytest.approx(27 * shorter / 28, abs=0.4 * shorter / 28 + 1)


def test_scales_for_googlenet_match_the_paper():
    """At the last scale an image of 352 rows is not resized, and its corner crops are 128 pixels apart."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (352, 400, 3), np.uint8)
    found = views(picture, Preprocessing(size=(224, 224)), 144)
    for place, left in enumerate((0, 24, 48)):
        first = 6 * (9 + place)
        for index, (top, beside) in enumerate([(0, 0), (0, 128), (128, 0), (128, 128), (64, 64)]):
            expected = picture[top : top + 224, left + beside : left + beside + 224]
            np.testing.assert_array_equal(found[first + index], expected)


def test_a_single_crop_is_the_preprocessing():
    picture = places(50, 32)
    for fitting in ("box", "shorter", "stretch"):
        preprocessing = Preprocessing(size=(20, 24), crop=0.9, fitting=fitting, interpolation="nearest")
        np.testing.assert_array_equal(views(picture, preprocessing, 1), preprocessing.fit(picture)[None])


@settings(max_examples=40)
@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40),
    st.sampled_from([0.5, 0.875, 0.99, 1.0]), st.sampled_from(CROPS), st.booleans(),
)  # fmt: skip
def test_images_and_networks_of_any_size(height, width, rows, columns, crop, crops, antialias):
    picture = np.broadcast_to(np.uint8([1, 2, 200]), (height, width, 3))
    found = views(picture, Preprocessing(size=(rows, columns), crop=crop, antialias=antialias), crops)
    np.testing.assert_array_equal(found, np.broadcast_to(np.uint8([1, 2, 200]), (crops, rows, columns, 3)))


def test_a_very_long_image_fits_in_memory():
    ribbon = np.broadcast_to(np.arange(60_000, dtype=np.uint8)[:, None, None], (60_000, 1, 3))
    assert views(ribbon, Preprocessing(size=(32, 32)), 144).shape == (144, 32, 32, 3)


def test_other_numbers_of_crops_are_refused():
    says = re.escape("`crops` must be one of 1, 10, 12, 144. Received: crops=5")
    with pytest.raises(ValueError, match=says):
        views(places(8, 8), Preprocessing(), 5)
    with pytest.raises(ValueError, match=says):
        next(view_batches(Pictures(1), [Preprocessing()], 5))


class Pictures:
    """Examples of many sizes whose color shows their class."""

    def __init__(self, count, bad=None):
        self.labels = (np.arange(count) % 5).astype(np.int32)
        self.bad = bad
        self.reading, self.lock = 0, threading.Lock()

    def __len__(self):
        return len(self.labels)

    def read(self, index):
        with self.lock:
            self.reading += 1
        if index == self.bad:
            raise ValueError("picture.png: not a picture that can be read")
        return np.full((9 + index % 3, 8 + index % 4, 3), 50 * self.labels[index], np.uint8)


class ByColor:
    """A classifier by the color of one corner, which records the sizes of its batches."""

    labels = tuple("abcde")

    def __init__(self, size=(6, 6), sharpness=1.0, crop=0.875):
        self.preprocessing = Preprocessing(size=size, crop=crop)
        self.sharpness = sharpness
        self.asked = []

    def predict(self, pictures):
        assert pictures.shape[1:] == (*self.preprocessing.size, 3)
        self.asked.append(len(pictures))
        distance = np.abs(pictures[:, 0, 0, 0, None] / 50.0 - np.arange(5))
        scores = np.exp(-self.sharpness * distance)
        return scores / scores.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("crops", CROPS)
@pytest.mark.parametrize("count", [1, 7, 60])
def test_every_image_is_seen_once_and_in_order(crops, count):
    pictures, classifier = Pictures(count), ByColor()
    batches = list(view_batches(pictures, [classifier.preprocessing], crops))
    assert np.concatenate([truth for _, truth in batches]).tolist() == pictures.labels.tolist()
    for batch, truth in batches:
        (seen,) = batch.values()
        assert seen.shape == (len(truth), crops, 6, 6, 3)
        assert len(truth) * crops <= max(VIEWS, crops)
        assert (seen == 50 * truth[:, None, None, None, None]).all()
    result = evaluate_batches(averaged([classifier]), batches, classifier.labels)
    assert (result.count, result.top1) == (count, 1.0)
    assert max(classifier.asked) <= VIEWS
    assert sum(classifier.asked) == count * crops


def test_probabilities_are_averaged_over_crops_then_over_networks():
    first, second = ByColor(sharpness=0.3), ByColor(size=(4, 8), sharpness=2.0)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 250, (20, 31, 3), np.uint8)
    pictures = Pictures(1)
    pictures.read = lambda index: picture
    ((batch, _),) = view_batches(pictures, [first.preprocessing, second.preprocessing], 10)
    expected = []
    for classifier in (first, second):
        of_each = [classifier.predict(view[None])[0] for view in views(picture, classifier.preprocessing, 10)]
        expected.append(sum(of_each) / 10)
    (found,) = averaged([first, second])(batch)
    np.testing.assert_allclose(found, (expected[0] + expected[1]) / 2, rtol=1e-12)
    assert np.abs(found - expected[0]).max() > 0.01, "the second network counts too"


def test_networks_with_the_same_preprocessing_share_views():
    classifiers = [ByColor(), ByColor(sharpness=2.0), ByColor(crop=1.0)]
    ((batch, _),) = view_batches(Pictures(2), [each.preprocessing for each in classifiers], 10)
    assert list(batch) == [classifiers[0].preprocessing, classifiers[2].preprocessing]
    assert averaged(classifiers)(batch).shape == (2, 5)


def test_an_unreadable_image_is_named():
    with pytest.raises(ValueError, match=r"picture\.png: not a picture"):
        list(view_batches(Pictures(60, bad=50), [ByColor().preprocessing]))


def test_few_images_are_read_ahead():
    pictures = Pictures(1000)
    batches = view_batches(pictures, [ByColor().preprocessing], 10)
    next(batches)
    batches.close()
    assert pictures.reading <= 2 * VIEWS // 10


@pytest.mark.parametrize(
    ("class_names", "says"),
    [
        (["a", "b", "d"], "Received: run2, which lacks c and which alone has d"),
        (["b", "a", "c"], "Received: run2, which has them in another order"),
        (["a", "b"], "Received: run2, which lacks c"),
        (["a", "b", "c", *"defgh"], "Received: run2, which alone has d, e, f and 2 more"),
    ],
)
def test_networks_with_other_classes_are_not_averaged(class_names, says):
    with pytest.raises(ValueError, match=rf"in the same order as run1\. {re.escape(says)}$"):
        check_class_names(["run1", "run2"], [("a", "b", "c"), class_names])
    check_class_names(["run1", "run2"], [class_names, tuple(class_names)])
