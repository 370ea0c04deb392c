import gzip
import struct

import keras
import numpy as np
import pytest

from keras_inception.datasets import fashion_mnist, open_data, open_labelled

NAMES = {split: f"{prefix}-{{}}-ubyte.gz" for split, prefix in (("train", "train"), ("test", "t10k"))}


def zipped(content):
    return gzip.compress(content, mtime=0)  # deterministic, because test names contain it


def idx(values):
    """Return a gzipped IDX file of bytes."""
    return zipped(struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes())


def made(split, count):
    chance = np.random.default_rng(count)
    return chance.integers(0, 256, (count, 28, 28), np.uint8), (np.arange(count) % 10).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    for split, count in (("train", 40), ("test", 20)):
        pictures, labels = made(split, count)
        (tmp_path / NAMES[split].format("images-idx3")).write_bytes(idx(pictures))
        (tmp_path / NAMES[split].format("labels-idx1")).write_bytes(idx(labels))
    return tmp_path


def check(splits):
    """Check that the splits are what `made` returns, in the order of the classes."""
    assert splits.labels[0] == "T-shirt/top"
    assert splits.labels[9] == "Ankle boot"
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (30, 10, 20)
    pictures, labels = made("test", 20)
    order = np.argsort(labels, kind="stable")
    assert splits.test.labels.tolist() == labels[order].tolist()
    for index, number in enumerate(order):
        picture = splits.test.read(index)
        assert picture.shape == (28, 28, 3)
        assert (picture == pictures[number][..., None]).all()
    assert splits.test.name(1) == "fashion_mnist test#00010"
    assert sorted({*splits.train.keys, *splits.validation.keys}) == [f"{number:05}" for number in range(40)]
    assert np.bincount(splits.validation.labels).tolist() == [1] * 10


def test_the_files_of_a_folder(folder):
    check(open_data(f"fashion_mnist:{folder}", validation=0.25))


def test_the_files_that_debian_installs(folder, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "INSTALLED", folder)
    check(open_data("fashion_mnist", validation=0.25))


def test_the_files_that_keras_downloads(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "INSTALLED", tmp_path / "nowhere")
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", lambda: (made("train", 40), made("test", 20)))
    check(open_data("fashion_mnist", validation=0.25))


def test_a_failed_download_is_reported(tmp_path, monkeypatch):
    def fail():
        raise Exception("URL fetch failure")

    monkeypatch.setattr(fashion_mnist, "INSTALLED", tmp_path / "nowhere")
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", fail)
    with pytest.raises(OSError, match=r"is not in .*nowhere, and Keras cannot download it: URL fetch failure"):
        open_data("fashion_mnist")


def test_opening_it_for_evaluation(folder):
    examples, skipped = open_labelled(f"fashion_mnist:{folder}", ["x", *fashion_mnist.CLASSES])
    assert np.bincount(examples.labels).tolist() == [0, *[2] * 10]
    assert skipped == ()
    with pytest.raises(ValueError, match="Fashion-MNIST: 'T-shirt/top' is not one of the 2 classes: a, b"):
        open_labelled(f"fashion_mnist:{folder}", ["a", "b"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "train-images-idx3-ubyte.gz does not exist"),
        (b"words", "is damaged: Not a gzipped file"),
        (idx(made("train", 40)[0])[:-100], "is damaged: Compressed file ended before"),
        (zipped(b"words"), r"must be an IDX file of bytes in 3 dimensions. Received: b'word'"),
        (zipped(b""), r"must be an IDX file of bytes in 3 dimensions. Received: b''"),
        (idx(made("train", 40)[1]), r"must be an IDX file of bytes in 3 dimensions. Received: b'\\x00\\x00\\x08\\x01'"),
        (zipped(struct.pack(">HBB3I", 0, 8, 3, 40, 28, 28) + b"few"), r"must hold \(40, 28, 28\) bytes. Rec.*: 3"),
        (idx(made("train", 39)[0]), "train must have a label of 0 to 9 .* Received: 39 images, 40 labels up to 9"),
    ],
    ids=["absent", "words", "cut", "zipped words", "empty", "labels", "few bytes", "another number"],
)
def test_damaged_files_are_named(folder, content, message):
    path = folder / NAMES["train"].format("images-idx3")
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        open_data(f"fashion_mnist:{folder}")


def test_labels_out_of_range_are_refused(folder):
    (folder / NAMES["test"].format("labels-idx1")).write_bytes(idx(np.full(20, 10, np.uint8)))
    with pytest.raises(ValueError, match="test must have a label of 0 to 9"):
        open_data(f"fashion_mnist:{folder}")
