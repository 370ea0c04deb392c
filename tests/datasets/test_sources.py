"""Sources of images: paths, names, and invalid ones."""

import os

import numpy as np
import pytest
from images import save_photographs

from keras_inception.datasets import Files, located, open_data, open_labelled


@pytest.fixture
def folder(tmp_path):
    return save_photographs(tmp_path / "pictures", 4)


def test_a_folder(folder):
    splits = open_data(str(folder), validation=0.25, seed=1)
    assert isinstance(splits.train, Files)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (9, 3, 0)
    examples, _ = open_labelled(folder, splits.labels)
    assert len(examples) == 12


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("fashion_mist", r"Did you mean fashion_mnist\? Received: 'fashion_mist'"),
        ("fashion-mnist", r"Did you mean fashion_mnist\?"),
        ("tdfs:stl10", r"Did you mean tfds\? Received: 'tdfs:stl10'"),
        ("tfds:", r"tfds: does not exist\. It must be a folder of images or of TFRecord shards, fashion_mnist, "),
        ("nowhere/pictures", r"nowhere/pictures does not exist\. It must be .* or tfds:NAME\. Received: 'nowhere/"),
    ],
)
def test_a_similar_name_is_suggested_for_a_missing_source(source, message):
    for call in (open_data, located, lambda source: open_labelled(source, ["a"])):
        with pytest.raises(ValueError, match=message):
            call(source)


def test_a_file_is_refused(folder):
    with pytest.raises(ValueError, match=r"0\.jpg is a file, not a folder"):
        open_data(folder / "a" / "0.jpg")


def test_sources_can_be_opened_from_elsewhere(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert located("pictures") == located(folder) == str(folder)
    assert located("tfds:stl10") == "tfds:stl10"
    assert located("fashion_mnist") == "fashion_mnist"
    assert located("fashion_mnist:some/where") == f"fashion_mnist:{folder.parent / 'some' / 'where'}"


def test_a_path_takes_precedence_over_a_name(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    os.rename(folder, "fashion_mnist")
    assert located("fashion_mnist") == str(folder.parent / "fashion_mnist")
    assert np.bincount(open_data("fashion_mnist", validation=0).train.labels).tolist() == [4, 4, 4]
