"""Calibration images: folders, .npy files, arrays, datasets and generators of raw pixels."""

import numpy as np
import pytest
from colours import LABELS, SIDE, color_images, save_images

from keras_inception.exporting.calibration import check, open_calibration
from keras_inception.exporting.options import ExportOptions
from keras_inception.exporting.source import open_source
from keras_inception.preprocessing import DEFAULT
from keras_inception.utils.progress import silent

INPUT = DEFAULT.replace(size=(8, 8), crop=0.5)


def images(count=10, size=(8, 8), channels=3):
    return np.random.default_rng(0).integers(0, 256, (count, *size, channels), np.uint8)


def read(given, unused="all", class_names=()):
    """Check and open calibration images, and return them."""
    check(given)
    found, skipped = open_calibration(given, class_names, unused, INPUT)
    assert not skipped
    return np.stack([found.read(index) for index in range(len(found))])


def as_array(tmp_path, values):
    return values


def as_file(tmp_path, values):
    np.save(tmp_path / "images.npy", values)
    return tmp_path / "images.npy"


def as_generator(tmp_path, values):
    return (image for image in values)


def as_pairs(tmp_path, values):
    return ((image, 1) for image in values)


def as_list_of_batches(tmp_path, values):
    return [[values, np.zeros(len(values))]]


def as_dataset(tmp_path, values):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((values, np.zeros(len(values))))


def as_batched_dataset(tmp_path, values):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(values).batch(4)


FORMS = [as_array, as_file, as_generator, as_pairs, as_list_of_batches, as_dataset, as_batched_dataset]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_of_the_inputs_size_are_used_as_they_are(form, dtype, tmp_path):
    values = images()
    np.testing.assert_array_equal(read(form(tmp_path, values.astype(dtype))), values)


def test_images_of_another_size_are_cropped_and_resized_like_those_of_a_folder():
    values = images(size=(20, 30))
    np.testing.assert_array_equal(read(values), np.stack([INPUT.fit(image) for image in values]))


def test_gray_images_become_rgb_and_floats_are_rounded():
    gray = images(channels=1)
    np.testing.assert_array_equal(read(gray), np.repeat(gray, 3, axis=-1))
    np.testing.assert_array_equal(read(gray - np.minimum(gray, 0.4)), np.repeat(gray, 3, axis=-1))


@pytest.mark.parametrize("form", [as_array, as_file, lambda _, values: list(values)])
def test_arrays_that_may_be_sorted_by_class_are_sampled(form, tmp_path):
    values = np.repeat(np.arange(4, dtype=np.uint8), 250)[:, None, None, None] * np.ones((8, 8, 3), np.uint8)
    found = read(form(tmp_path, values), unused=0)[:, 0, 0, 0]
    assert len(found) == 200
    assert np.bincount(found).min() > 30


def test_an_iterable_is_not_read_further_than_needed():
    taken = []

    def endless():
        for image in np.random.default_rng(0).integers(0, 256, (10**6, 1, 1, 3)):
            taken.append(image)
            yield np.broadcast_to(image, (8, 8, 3))

    for unused, count in ((0, 200), (5, 250), (60, 260), ("all", 700)):
        taken.clear()
        assert len(read(endless(), unused)) == len(taken) == count


def test_an_endless_dataset_ends():
    import tensorflow as tf

    assert len(read(tf.data.Dataset.from_tensor_slices(images()).batch(4).repeat(), unused=0)) == 200


SHAPES = r"`calibration` must be images, \(n, height, width, 3\) or \(n, height, width, 1\), of pixels from 0 to 255\. "
NORMALIZED = "; these look like normalized values"


