"""Groups of images: found in paths and tables, and kept on one side of a cut."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from images import save_photographs
from test_label_tables import table

from keras_inception.datasets import Files, open_data, open_table, recorded
from keras_inception.datasets.splits import cut


def examples(rows):
    """Return images that do not exist, from rows of (label, group)."""
    return Files(
        labels=np.array([label for label, _ in rows], np.int32),
        keys=np.array([f"{label}/{number}.jpg" for number, (label, _) in enumerate(rows)], object),
        groups=np.array([group for _, group in rows], object),
        base="nowhere",
        plain=np.ones(len(rows), bool),
    )


def patients(count, seed=0):
    """Return rows of (label, group) of patients with 1 to 12 images each, of one of three classes or of two."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        classes = chance.sample(range(3), chance.choice((1, 1, 2)))
        rows += [(chance.choice(classes), f"patient {number}") for _ in range(chance.randint(1, 12))]
    return rows


@pytest.mark.parametrize("share", [0.1, 0.15, 0.3, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_groups_stay_together_and_the_share_of_each_class_is_kept(share, seed):
    images = examples(patients(200))
    rest, chosen = cut(images, share, seed)
    assert sorted([*rest, *chosen]) == list(range(len(images)))
    assert not set(images.groups[rest]) & set(images.groups[chosen])
    for label, total in Counter(images.labels.tolist()).items():
        held_out = np.count_nonzero(images.labels[chosen] == label)
        assert abs(held_out - share * total) <= 12, f"{held_out} of {total}, and the largest group has 12"


def test_the_cut_of_groups_depends_on_the_seed_alone():
    images = examples(patients(60))
    cuts = [tuple(cut(images, 0.2, seed)[1]) for seed in (0, 1, 2, 0)]
    assert cuts[0] == cuts[3]
    assert len(set(cuts)) == 3
    order = np.random.default_rng(0).permutation(len(images))
    shuffled = images.select(order)
    assert set(images.keys[list(cuts[0])]) == set(shuffled.keys[cut(shuffled, 0.2, 0)[1]])


def test_a_large_group_is_not_held_out_for_a_small_share():
    rows = [(label, f"{label} large") for label in (0, 1) for _ in range(80)]
    rows += [(label, f"{label} {number}") for label in (0, 1) for number in range(20)]
    for seed in range(10):
        _, chosen = cut(examples(rows), 0.1, seed)
        assert len(chosen) == 20


def test_each_class_has_images_on_both_sides_if_its_groups_allow_it():
    rows = [(0, "a")] * 9 + [(0, "b")] * 9 + [(1, "c")] * 5 + [(2, "d"), (2, ""), (2, "")]
    rest, chosen = cut(examples(rows), 0.1, 0)
    labels = examples(rows).labels
    assert set(labels[rest]) == {0, 1, 2}
    assert set(labels[chosen]) == {0, 2}, "the images of class 1 are of one group"


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "a", "b", "c", "d"])), min_size=1, max_size=40))
def test_a_cut_divides_no_group_and_leaves_each_class_some_images(rows):
    images = examples(rows)
    rest, chosen = cut(images, 0.3, 0)
    assert sorted([*rest, *chosen]) == list(range(len(rows)))
    assert not (set(images.groups[rest]) & set(images.groups[chosen])) - {""}
    assert set(images.labels[rest]) == set(images.labels)


def test_images_of_no_group_are_cut_as_without_groups():
    images = examples([(number % 3, "") for number in range(100)])
    without = Files(labels=images.labels, keys=images.keys, base="nowhere", plain=images.plain)
    for seed in range(5):
        assert cut(images, 0.15, seed)[1].tolist() == cut(without, 0.15, seed)[1].tolist()


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [(r"/(\d)", ["0", "1", "2", "3"]), (r"\d", ["0", "1", "2", "3"]), ("([ab])/", ["a", "b"]), ("/(?:0|(1))", ["1"])],
)
def test_a_pattern_finds_groups_in_paths(pattern, groups, tmp_path):
    splits = open_data(save_photographs(tmp_path, 4), group=pattern, validation=0.25)
    assert sorted(splits.groups()) == groups
    assert all(len(there) == 1 for there in splits.groups().values())
    assert (len(splits.train), len(splits.validation)) == ((9, 3) if pattern != "([ab])/" else (11, 1))
    ungrouped = {"([ab])/": 4, "/(?:0|(1))": 9}.get(pattern, 0)
    assert splits.counts() == {"groups": len(groups), "ungrouped": ungrouped}


def test_a_pattern_sees_the_path_below_the_folder(tmp_path):
    save_photographs(tmp_path / "train", 2)
    splits = open_data(tmp_path, group="^(train)/a")
    assert splits.counts() == {"groups": 1, "ungrouped": 4}


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(", r"`group` must be a regular expression: .*unterminated subpattern.* Received: '\('"),
        ("patient", r"`group` must match some of the images' paths, such as a/0\.jpg\. Received: 'patient'"),
        (3, "`group` must be a regular expression"),
    ],
)
def test_a_pattern_that_finds_no_group_is_refused(pattern, says, tmp_path):
    save_photographs(tmp_path, 2)
    with pytest.raises(ValueError, match=says):
        open_data(tmp_path, group=pattern)
    if pattern != "patient":
        with pytest.raises(ValueError, match=says):
            recorded(tmp_path, group=pattern)


def test_the_column_group_of_a_table_keeps_images_together(tmp_path):
    save_photographs(tmp_path, 4, classes=("a", "b"))
    rows = [(f"{label}/{number}", label, f"object {number}") for label in "ab" for number in range(4)]
    made = table(tmp_path / "labels.csv", ("id", "label", "group"), *rows)
    splits = open_table(made, validation=0.25)
    assert splits.counts() == {"groups": 4, "ungrouped": 0}
    assert len(splits.validation) == 2
    assert len(set(splits.validation.groups)) == 1
    assert open_table(made, group="^(a)").counts() == {"groups": 1, "ungrouped": 4}, "a pattern takes precedence"
    table(made, ("id", "label", "group"), *((*row[:2], "") for row in rows))
    assert open_table(made).counts() == {}


def test_groups_that_the_sources_splits_divide_are_counted(tmp_path):
    for split in ("train", "val", "test"):
        save_photographs(tmp_path / split, 2)
    splits = open_data(tmp_path, group=r"/(\d)")
    assert splits.remarks() == ["2 groups are in more than one split, such as 0 in train and validation and test"]
