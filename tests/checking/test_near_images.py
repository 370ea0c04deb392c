import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_inception.checking.groups import bits, find_groups
from keras_inception.checking.measures import MEASURES

hashes = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6)
changes = st.lists(st.tuples(st.integers(0, 5), st.sets(st.integers(0, 63), max_size=6)), max_size=40)


def measures(values, pixels=None):
    """Return measures of images with these hashes, all of one color grid."""
    table = np.zeros(len(values), MEASURES)
    table["phash"] = values
    table["contrast"] = 50
    table["sha256"] = [f"{each}".encode() for each in (range(len(values)) if pixels is None else pixels)]
    return table


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_bits_are_counted(values):
    assert bits(np.array(values, np.uint64)).tolist() == [value.bit_count() for value in values]


@given(
    hashes,
    st.lists(st.tuples(st.integers(0, 5), st.sets(st.integers(0, 63), max_size=6)), max_size=40),
    st.integers(0, 6),
)
def test_groups_are_disjoint_and_within_the_threshold_of_their_first_image(seeds, changes, near):
    values = seeds + [seeds[at % len(seeds)] ^ sum(1 << bit for bit in flipped) for at, flipped in changes]
    groups = find_groups(measures(values), near)
    members = [index for group in groups for index in group.indices]
    assert len(members) == len(set(members))
    leaders = [group.indices[0] for group in groups] + sorted(set(range(len(values))) - set(members))
    for group in groups:
        assert all((values[group.indices[0]] ^ values[index]).bit_count() <= near for index in group.indices)
    alone = leaders[len(groups) :]
    for one in alone:
        for other in alone:  # whatever could be a group is one
            assert one == other or (values[one] ^ values[other]).bit_count() > near


def test_a_chain_does_not_run_away():
    values = [(1 << step) - 1 for step in range(0, 20, 2)]
    groups = find_groups(measures(values), 2)
    assert max(len(group.indices) for group in groups) == 3
    assert groups[0].indices == (1, 0, 2)  # the first of those with the most neighbors


def test_a_group_is_the_same_only_if_all_pixels_are():
    groups = find_groups(measures([5, 5, 5, 9, 2**40], [0, 0, 0, 1, 2]), 2)
    assert [(group.kind, group.indices, group.copies) for group in groups] == [("near", (0, 1, 2, 3), ((0, 1, 2),))]
    groups = find_groups(measures([5, 5, 5, 9, 2**40], [0, 0, 0, 1, 2]), 0)
    assert [(group.kind, group.indices) for group in groups] == [("same", (0, 1, 2))]


@pytest.mark.parametrize("near", [0, 4, 16])
def test_many_images_of_one_hash_are_one_group(near):
    (group,) = find_groups(measures([3] * 3000), near)
    assert group.indices == tuple(range(3000))
