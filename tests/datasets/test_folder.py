import os
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from keras_inception.datasets import Files, Skipped, list_pictures, open_folder, open_labelled
from keras_inception.datasets.splits import cut


def save_image(path, color="red", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(options.pop("mode", "RGB"), (8, 8), color).save(path, **options)
    return path


def text(path, content="words"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def class_folders(root, **counts):
    """Create class folders with the given number of images each."""
    for name, count in counts.items():
        for number in range(count):
            save_image(root / name / f"{number:03}.png")
    return root


def names(examples):
    return [Path(key).name for key in examples.keys]


def by_class(examples):
    return Counter(examples.labels.tolist())


@pytest.fixture
def messy(tmp_path):
    """Two classes of readable images in many formats, among the clutter of real folders."""
    whole = save_image(tmp_path / "good" / "whole.jpg").read_bytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    save_image(tmp_path / "good" / "rotated.JPG", exif=exif)
    save_image(tmp_path / "good" / "cmyk.jpeg", mode="CMYK", color=(0, 255, 255, 0))
    save_image(tmp_path / "good" / "gray.jpg", mode="L", color=9)
    save_image(tmp_path / "good" / "deep" / "er" / "alpha.png", mode="RGBA")
    save_image(tmp_path / "good" / "really_a_png.jpg", format="PNG")
    save_image(tmp_path / "good" / "no_ending", format="PNG")
    save_image(tmp_path / "猫" / "palette.gif", mode="P", color=0)
    save_image(tmp_path / "猫" / "a.webp")
    (tmp_path / "good" / "truncated.jpg").write_bytes(whole[:-40])
    (tmp_path / "good" / "empty.png").write_bytes(b"")
    text(tmp_path / "good" / "text.jpg")
    save_image(tmp_path / "loose.png")
    (tmp_path / "nothing").mkdir()
    text(tmp_path / "only_text" / "a.jpg")
    for ignored in ("good/notes.txt", "good/boxes.csv", "README", "good/Thumbs.db", "good/desktop.ini"):
        text(tmp_path / ignored)
    for hidden in ("good/._whole.jpg", ".git/x.jpg", "__MACOSX/good/x.jpg", "good/.hidden/x.jpg"):
        save_image(tmp_path / hidden)
    return tmp_path


def test_a_messy_folder(messy):
    splits = open_folder(messy, validation=0)
    assert splits.labels == ("good", "猫")
    assert len(splits.validation) == len(splits.test) == 0
    train = splits.train
    assert dict(zip(names(train), zip(train.labels, train.plain, strict=True), strict=True)) == {
        "whole.jpg": (0, True),
        "rotated.JPG": (0, False),
        "cmyk.jpeg": (0, False),
        "gray.jpg": (0, True),
        "alpha.png": (0, False),
        "really_a_png.jpg": (0, True),
        "no_ending": (0, True),
        "palette.gif": (1, False),
        "a.webp": (1, False),
    }
    reasons = {os.path.relpath(path, messy): reason for path, reason in splits.skipped}
    assert reasons.keys() == {
        "good/truncated.jpg",
        "good/empty.png",
        "good/text.jpg",
        "loose.png",
        "nothing",
        "only_text",
        "only_text/a.jpg",
    }
    assert "runcated" in reasons["good/truncated.jpg"]
    assert reasons["good/empty.png"] == "empty file"
    assert reasons["good/text.jpg"] == "not a readable image"
    assert "is not in a class folder" in reasons["loose.png"]
    assert reasons["nothing"] == reasons["only_text"] == "no images"


@pytest.mark.skipif(os.name == "nt", reason="links require privileges there, and pipes have no names")
def test_links_to_nowhere_and_pipes_are_skipped(tmp_path):
    class_folders(tmp_path, a=3, b=3)
    (tmp_path / "a" / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(tmp_path / "b" / "pipe.jpg")
    skipped = open_folder(tmp_path).skipped
    assert {os.path.relpath(path, tmp_path): reason for path, reason in skipped} == {
        "a/dangling.jpg": "No such file or directory",
        "b/pipe.jpg": "not a file",
    }


def test_strict_lists_everything_that_would_be_skipped(messy):
    with pytest.raises(ValueError, match="7 of the files and classes cannot be used") as refused:
        open_folder(messy, strict=True)
    for name in (
        "truncated.jpg: ",
        "empty.png: empty file",
        "loose.png: is not in a class folder",
        "nothing: no images",
    ):
        assert name in str(refused.value)


def test_strict_accepts_a_clean_folder(tmp_path):
    text(class_folders(tmp_path, a=3, b=3) / "a" / "notes.txt")
    assert len(open_folder(tmp_path, strict=True).train) == 4


def test_progress_counts_every_file(tmp_path):
    seen = []
    open_folder(class_folders(tmp_path, a=3, b=2), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_class_names_of_any_script(tmp_path):
    labels = ("Ångström", "قطة", "猫", "👩‍🔬")
    for label in labels:
        save_image(tmp_path / unicodedata.normalize("NFD", label) / "a.png")
    splits = open_folder(tmp_path)
    assert splits.labels == tuple(sorted(unicodedata.normalize("NFC", label) for label in labels))
    assert by_class(splits.train) == {0: 1, 1: 1, 2: 1, 3: 1}


def test_both_unicode_forms_of_a_name_are_one_class(tmp_path):
    for form in ("NFC", "NFD"):
        save_image(tmp_path / unicodedata.normalize(form, "café") / f"{form}.png")
    save_image(tmp_path / "tea" / "a.png")
    splits = open_folder(tmp_path, validation=0)
    assert splits.labels == (unicodedata.normalize("NFC", "café"), "tea")
    assert by_class(splits.train) == {0: 2, 1: 1}


def test_a_file_name_that_is_not_text(tmp_path):
    class_folders(tmp_path, a=1, b=1)
    odd = os.fsencode(tmp_path) + b"/a/\xff.png"
    os.link(os.fsencode(tmp_path) + b"/a/000.png", odd)
    train = open_folder(tmp_path, validation=0).train
    assert os.fsdecode(odd) in [train.name(index) for index in range(3)]
    assert len(open_folder(tmp_path).validation) == 1


@pytest.mark.parametrize("name", [b"\xff", b"two\nlines", b" "])
def test_a_class_name_that_is_not_a_line_of_text(tmp_path, name):
    class_folders(tmp_path, a=1)
    os.mkdir(os.fsencode(tmp_path) + b"/" + name)
    with pytest.raises(ValueError, match="must be a line of text"):
        open_folder(tmp_path)


@pytest.mark.parametrize("validation", ["validation", "val", "valid", "Val"])
def test_existing_splits_are_used(tmp_path, validation):
    class_folders(tmp_path / "train", a=4, b=3)
    class_folders(tmp_path / validation, a=1)
    class_folders(tmp_path / "test", b=2)
    (tmp_path / "annotations").mkdir()
    splits = open_folder(tmp_path)
    assert by_class(splits.train) == {0: 4, 1: 3}
    assert by_class(splits.validation) == {0: 1}
    assert by_class(splits.test) == {1: 2}


def test_validation_is_cut_out_of_train_alone(tmp_path):
    class_folders(tmp_path / "train", a=20, b=10)
    class_folders(tmp_path / "test", a=5)
    splits = open_folder(tmp_path, validation=0.2)
    assert by_class(splits.train) == {0: 16, 1: 8}
    assert by_class(splits.validation) == {0: 4, 1: 2}
    assert by_class(splits.test) == {0: 5}


def test_a_split_without_labeled_images_counts_as_missing(tmp_path):
    class_folders(tmp_path / "train", a=4, b=4)
    save_image(tmp_path / "test" / "1.jpg")
    (tmp_path / "val").mkdir()
    splits = open_folder(tmp_path)
    assert by_class(splits.validation) == {0: 1, 1: 1}
    assert len(splits.test) == 0
    assert [path for path, _ in splits.skipped] == [str(tmp_path / "test" / "1.jpg")]


def test_a_class_may_be_named_train(tmp_path):
    assert open_folder(class_folders(tmp_path, car=2, plane=2, train=2)).labels == ("car", "plane", "train")


def test_an_empty_class_is_dropped(tmp_path):
    class_folders(tmp_path / "train", a=2, c=2)
    class_folders(tmp_path / "test", c=1)
    (tmp_path / "train" / "b").mkdir()
    splits = open_folder(tmp_path)
    assert splits.labels == ("a", "c")
    assert splits.test.labels.tolist() == [1]
    assert splits.skipped == (Skipped(str(tmp_path / "train" / "b"), "no images"),)


def test_known_class_names_are_kept(tmp_path):
    splits = open_folder(class_folders(tmp_path, b=2, a=2), labels=("b", "c", "a"), validation=0)
    assert splits.labels == ("b", "c", "a")
    assert splits.train.keys.tolist() == ["b/000.png", "b/001.png", "a/000.png", "a/001.png"]
    assert splits.train.labels.tolist() == [0, 0, 2, 2]


def test_links(tmp_path):
    """Links are followed, but not back to an enclosing folder."""
    class_folders(tmp_path / "elsewhere", cats=2)
    root = class_folders(tmp_path / "root", dogs=2)
    (root / "cats").symlink_to(tmp_path / "elsewhere" / "cats")
    (root / "all").symlink_to(root)
    (root / "dogs" / "up").symlink_to(tmp_path)
    (root / "dogs" / "self").symlink_to(root / "dogs" / "self")
    (root / "dogs" / "other").symlink_to(root / "cats")
    (tmp_path / "elsewhere" / "cats" / "back").symlink_to(root / "dogs")
    splits = open_folder(root, validation=0)
    assert splits.labels == ("cats", "dogs")
    assert names(splits.train) == ["000.png", "001.png"] * 4
    assert len(list_pictures(root)[0]) == 8


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([], "has no class folders$"),
        (["a.png", "b.jpg"], "has no class folders; its images are not in class folders"),
        (["a/a.png"], "two or more class folders. Received: only a"),
        (["train/a.png", "test/b.png"], "train has no class folders; its images are not in class folders"),
        (["train/a/a.png"], "two or more class folders. Received: only a"),
        (["test/a/a.png", "val/a/a.png"], "has test, validation, but no train folder"),
        (["train/a/a.png", "val/a/a.png", "valid/a/a.png"], "two validation folders: val and valid"),
        (["train/a/a.png", "train/b/b.png", "test/c/c.png"], "c: 'c' is not one of the 2 classes: a, b"),
    ],
)
def test_folders_that_are_refused(tmp_path, made, message):
    for path in made:
        save_image(tmp_path / path)
    with pytest.raises(ValueError, match=message):
        open_folder(tmp_path)


def test_folders_without_images_are_refused(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match="no class folders with files"):
        open_folder(tmp_path)
    for name in "ab":
        text(tmp_path / name / "a.jpg")
    with pytest.raises(ValueError, match=r"two or more classes; 4 skipped, such as .*a\.jpg: not a readable image"):
        open_folder(tmp_path)
    with pytest.raises(ValueError, match="has no images; 2 skipped"):
        list_pictures(tmp_path)
    save_image(tmp_path / "a" / "b.jpg")
    with pytest.raises(ValueError, match="two or more classes; 3 skipped"):
        open_folder(tmp_path)


def test_a_test_class_without_training_images_is_refused(tmp_path):
    class_folders(tmp_path / "train", a=2, c=2)
    text(tmp_path / "train" / "b" / "a.jpg")
    class_folders(tmp_path / "test", b=1)
    with pytest.raises(ValueError, match=r"test/b/000.png: train has no images of the class 'b'"):
        open_folder(tmp_path)


def test_paths_that_are_not_folders_are_refused(tmp_path):
    file = save_image(tmp_path / "a.png")
    for call in (open_folder, list_pictures, lambda path: open_labelled(path, ["a", "b"])):
        with pytest.raises(ValueError, match=r"gone does not exist"):
            call(tmp_path / "gone")
        with pytest.raises(ValueError, match=r"a\.png is a file, not a folder"):
            call(file)


@pytest.mark.parametrize("share", [-0.1, 1, float("nan")])
def test_a_share_out_of_range_is_refused(tmp_path, share):
    with pytest.raises(ValueError, match=r"`validation` must be in \[0, 1\)"):
        open_folder(tmp_path, validation=share)


def test_labelled_class_folders(tmp_path):
    labels = ["Dog", unicodedata.normalize("NFC", "é"), "猫"]
    save_image(tmp_path / unicodedata.normalize("NFD", "é") / "1.png")
    save_image(tmp_path / "DOG" / "2.png")
    pictures, skipped = open_labelled(tmp_path, labels)
    assert names(pictures) == ["2.png", "1.png"]
    assert pictures.labels.tolist() == [0, 1]
    assert skipped == ()


def test_case_matters_if_class_names_differ_only_in_case(tmp_path):
    labels = ["Polish", "polish"]
    assert open_labelled(class_folders(tmp_path / "1", polish=1), labels)[0].labels.tolist() == [1]
    with pytest.raises(ValueError, match="'POLISH' is not one of the 2 classes"):
        open_labelled(class_folders(tmp_path / "2", POLISH=1), labels)


def test_two_classes_of_one_name_cannot_be_told_apart(tmp_path):
    labels = ["crane", "dog", "crane"]
    assert open_labelled(class_folders(tmp_path / "1", dog=1), labels)[0].labels.tolist() == [1]
    with pytest.raises(ValueError, match=r"only one class can have the images of 'crane'\. Received: 2 labels"):
        open_labelled(class_folders(tmp_path / "2", dog=1, crane=1), labels)


def test_labelled_splits(tmp_path):
    class_folders(tmp_path / "train", a=3, b=3)
    assert len(open_labelled(tmp_path, "ab")[0]) == 6
    class_folders(tmp_path / "val", a=2)
    assert len(open_labelled(tmp_path, "ab")[0]) == 2
    class_folders(tmp_path / "test", b=1)
    assert len(open_labelled(tmp_path, "ab")[0]) == 1
    assert len(open_labelled(tmp_path, "ab", prefer=("train",))[0]) == 6


def test_labelled_folders_that_are_refused(tmp_path):
    class_folders(tmp_path / "1" / "val", a=1)
    with pytest.raises(ValueError, match="has validation, but none of test"):
        open_labelled(tmp_path / "1", "ab", prefer=("test",))
    with pytest.raises(ValueError, match="val/a: 'a' is not one of the 2 classes: x, y"):
        open_labelled(tmp_path / "1", "xy")
    save_image(tmp_path / "2" / "a.png")
    with pytest.raises(ValueError, match="no class folders with files in them; its images are not in class folders"):
        open_labelled(tmp_path / "2", "ab")
    text(tmp_path / "3" / "a" / "a.jpg")
    with pytest.raises(ValueError, match="3 has no images; 2 skipped"):
        open_labelled(tmp_path / "3", "ab")
    with pytest.raises(ValueError, match="cannot be used"):
        open_labelled(tmp_path / "3", "ab", strict=True)


def test_list_pictures(messy):
    pictures, skipped = list_pictures(messy)
    assert len(pictures) == 10  # nine in class folders, and one outside of them
    assert pictures.keys.tolist() == sorted(pictures.keys)
    assert dict(zip(pictures.keys, pictures.labels, strict=True)) == {
        "good/cmyk.jpeg": 0,
        "good/deep/er/alpha.png": 1,
        "good/gray.jpg": 0,
        "good/no_ending": 0,
        "good/really_a_png.jpg": 0,
        "good/rotated.JPG": 0,
        "good/whole.jpg": 0,
        "loose.png": 2,
        "猫/a.webp": 3,
        "猫/palette.gif": 3,
    }
    assert {Path(path).name for path, _ in skipped} >= {"truncated.jpg", "empty.png", "text.jpg", "a.jpg"}


def examples(rows):
    """Return examples with these (label, key) pairs."""
    labels, keys = zip(*rows, strict=True)
    return Files(labels=np.array(labels), keys=np.array(keys, object), base="", plain=np.ones(len(rows), bool))


rows = st.lists(
    st.tuples(st.integers(0, 3), st.text("abé猫", min_size=1, max_size=6)), min_size=1, max_size=60, unique=True
)


@given(rows, st.floats(0, 0.99), st.integers(0, 9))
def test_the_cut_is_disjoint_complete_and_stratified(rows, share, seed):
    pictures = examples(rows)
    rest, chosen = cut(pictures, share, seed)
    assert sorted([*rest, *chosen]) == list(range(len(rows)))
    assert (np.diff(rest) > 0).all()
    assert (np.diff(chosen) > 0).all()
    for label, count in by_class(pictures).items():
        cut_out = by_class(pictures.select(chosen))[label]
        assert cut_out < count
        assert (cut_out > 0) == (share > 0 and count > 1)
        assert abs(cut_out - share * count) <= 1


@given(rows, st.floats(0.1, 0.9), st.randoms())
def test_the_cut_does_not_depend_on_the_order(rows, share, random):
    shuffled = random.sample(rows, len(rows))
    chosen, again = ({some[index] for index in cut(examples(some), share, 0)[1]} for some in (rows, shuffled))
    assert chosen == again


def test_the_cut_depends_on_the_seed():
    pictures = examples([(0, f"a/{number}.jpg") for number in range(100)])
    assert len({tuple(cut(pictures, 0.2, seed)[1]) for seed in range(20)}) == 20


def test_the_cut_hardly_changes_when_images_are_added():
    thousand = [(0, f"a/{number}.jpg") for number in range(1000)]
    before, after = (set(cut(examples(rows), 0.2, 0)[1]) for rows in (thousand[:950], thousand))
    assert len(before & after) > 170  # of 190 and 200; independent splits would share about 40


def test_blanks_after_the_name_of_a_class_folder_are_no_part_of_its_name(tmp_path):
    class_folders(tmp_path / "images", **{"cat ": 9, "dog": 9})
    splits = open_folder(tmp_path / "images", validation=0.2, seed=0)
    assert splits.labels == ("cat", "dog")
    labelled, _ = open_labelled(tmp_path / "images", ["dog", "cat"])
    assert by_class(labelled) == {0: 9, 1: 9}
