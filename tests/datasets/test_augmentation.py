import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from images import noise

from keras_inception.datasets import Augmentation, augmenting
from keras_inception.datasets.augmenting import DISTORTIONS, apply_to_batch, batch_stages
from keras_inception.preprocessing import Preprocessing

CROP_ONLY = {"flip": False, "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
UNTOUCHED = {"area": (1, 1), "aspect": (1, 1), **CROP_ONLY}


def smooth(height, width):
    """Return an image whose red increases to the right and green downward; blue is constant."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / (width - 1), 255 * y / (height - 1), np.full_like(x, 99)], -1).round().astype(np.uint8)


def augment(augmentation, image, seed=0, size=(16, 16), preprocessing=None):
    preprocessing = preprocessing or Preprocessing(size=size)
    begin, extent = augmenting.box(augmentation, tf.shape(image), (seed, 1), preprocessing)
    return augmenting.apply(augmentation, tf.slice(image, begin, extent), (seed, 1), size).numpy()


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("area", (0, 1), "0 < low <= high <= 1"),
        ("area", (0.5, 1.1), "0 < low <= high <= 1"),
        ("area", (0.9, 0.5), "low <= high"),
        ("area", 0.5, "two numbers"),
        ("area", (0.1, 0.2, 0.3), "two numbers"),
        ("area", ("a", "b"), "two numbers"),
        ("aspect", (0, 1), "0 < low <= high"),
        ("aspect", (1, float("inf")), "two numbers"),
        ("flip", 1, "True or False"),
        ("brightness", -0.1, r"\[0, 1\]"),
        ("brightness", True, r"\[0, 1\]"),
        ("contrast", 1.5, r"\[0, 1\]"),
        ("saturation", float("nan"), r"\[0, 1\]"),
        ("hue", 0.6, r"\[0, 0.5\]"),
        ("hue", "much", r"\[0, 0.5\]"),
        ("scale", (0.5, 2), "at least 1"),
        ("scale", 2, "two numbers"),
        ("erase", 2, r"\[0, 1\]"),
        ("mixup", -1, r"\[0, 10\]"),
    ],
)
def test_fields_out_of_range_are_refused(field, value, allowed):
    with pytest.raises(ValueError, match=rf"`{field}` must be .*{allowed}.* Received: {field}="):
        Augmentation(**{field: value})


def test_it_can_be_stored_as_json():
    augmentation = Augmentation(area=(0.5, 0.75), aspect=(1, 2), flip=False, hue=0.1)
    assert Augmentation.from_dict(json.loads(json.dumps(augmentation.to_dict()))) == augmentation
    assert Augmentation.from_dict({}) == Augmentation()


@pytest.mark.parametrize("values", [{"rotation": 3}, ["area"], None])
def test_other_values_are_refused(values):
    with pytest.raises(
        ValueError, match="`augmentation` must have the fields area, aspect, scale, interpolation, flip"
    ):
        Augmentation.from_dict(values)


@pytest.mark.parametrize("shape", [(16, 16), (40, 30), (45, 165), (1, 1)])
@pytest.mark.parametrize("crop", [1.0, 0.5])
def test_none_fits_as_the_preprocessing(shape, crop):
    preprocessing = Preprocessing(size=(16, 12), crop=crop)
    image = smooth(*shape) if min(shape) > 1 else noise(*shape)
    fitted = augment(Augmentation.none(), image, size=(16, 12), preprocessing=preprocessing)
    # The crop is rounded to whole pixels here, so it may be off by one.
    np.testing.assert_allclose(fitted, preprocessing.fit(image).astype(np.float32), atol=1 + 255 / min(shape))


def test_none_does_not_change_an_image_of_the_right_size():
    np.testing.assert_allclose(augment(Augmentation.none(), noise(16, 16)), noise(16, 16), atol=1e-3)


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**62))
def test_an_image_of_any_size_gets_the_size_and_range(height, width, seed):
    augmented = augment(Augmentation(), noise(height, width), seed, size=(12, 20))
    assert augmented.shape == (12, 20, 3)
    assert augmented.dtype == np.float32
    assert augmented.min() >= 0
    assert augmented.max() <= 255


def test_the_result_depends_on_the_seed():
    image = noise(30, 30)
    np.testing.assert_array_equal(augment(Augmentation(), image, 5), augment(Augmentation(), image, 5))
    assert np.abs(augment(Augmentation(), image, 5) - augment(Augmentation(), image, 6)).max() > 10


def test_crops_stay_within_area_and_aspect():
    """Measure on an image whose red and green encode the position."""
    augmentation = Augmentation(area=(0.25, 0.5), aspect=(0.5, 2.0), **CROP_ONLY)
    spans = []
    for seed in range(60):
        crop = augment(augmentation, smooth(256, 256), seed, size=(32, 64))
        spans.append((np.ptp(crop[..., 0]), np.ptp(crop[..., 1])))
    # The centers of the outermost output pixels are half a pixel inside the crop.
    widths, heights = np.array(spans).T * [[64 / 63], [32 / 31]]
    areas, aspects = widths * heights / 255**2, widths / heights / (64 / 32)
    assert 0.24 < areas.min() < 0.3
    assert 0.45 < areas.max() < 0.51
    assert 0.48 < aspects.min() < 0.8
    assert 1.2 < aspects.max() < 2.05


def test_half_of_the_images_are_mirrored():
    augmentation = Augmentation(**{**UNTOUCHED, "flip": True})
    image = smooth(16, 16)
    mirrored = [augment(augmentation, image, seed)[0, 0, 0] > 128 for seed in range(60)]
    assert 15 < sum(mirrored) < 45


@pytest.mark.parametrize("field", ["brightness", "contrast", "saturation", "hue"])
def test_colors_change_within_bounds(field):
    augmentation = Augmentation(**{**UNTOUCHED, field: 0.2})
    image = np.full((16, 16, 3), (100, 120, 160), np.uint8)
    image[:8] = (110, 130, 100)
    changed = np.stack([augment(augmentation, image, seed) for seed in range(60)])
    change = changed - image
    assert np.ptp(changed, axis=0).max() > 10
    mean = image.mean((0, 1))
    if field == "brightness":
        assert np.abs(change).max() <= 0.2 * 255 + 0.01
        assert np.ptp(change, axis=(1, 2, 3)).max() < 0.01
    elif field == "contrast":
        assert (np.abs(change) <= 0.2 * np.abs(image - mean) + 0.01).all()
    elif field == "saturation":
        np.testing.assert_allclose(changed.max(-1), np.broadcast_to(image.max(-1), changed.shape[:3]), atol=0.01)
        gray = image.max(-1, keepdims=True).astype(float) - image
        assert (np.abs(change) <= 0.2 * gray + 0.01).all()
    else:
        np.testing.assert_allclose(changed.max(-1), np.broadcast_to(image.max(-1), changed.shape[:3]), atol=0.01)
        np.testing.assert_allclose(changed.min(-1), np.broadcast_to(image.min(-1), changed.shape[:3]), atol=0.01)


@settings(max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40))
def test_the_antialiased_resize_is_tensorflows(height, width, new_height, new_width):
    image = noise(height, width).astype(np.float32)
    ours = augmenting._resize_antialiased(tf.constant(image), tf.constant([new_height, new_width]))
    np.testing.assert_array_equal(ours, tf.image.resize(image, (new_height, new_width), antialias=True))


def test_shrinking_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = 255
    shrunk = augment(Augmentation.none(), stripes, size=(8, 8))
    np.testing.assert_allclose(shrunk[:, 1:-1], 255 / 4, atol=3)


@pytest.mark.parametrize(("field", "value"), [("interpolation", "lanczos"), ("distortions", 10), ("distortions", True)])
def test_other_fields_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=rf"`{field}` must be .* Received: .*{value!r}"):
        Augmentation(**{field: value})


@settings(max_examples=30)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    low=st.floats(1, 3),
    spread=st.floats(0, 2),
    seed=st.integers(0, 2**31),
)
def test_a_scaled_crop_is_inside_the_image_and_has_its_size(height, width, low, spread, seed):
    preprocessing = Preprocessing(size=(16, 24))
    augmentation = Augmentation(scale=(low, low + spread))
    begin, extent = augmenting.box(augmentation, tf.constant([height, width, 3]), (seed, 1), preprocessing)
    (top, left, _), (rows, columns, _) = begin.numpy().tolist(), extent.numpy().tolist()
    assert 0 <= top <= top + rows <= height
    assert 0 <= left <= left + columns <= width
    side = min(height / 16, width / 24)
    assert 16 * side / (low + spread) - 1 <= rows <= max(1, 16 * side / low + 1)
    assert 24 * side / (low + spread) - 1 <= columns <= max(1, 24 * side / low + 1)


def test_a_fixed_scale_crops_anywhere():
    image = smooth(64, 64)
    augmentation = Augmentation(scale=(2, 2), **CROP_ONLY)
    corners = [augment(augmentation, image, seed)[0, 0, :2] / 255 for seed in range(60)]
    assert np.min(corners) < 0.05
    assert 0.45 < np.max(corners) < 0.55


def test_mixed_interpolation_is_one_of_four():
    image = noise(40, 40)
    options = {"area": (1, 1), "aspect": (1, 1), **CROP_ONLY}
    results = {augment(Augmentation(interpolation="mixed", **options), image, seed).tobytes() for seed in range(30)}
    assert len(results) == 4
    nearest = tf.image.resize(image, (16, 16), "nearest")
    assert tf.cast(nearest, tf.float32).numpy().tobytes() in results


def test_lighting_is_the_same_for_all_pixels():
    image = np.full((20, 20, 3), 128, np.uint8)
    lit = [augment(Augmentation(lighting=0.1, **UNTOUCHED), image, seed) for seed in range(40)]
    assert all(np.ptp(each, axis=(0, 1)).max() < 1e-3 for each in lit)
    shifts = np.stack([each[0, 0] - 128 for each in lit]) / 255
    assert 0.005 < shifts.std() < 0.03, "0.1 × 0.2175 along the first axis, times 0.57 for each color"


def changed(stages, images, labels, seed):
    x, y = apply_to_batch(stages, tf.constant(images), tf.constant(labels), tf.constant([3, seed], tf.int64))
    return x.numpy(), y.numpy()


@pytest.fixture(scope="module")
def batch():
    images = np.stack([noise(24, 24, seed) for seed in range(8)]).astype(np.float32)
    return images, np.eye(8, dtype=np.float32)


@pytest.mark.parametrize(
    "fields",
    [{"erase": 0.5}, {"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}, {"distortions": 1}, {}],
    ids=str,
)
def test_changes_to_batches_depend_on_the_seed_alone(fields, batch):
    stages = batch_stages(Augmentation(**fields))
    one, other = changed(stages, *batch, seed=1), changed(stages, *batch, seed=2)
    for first, second in zip(one, changed(stages, *batch, seed=1), strict=True):
        np.testing.assert_array_equal(first, second)
    assert np.array_equal(one[0], other[0]) is (not fields)
    np.testing.assert_allclose(one[1].sum(axis=1), 1, rtol=1e-5)


def test_erasing_removes_a_part_of_some_images(batch):
    images, labels = batch
    stages = batch_stages(Augmentation(erase=0.5))
    share = np.stack([np.any(changed(stages, images, labels, seed)[0] != images, axis=-1) for seed in range(20)])
    touched = share.mean(axis=(2, 3))
    assert 0.3 < (touched > 0).mean() < 0.7
    assert touched[touched > 0].min() > 0.01
    assert touched.max() < 0.4
    np.testing.assert_array_equal(changed(stages, images, labels, 0)[1], labels)


def test_labels_are_mixed_as_the_images(batch):
    images, labels = batch
    mixed, weights = changed(batch_stages(Augmentation(mixup=1.0)), images, labels, seed=5)
    expected = np.einsum("ij,jhwc->ihwc", weights, images)
    np.testing.assert_allclose(mixed, expected, atol=0.05)
    assert np.count_nonzero(weights > 0.01) > 8


def test_cutmix_labels_are_shares_of_the_area(batch):
    images, labels = batch
    mixed, weights = changed(batch_stages(Augmentation(cutmix=1.0)), images, labels, seed=5)
    own = np.mean(np.all(np.abs(mixed - images) < 1e-3, axis=-1), axis=(1, 2))
    np.testing.assert_allclose(np.diagonal(weights), own, atol=0.1)


@pytest.mark.parametrize("name", [name for name, _ in DISTORTIONS])
def test_distorted_images_stay_in_range(name, batch, monkeypatch):
    monkeypatch.setattr(augmenting, "DISTORTIONS", [each for each in DISTORTIONS if each[0] == name])
    images, labels = batch
    distorted, kept = changed(batch_stages(Augmentation(distortions=1)), images, labels, seed=1)
    assert distorted.shape == images.shape
    assert not np.array_equal(distorted, images)
    assert distorted.min() >= -1
    assert distorted.max() <= 256
    np.testing.assert_array_equal(kept, labels)
