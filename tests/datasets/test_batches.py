import numpy as np
import pytest
import tensorflow as tf
from images import photograph
from PIL import Image

from keras_inception.datasets import (
    Augmentation,
    Files,
    evaluation_batches,
    open_folder,
    steps_per_epoch,
    training_batches,
)
from keras_inception.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(size=(16, 24), mean=(100, 110, 120), std=(50, 60, 70), channels="BGR")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Eleven images of two classes, two of which only Pillow reads; one has a name that is not UTF-8."""
    root = tmp_path_factory.mktemp("pictures")
    for label in ("a", "é"):
        (root / label).mkdir()
        for number in range(4):
            photograph(number, width=40 + 9 * number).save(root / label / f"{number}.jpg")
    photograph(4).save(root / "a" / "4.png")
    photograph(5).convert("CMYK").save(root / "a" / "5.jpg")
    photograph(6).quantize(16).save(root / "a" / "\udcff.gif")
    pictures = open_folder(root, validation=0).train
    assert pictures.plain.tolist().count(False) == 2
    return pictures


def files(base, *keys, plain):
    return Files(
        labels=np.arange(len(keys), dtype=np.int32),
        keys=np.array(keys, object),
        base=str(base),
        plain=np.full(len(keys), plain),
    )


def batches(pictures, first_epoch=0, epochs=3, **options):
    options = {"batch_size": 4, "seed": 7, "augmentation": Augmentation()} | options
    dataset = training_batches(pictures, PREPROCESSING, first_epoch=first_epoch, epochs=epochs, **options)
    return [(x.numpy(), y.numpy()) for x, y in dataset]


def assert_same(some, others):
    assert len(some) == len(others)
    for (x, y), (other_x, other_y) in zip(some, others, strict=True):
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(y, other_y)


def which(pictures, batch):
    """Return the indices in `pictures` of the images in an unaugmented batch."""
    fitted = np.stack([PREPROCESSING(pictures.read(index)) for index in range(len(pictures))])
    return [int(np.abs(fitted - x).mean((1, 2, 3)).argmin()) for x in batch]


def test_shapes_and_types(pictures):
    dataset = training_batches(
        pictures, PREPROCESSING, batch_size=4, seed=0, first_epoch=1, epochs=3, augmentation=Augmentation()
    )
    assert dataset.element_spec == (tf.TensorSpec((4, 16, 24, 3), tf.float32), tf.TensorSpec((4,), tf.int32))
    assert len(dataset) == 2 * steps_per_epoch(pictures, 4) == 4


def test_batches_are_the_same_every_time(pictures):
    assert_same(batches(pictures), batches(pictures))


def test_another_seed_gives_other_batches(pictures):
    assert not np.array_equal(batches(pictures)[0][0], batches(pictures, seed=8)[0][0])


def test_a_resumed_run_sees_what_it_would_have_seen(pictures):
    whole = batches(pictures, epochs=4)
    assert_same(whole[2 * 2 :], batches(pictures, first_epoch=2, epochs=4))
    assert_same(whole[: 2 * 3], batches(pictures, epochs=3))
    assert batches(pictures, first_epoch=4, epochs=4) == []


def test_an_epoch_is_a_shuffle(pictures):
    eleven = pictures.relabelled(range(11))
    epochs = [tuple(y) for _, y in batches(eleven, batch_size=11, epochs=20)]
    assert all(sorted(order) == list(range(11)) for order in epochs)
    assert len(set(epochs)) == 20
    assert len({order[0] for order in epochs}) > 5
    cut_to_whole_batches = batches(eleven, epochs=1)
    assert len({label for _, y in cut_to_whole_batches for label in y}) == 8


def test_labels_belong_to_their_images(pictures):
    alone = pictures.select([0, 1, 2, 3, 5, 6]).relabelled(range(6))
    for x, y in batches(alone, batch_size=3, epochs=2, augmentation=Augmentation.none()):
        assert which(alone, x) == list(y)


def test_epochs_are_augmented_differently(pictures):
    (x0, _), (x1, _) = batches(pictures.select([0]), epochs=2)
    assert np.abs(x0 - x1).max() > 0.1


def test_fewer_images_than_a_batch_are_one_batch(pictures):
    assert steps_per_epoch(pictures, 64) == 1
    assert [len(y) for _, y in batches(pictures, batch_size=64)] == [11, 11, 11]


def test_an_epoch_is_whole_batches(pictures):
    assert steps_per_epoch(pictures, 5) == 2
    assert [len(y) for _, y in batches(pictures, batch_size=5, epochs=1)] == [5, 5]


def test_images_are_normalized(pictures):
    x = np.concatenate([x for x, _ in batches(pictures, epochs=1)])
    lowest, highest = PREPROCESSING.normalize(np.float32([[0, 0, 0], [255, 255, 255]]))
    assert (x.min((0, 1, 2)) >= lowest - 1e-5).all()
    assert (x.max((0, 1, 2)) <= highest + 1e-5).all()
    assert x.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1. Received: batch_size=0"),
        ({"first_epoch": 4}, "`first_epoch` must be in .* Received: first_epoch=4, epochs=3"),
        ({"first_epoch": -1}, "`first_epoch` must be in"),
    ],
)
def test_arguments_out_of_range_are_refused(pictures, options, message):
    with pytest.raises(ValueError, match=message):
        batches(pictures, **options)


def test_an_empty_dataset_is_refused(pictures):
    with pytest.raises(ValueError, match="at least one image"):
        batches(pictures.select([]))
    with pytest.raises(ValueError, match="at least one image"):
        evaluation_batches(pictures.select([]), PREPROCESSING, 4)


def test_an_image_that_became_unreadable_is_named(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"")
    bad = files(tmp_path, "bad.jpg", plain=False)
    with pytest.raises(tf.errors.OpError, match=r"bad\.jpg: empty file"):
        batches(bad)


def test_an_image_that_tensorflow_refuses_is_read_by_pillow(tmp_path):
    photograph(0).save(tmp_path / "a.tiff")
    photograph(1).save(tmp_path / "b.jpg")
    assert_same(*(batches(files(tmp_path, "a.tiff", "b.jpg", plain=plain)) for plain in (True, False)))


def test_evaluation_is_the_preprocessing(pictures):
    found = list(evaluation_batches(pictures, PREPROCESSING, 4))
    assert [x.shape for x, _ in found] == [(4, 16, 24, 3), (4, 16, 24, 3), (3, 16, 24, 3)]
    expected = np.stack([PREPROCESSING(pictures.read(index)) for index in range(len(pictures))])
    np.testing.assert_array_equal(np.concatenate([x for x, _ in found]), expected)
    assert np.concatenate([y for _, y in found]).tolist() == [*pictures.labels]


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_the_rows_of_each_batch(pictures, workers):
    whole = batches(pictures)
    parts = [batches(pictures, part=(worker, workers)) for worker in range(workers)]
    for worker, part in enumerate(parts):
        assert_same(part, [(x[worker::workers], y[worker::workers]) for x, y in whole])


def test_workers_must_share_a_batch_evenly(pictures):
    says = r"^`batch_size`.* must be a multiple of the 3 workers\. Received: batch_size=4, 11 images"
    with pytest.raises(ValueError, match=says):
        batches(pictures, part=(0, 3))


@pytest.mark.parametrize("fitting", ["stretch", "pad"])
@pytest.mark.parametrize("shape", [(40, 20), (20, 40), (31, 31), (400, 3)])
def test_unaugmented_images_are_fitted_as_for_evaluation(tmp_path, fitting, shape):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    smooth = np.stack([rows * (255 // shape[0]), columns * (255 // shape[1]), rows * 0], axis=-1).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "1.png")
    preprocessing = Preprocessing(size=(16, 24), fitting=fitting).without_normalization()
    how = {"batch_size": 1, "seed": 0, "first_epoch": 0, "epochs": 1, "augmentation": Augmentation.none()}
    ((x, _),) = training_batches(files(tmp_path, "1.png", plain=True), preprocessing, **how)
    assert np.abs(x[0] - preprocessing(smooth)).mean() < 2


@pytest.mark.parametrize("fitting", ["stretch", "pad"])
def test_crops_at_random_have_the_shape_of_the_fitting(tmp_path, fitting):
    Image.new("RGB", (200, 20), (255, 0, 0)).save(tmp_path / "1.png")
    preprocessing = Preprocessing(size=(32, 32), fitting=fitting).without_normalization()
    augmentation = Augmentation.none().replace(area=(0.5, 1.0))
    how = {"batch_size": 1, "seed": 0, "first_epoch": 0, "epochs": 20, "augmentation": augmentation}
    for x, _ in training_batches(files(tmp_path, "1.png", plain=True), preprocessing, **how):
        red = np.mean(np.all(np.abs(x[0] - [255, 0, 0]) < 1, axis=-1))
        assert red == 1 if fitting == "stretch" else 0.05 < red < 0.25