@pytest.mark.parametrize("form", [as_array, as_file, as_generator])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (images() / 255, rf"must be raw pixels from 0 to 255, before preprocessing\. Received: 0 to 1.*{NORMALIZED}"),
        (images() / 127.5 - 1, rf"must be raw pixels.* Received: -[01].* to .*{NORMALIZED}"),
        (images() * np.float32(2), r"must be raw pixels.* Received: 0 to [45]\d\d"),
        (np.full((2, 8, 8, 3), np.nan), r"must be raw pixels.* Received: nan"),
        (images(channels=4), SHAPES + r"Received: uint8 \(\d+, 8, 8, 4\)"),
        (images(channels=3).astype(bool), SHAPES + r"Received: (bool \(10, 8, 8, 3\)|an item of type ndarray)"),
        (images(size=(0, 8)), r"must have at least one image\. Received: shape \(\d+, 0, 8, 3\)"),
    ],
)
def test_other_values_are_refused(form, values, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read(form(tmp_path, values))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (images()[..., 0], SHAPES + r"Received: uint8 \(10, 8, 8\) \(give gray images a last axis of 1\)"),
        (images(0), "must have at least one image"),
        ([], r"must have at least one image\. Received: none"),
        (iter(()), r"must have at least one image\. Received: none"),
        (["cat.png"], SHAPES + "Received: an item of type str"),
        ([{"image": images()}], SHAPES + "Received: an item of type dict"),
        ([[[1, 2], [3]]], SHAPES + r"Received: int64 \(2,\)"),
        ([[[[1, 2], [3]], 0]], SHAPES + "Received: an item of type list"),
        (3, r"`calibration` must be a folder of images, or an \.npy file, an array, .*\. Received: int"),
        (b"folder", r"`calibration` must be a folder of images, or .*\. Received: bytes"),
    ],
)
def test_what_is_no_image_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        read(given)


def test_files_that_are_no_images_are_named_before_they_are_read(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "archive.npz", images())
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    (tmp_path / "text.npy").write_text("text")
    (tmp_path / "empty.npy").touch()
    content = (as_file(tmp_path, images())).read_bytes()
    (tmp_path / "cut.npy").write_bytes(content[:-1])
    for name in ("objects", "archive", "text", "empty", "cut"):
        path = tmp_path / f"{name}.npy"
        with pytest.raises(ValueError, match=rf"must be a folder .*\. Received: .*{name}\.npy, which is neither"):
            check(path)
    with pytest.raises(ValueError, match=r"nowhere\.npy, which does not exist"):
        check(tmp_path / "nowhere.npy")
    np.save(tmp_path / "wrong.npy", images(channels=2))
    with pytest.raises(ValueError, match=SHAPES + r"Received: uint8 \(10, 8, 8, 2\) in .*wrong\.npy"):
        check(tmp_path / "wrong.npy")


def test_a_folder_of_one_class_is_refused_and_a_file_beside_it_is_not(tmp_path):
    save_images(tmp_path, 2, seed=8)
    with pytest.raises(ValueError, match="must have images of all classes"):
        read(tmp_path / LABELS[0], class_names=LABELS)
    np.save(tmp_path / LABELS[0] / "images.npy", images())
    assert len(read(tmp_path / LABELS[0] / "images.npy", class_names=LABELS)) == 10


@pytest.mark.parametrize("form", [as_array, as_generator])
def test_images_that_are_not_used_to_calibrate_verify_the_files(tiny_model, pictures, form):
    def opened(**arguments):
        values = form(None, color_images(80, seed=4)[0])
        return open_source(
            tiny_model, ExportOptions(preprocessing="unit", calibration=values, **arguments), lambda line: None, silent
        )

    found = opened()
    assert found.calibration.shape == (192, SIDE, SIDE, 3)
    assert found.test.shape == (48, SIDE, SIDE, 3)
    assert found.test_labels is None
    assert not {image.tobytes() for image in found.calibration} & {image.tobytes() for image in found.test}
    found = opened(verify_pictures=5)
    assert (len(found.calibration), len(found.test)) == (192, 5)
    found = opened(labels=LABELS, test=pictures / "test")
    assert (len(found.calibration), len(found.test)) == (200, 90)
