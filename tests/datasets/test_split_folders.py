"""Tests of `split_folders`: names and layouts under which people keep training, validation and test images."""

from pathlib import Path

import pytest

from keras_inception.datasets import open_folder, open_labelled
from keras_inception.datasets.split_folders import said_by, split_folders

TWO = ("cat", "dog")


def made(root: Path, *folders: str, classes: tuple[str, ...] = ()) -> Path:
    """Create folders with an empty file in each, or in class folders inside."""
    for folder in folders:
        for name in classes or ("",):
            (root / folder / name).mkdir(parents=True, exist_ok=True)
            (root / folder / name / "1.png").touch()
    return root


def found(root: Path) -> dict[str, str]:
    return {split: folder.relative_to(root).as_posix() for split, folder in split_folders(root)[0].items()}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(
            (name, "train")
            for name in ("train", "TRAIN", "Training", "train_images", "trainset", "TrainData", "train2017")
        ),
        *((name, "validation") for name in ("val", "valid", "Validation", "validation-set", "dev", "val_256", "Eval")),
        *((name, "test") for name in ("test", "Test", "TESTING", "test1", "testSet", "images_test", "hold_test data")),
        *(
            (name, None)
            for name in ("trainer", "value", "contest", "Latest", "valley", "trains_tests", "cat", "", "猫")
        ),
    ],
)
def test_a_name_says_its_split_by_one_of_its_words(name, split):
    assert getattr(said_by(name), "split", None) == split


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "validation", "test"),
        ("Training", None, "Testing"),
        ("TRAIN", "VAL", "TEST"),
        ("train", "valid", None),
        ("Train_Set", "Validation_Set", "Test_Set"),
        ("seg_train/seg_train", None, "seg_test/seg_test"),
        ("train/train", "val/val", "test/test"),
        ("flowers_training", "flowers_dev", None),
        ("2019-train", "2019-val", None),
        ("train/images", None, "test/images"),
        ("pets/train", None, "pets/test"),
        ("archive/pets/train", None, "archive/pets/test"),
    ],
)
def test_splits_are_found_under_the_names_that_people_give_them(tmp_path, train, validation, test):
    expected = {"train": train, "validation": validation, "test": test}
    expected = {split: folder for split, folder in expected.items() if folder}
    made(tmp_path, *expected.values(), classes=TWO)
    assert found(tmp_path) == expected


def test_splits_of_other_names_are_known_by_the_same_classes(tmp_path):
    made(tmp_path, "flower_train", "held_test", classes=TWO)
    assert found(tmp_path) == {"train": "flower_train", "test": "held_test"}


@pytest.mark.parametrize("test", ["test", "test/test", "test1", "Test/images", "test/unknown"])
def test_an_unlabeled_test_folder_is_left_out(tmp_path, test):
    made(tmp_path, "train", classes=TWO)
    made(tmp_path, test)
    assert found(tmp_path) == {"train": "train", "test": test}


def test_a_folder_beside_the_splits_is_named(tmp_path):
    made(tmp_path, "seg_train", "seg_test", classes=TWO)
    made(tmp_path, "seg_pred/seg_pred")
    splits, skipped = split_folders(tmp_path)
    assert list(splits) == ["test", "train"]
    assert [path for path, _ in skipped] == [str(tmp_path / "seg_pred")]


@pytest.mark.parametrize(
    "classes",
    [
        ("car", "plane", "train"),
        ("bullet_train", "freight_train", "bus"),
        ("test_tube", "beaker"),
        ("test_tube", "bullet_train"),
        ("trains", "cars", "dev"),
        ("cats", "dogs"),
    ],
)
def test_classes_may_be_named_like_splits(tmp_path, classes):
    assert found(made(tmp_path, *classes)) == {}


def test_a_class_in_a_split_is_no_wrapper(tmp_path):
    made(tmp_path, "train", classes=("unknown", "cat"))
    made(tmp_path, "test", classes=("unknown",))
    assert found(tmp_path) == {"train": "train", "test": "test"}


def test_classes_with_folders_of_their_own_are_classes(tmp_path):
    made(tmp_path, "cats", classes=("indoors", "outdoors"))
    made(tmp_path, "dogs", classes=("puppies", "old"))
    assert found(tmp_path) == {}


@pytest.mark.parametrize(
    ("folders", "loose", "says"),
    [
        (("fold1", "fold2"), (), "folders fold1, fold2 all hold folders of the same names, such as cat, dog"),
        (("apprentissage", "essai"), (), "name the split folders train, validation and test"),
        (("train", "prueba"), (), "train is named as a train split and has folders inside, but prueba beside it"),
        (("train",), ("car", "bus"), "but bus, car beside it are not"),
        (("train", "Training"), (), "two train folders: Training and train"),
    ],
)
def test_what_could_be_splits_or_classes_is_refused(tmp_path, folders, loose, says):
    made(tmp_path, *folders, classes=TWO)
    made(tmp_path, *loose)
    with pytest.raises(ValueError, match=says):
        open_folder(tmp_path)


def test_split_folders_without_class_folders_are_no_classes(tmp_path):
    made(tmp_path, "Training", "test1")
    with pytest.raises(ValueError, match=r"Training has no class folders; its images are not in class folders"):
        open_folder(tmp_path)


def test_known_classes_are_class_folders(tmp_path):
    made(tmp_path, "train", "test", classes=("left", "right"))
    assert split_folders(tmp_path, ("train", "test"))[0] == {}


def test_only_one_folder_of_class_folders_says_which_to_give(tmp_path):
    made(tmp_path, "flower_photos", classes=TWO)
    with pytest.raises(ValueError, match=r"only flower_photos; give .*flower_photos if the classes are cat, dog"):
        open_folder(tmp_path)


def test_an_unlabeled_test_folder_is_not_what_is_evaluated(tmp_path):
    from PIL import Image

    for folder in ("train/cat", "train/dog", "val/cat", "test"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "1.png")
    assert len(open_labelled(tmp_path, TWO)[0]) == 1
    (tmp_path / "val").rename(tmp_path / ".hidden")
    with pytest.raises(ValueError, match="test has no class folders with files in them"):
        open_labelled(tmp_path, TWO)
