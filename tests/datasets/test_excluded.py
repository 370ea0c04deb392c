"""Images that are left out by a list of their paths, and the table of the images that a run keeps."""

import os
import unicodedata

import numpy as np
import pytest
from images import save_photographs
from test_label_tables import table

from keras_inception.datasets import open_data, open_folder, open_table, recorded
from keras_inception.datasets.splits import Found
from keras_inception.utils import files


@pytest.fixture
def photographs(tmp_path):
    return save_photographs(tmp_path / "photos", 4)


def paths(splits):
    return [examples.path(index) for examples in splits.named().values() for index in range(len(examples))]


def test_images_are_excluded_by_a_table_with_a_column_of_paths(photographs, tmp_path):
    before = paths(open_data(photographs, validation=0))
    (photographs / "b" / "broken.jpg").write_bytes(b"no image")
    listed = ["a/0.jpg", unicodedata.normalize("NFD", "é/1.jpg"), photographs / "b" / "2.png", "b/broken.jpg", "b/gone"]
    made = table(tmp_path / "suggested.csv", ("reason", "path"), *(("blurry", path) for path in listed))
    splits = open_data(photographs, validation=0, exclude=made, strict=True)
    assert set(before) - set(paths(splits)) == {"a/0.jpg", "é/1.jpg", "b/2.png"}
    assert splits.counts() == {"excluded": 4}
    assert splits.remarks() == ["excluded 4 images"]
    arguments = recorded(photographs, exclude=made)
    assert arguments["exclude"] == ["a/0.jpg", "b/2.png", "b/broken.jpg", "b/gone", "é/1.jpg"]
    assert paths(open_data(**arguments, validation=0)) == paths(splits)


def test_images_of_a_table_are_excluded_too(photographs, tmp_path):
    rows = [(path, path[0]) for path in paths(open_data(photographs, validation=0))]
    made = table(tmp_path / "labels.csv", ("path", "label"), *rows, ("gone.jpg", "a"))
    splits = open_table(made, root=photographs, exclude=["a/0.jpg", "gone.jpg"], validation=0, strict=True)
    assert len(splits.train) == 11


def test_an_excluded_class_is_no_class(photographs):
    splits = open_data(photographs, exclude=[f"b/{name}" for name in ("0.jpg", "1.jpg", "2.png", "3.jpg")], strict=True)
    assert splits.labels == ("a", "é")


def test_images_of_other_sources_are_excluded_by_their_names(fashion):
    kept = fashion.without({"toys train#1", "toys test#0"})
    assert {split: examples.keys.tolist() for split, examples in kept.splits.items()} == {
        "train": ["0", "2"],
        "test": ["1", "2"],
    }
    assert kept.excluded == 2


@pytest.fixture
def fashion():
    from keras_inception.datasets import Arrays

    pixels, labels = np.zeros((3, 4, 4), np.uint8), np.zeros(3, np.int32)
    keys = np.array(["0", "1", "2"], object)
    splits = {
        split: Arrays(labels=labels, keys=keys, pictures=pixels, source=f"toys {split}") for split in ("train", "test")
    }
    return Found("toys", ("a",), splits)


@pytest.mark.parametrize(
    ("header", "path", "says"),
    [
        (("image",), "a/0.jpg", r"suggested\.csv must have a column named path\. Received: image"),
        (("path",), "photos/a/0.jpg", r"suggested\.csv must list paths of images in .*photos\. Received: photos/a/0"),
    ],
)
def test_a_list_of_no_image_is_refused(header, path, says, photographs, tmp_path):
    made = table(tmp_path / "suggested.csv", header, (path,))
    with pytest.raises(ValueError, match=says):
        open_data(photographs, exclude=made)


def test_an_empty_list_excludes_nothing(photographs, tmp_path):
    made = table(tmp_path / "suggested.csv", ("path", "reason"))
    assert len(open_data(photographs, exclude=made, validation=0).train) == 12


@pytest.mark.parametrize(
    ("train", "others"), [("", ()), ("train", ("val", "test")), ("deep/seg_train/train", ("deep/seg_test",))]
)
@pytest.mark.parametrize("group", [None, r"/(\d)"])
def test_the_table_of_the_splits_gives_the_same_splits(train, others, group, tmp_path):
    root = tmp_path / "photos"
    for number, folder in enumerate((train, *others)):
        save_photographs(root / folder, 4, seed=100 * number, classes=("a b", "b,c", "é"))
    splits = open_folder(root, validation=0.25, seed=3, group=group)
    files.write_csv(tmp_path / "split.csv", splits.rows())
    again = open_table(tmp_path / "split.csv", root=root, validation=0.25, strict=True)
    assert again.labels == splits.labels
    assert again.rows() == splits.rows()
    assert again.fingerprints() == splits.fingerprints()
    assert again.counts() == splits.counts()
    fingerprints = splits.fingerprints()
    assert again.changed(fingerprints) == []
    os.remove(root / again.validation.path(0))
    assert open_table(tmp_path / "split.csv", root=root).changed(fingerprints) == ["validation"]


def test_fingerprints_of_version_0_1_are_known(tmp_path):
    for split in ("train", "val"):
        save_photographs(tmp_path / split, 2)
    splits = open_folder(tmp_path)
    earlier = {"train": splits.train.fingerprint_0_1(), "validation": splits.validation.fingerprint_0_1()}
    assert earlier != splits.fingerprints()
    assert splits.changed(earlier) == []
    assert splits.changed({**earlier, "train": "0"}) == ["train"]
