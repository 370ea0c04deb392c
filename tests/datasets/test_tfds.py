"""Datasets of tensorflow-datasets, tested with its own builder of STL-10 on a tiny archive in STL-10's layout."""

import sys

import numpy as np
import pytest
import tensorflow_datasets
from tensorflow_datasets.core import constants

from keras_inception.datasets import Arrays, Augmentation, Records, open_data, open_labelled, tfds, training_batches
from keras_inception.datasets.records import INDEX
from keras_inception.preprocessing import DEFAULT

CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
COUNTS = {"train": 30, "test": 20}


def made(split):
    """Return images, uint8 (n, 96, 96, 3), and class indices."""
    count = COUNTS.get(split, 5)
    blocks = np.random.default_rng(count).integers(0, 256, (count, 12, 12, 3), np.uint8)
    return blocks.repeat(8, axis=1).repeat(8, axis=2), np.arange(count) % 10


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Unpacked archive of STL-10: bytes by channel, then by column; classes from 1."""
    root = tmp_path_factory.mktemp("download")
    (root / "stl10_binary").mkdir()
    for split in ("train", "test", "unlabeled"):
        pictures, labels = made(split)
        (root / "stl10_binary" / f"{split}_X.bin").write_bytes(pictures.transpose(0, 3, 2, 1).tobytes())
        if split != "unlabeled":
            (root / "stl10_binary" / f"{split}_y.bin").write_bytes((labels + 1).astype(np.uint8).tobytes())
    (root / "stl10_binary" / "class_names.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return root


@pytest.fixture
def data(archive, tmp_path, monkeypatch):
    """Folder in which datasets are prepared, with the archive as if it had been downloaded."""
    monkeypatch.setattr(constants, "DATA_DIR", str(tmp_path))
    manager = tensorflow_datasets.download.DownloadManager
    monkeypatch.setattr(manager, "download_and_extract", lambda self, url: str(archive))
    return tmp_path


def check(splits):
    assert splits.labels == CLASSES
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (20, 10, 20)
    for split in ("train", "test"):
        pictures, labels = made(split)
        known = {picture.tobytes(): label for picture, label in zip(pictures, labels, strict=True)}
        parts = [splits.train, splits.validation] if split == "train" else [splits.test]
        found = {part.read(i).tobytes(): part.labels[i] for part in parts for i in range(len(part))}
        assert found == known, "images should be upright and RGB, each with its class"
    assert np.bincount(splits.validation.labels).tolist() == [1] * 10
    batches = training_batches(
        splits.train,
        DEFAULT.replace(size=(96, 96)),
        batch_size=20,
        seed=0,
        first_epoch=0,
        epochs=1,
        augmentation=Augmentation.none(),
    )
    ((x, y),) = batches
    expected = {label: [] for label in range(10)}
    for index, label in enumerate(splits.train.labels.tolist()):
        expected[label].append(splits.train.read(index))
    for picture, label in zip(x.numpy() * 127.5 + 127.5, y.numpy(), strict=True):
        assert min(np.abs(picture - other).max() for other in expected[label]) < 1e-3


def test_stl10(data, monkeypatch):
    splits = open_data("tfds:stl10", validation=0.3)
    assert isinstance(splits.train, Records)
    assert splits.train.plain.all()
    check(splits)
    assert (data / "stl10" / "1.0.0" / INDEX).is_file()

    # A prepared dataset is neither downloaded nor indexed again.
    monkeypatch.setattr("keras_inception.datasets.records.make_index", None)
    again = open_data("tfds:stl10:1.0.0", validation=0.3, labels=CLASSES)
    assert again.train.fingerprint() == splits.train.fingerprint()
    test, _ = open_labelled("tfds:stl10", CLASSES[::-1])
    assert np.bincount(test.labels).tolist() == [2] * 10
    trucks = {picture.tobytes() for picture in made("test")[0][9::10]}
    assert {test.read(0).tobytes(), test.read(1).tobytes()} == trucks


def test_a_dataset_in_another_format_is_read_into_memory(data):
    tensorflow_datasets.builder("stl10", file_format="array_record").download_and_prepare()
    splits = open_data("tfds:stl10", validation=0.3)
    assert isinstance(splits.train, Arrays)
    check(splits)


def test_a_similar_name_is_suggested_for_an_unknown_one(data):
    with pytest.raises(ValueError, match=r"has no dataset of that name\. Did you mean stl10\? Received: tfds:slt10"):
        open_data("tfds:slt10")


def test_a_dataset_without_images_is_refused(data):
    message = r"one 8-bit image and one class label .*\. Received: label, title, description"
    with pytest.raises(ValueError, match=message):
        open_data("tfds:ag_news_subset")


def test_a_failed_download_is_reported(data, monkeypatch):
    def fail(self, url):
        raise tensorflow_datasets.download.DownloadError("no way\nto there")

    monkeypatch.setattr(tensorflow_datasets.download.DownloadManager, "download_and_extract", fail)
    with pytest.raises(OSError, match="tfds:stl10 cannot be prepared: no way to there"):
        open_data("tfds:stl10")


def test_without_tensorflow_datasets_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ValueError, match=r"tfds:stl10 requires tensorflow-datasets: install keras-inception\[tfds\]"):
        tfds.find_tfds("stl10")
