import shutil

import numpy as np
import pytest

from keras_inception import datasets
from keras_inception.datasets.copies import Copy, copies_across, in_words


@pytest.fixture
def copied(pictures, tmp_path):
    """The colors, with two training images in the test split too, one of them twice."""
    folder = shutil.copytree(pictures, tmp_path / "pictures")
    shutil.copy(folder / "train/red/0.png", folder / "test/red/a.png")
    shutil.copy(folder / "train/red/0.png", folder / "test/blue/b.png")
    shutil.copy(folder / "train/red/1.png", folder / "train/red/c.png")  # in one split
    return folder


def test_copies_across_splits_are_found_by_their_bytes(pictures, copied):
    assert copies_across(datasets.open_data(pictures)) == []
    copies = copies_across(datasets.open_data(copied, validation=0))
    assert copies == [Copy("test/blue/b.png", "train/red/0.png"), Copy("test/red/a.png", "train/red/0.png")]
    assert in_words(copies) == (
        "2 images of validation and test are in another split too, such as test/blue/b.png, which is train/red/0.png"
    )
    assert in_words(copies[:1]) == "test/blue/b.png has the same bytes as train/red/0.png, in another split"


def test_files_of_one_size_and_end_are_told_apart(copied):
    original = (copied / "train/red/0.png").read_bytes()
    for path, content in (("train/red/0.png", original), ("test/red/a.png", original[::-1])):
        (copied / path).write_bytes(content + bytes(2000))
    (copied / "test/blue/b.png").unlink()
    splits = datasets.survey(copied).splits
    clues = [splits[split].clues() for split in ("train", "test")]
    assert set(clues[0]) & set(clues[1])
    nothing = splits["train"].select([])
    assert copies_across(datasets.Splits((), splits["train"], nothing, splits["test"])) == []


def test_copies_in_shards_are_found(copied, tmp_path):
    datasets.write_shards(copied, tmp_path / "shards", shards=1)
    copies = copies_across(datasets.open_data(tmp_path / "shards", validation=0))
    assert len(copies) == 2
    assert all(copy.path.startswith("test-") and copy.original.startswith("train-") for copy in copies)


def test_copies_in_arrays_are_found():
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4), dtype=np.uint8)
    images[5] = images[1]
    every = datasets.Arrays(
        labels=np.zeros(6, np.int32), keys=np.array(list("abcdef"), object), pictures=images, source="drawn"
    )
    splits = datasets.Splits(("one",), every.select([0, 1]), every.select([2, 3]), every.select([4, 5]))
    assert copies_across(splits) == [Copy("drawn#f", "drawn#b")]
