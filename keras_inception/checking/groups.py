"""Groups of images that are the same or nearly the same, found by bands of their perceptual hashes."""

from typing import NamedTuple

import numpy as np

from keras_inception.checking.measures import FLAT
from keras_inception.utils.progress import Progress, counted, silent

BITS = 64
MAX_NEAR = 16
# Brightness and contrast may differ by a fifth, and then each cell of the two grids by this many of 256 levels.
GAIN, SHIFT = 1.2, 40
LUMA, CHROMA = 24, 20


class Members(NamedTuple):
    """Images of which each is the same as the first or near it.

    Attributes:
        kind: "same" if all pixels of all of them are equal, otherwise "near".
        indices: their indices, beginning with the first one.
        copies: those of them that are equal to others in all pixels, as lists of two or more.
    """

    kind: str
    indices: tuple[int, ...]
    copies: tuple[tuple[int, ...], ...]


def find_groups(measures: np.ndarray, near: int, progress: Progress = silent) -> list[Members]:
    """Return disjoint groups of images, two or more in each.

    Every member is within `near` bits of the perceptual hash of the group's first image, and its colors are alike, so
    that no chain of small steps leads from one image to another. The image with the most neighbors comes first.

    Args:
        measures: `MEASURES` of the images, (n,).
        near: bits in which hashes may differ, 0 to `MAX_NEAR`.
        progress: called with the name of the step, the number of images done and the total.
    """
    copies: dict[int, list[int]] = {}
    first_with: dict[bytes, int] = {}
    for index, digest in enumerate(measures["sha256"].tolist()):
        copies.setdefault(first_with.setdefault(digest, index), []).append(index)
    groups = []
    for leader, *others in _clusters(measures, np.array(list(copies), np.intp), near, progress):
        members = [index for first in (leader, *sorted(others)) for index in copies[first]]
        equal = tuple(tuple(copies[first]) for first in (leader, *sorted(others)) if len(copies[first]) > 1)
        if len(members) > 1:
            groups.append(Members("near" if others else "same", tuple(members), equal))
    return groups


def _clusters(measures: np.ndarray, indices: np.ndarray, near: int, progress: Progress) -> list[list[int]]:
    """Divide images of different pixels into lists, in each of which all are near the first."""
    flat = measures["contrast"][indices] < FLAT
    clusters = [[index] for index in indices[flat].tolist()]
    indices = indices[~flat]
    search = _Search(measures["phash"][indices], near)
    counts = search.counts(progress)
    taken = np.zeros(len(indices), bool)
    for leader in np.argsort(-counts, kind="stable").tolist():
        if taken[leader]:
            continue
        members = np.array([leader])
        if counts[leader] > 1:
            others = search.within(leader)
            others = others[~taken[others] & (others != leader)]
            colors = measures["colors"]
            others = others[alike(colors[indices[leader]], colors[indices[others]])]
            members = np.append(members, others)
        taken[members] = True
        clusters.append(indices[members].tolist())
    return clusters


class _Search:
    """Finds the hashes within some bits of another.

    The bits are divided into one more band than may differ, so that two hashes within the threshold are equal in one
    band at least. Only hashes that share a band are compared. A band takes every so many bits, since those of
    neighboring frequencies depend on each other.
    """

    def __init__(self, hashes: np.ndarray, near: int):
        self.near = near
        self.values, self.inverse, self.repeats = np.unique(hashes, return_inverse=True, return_counts=True)
        self.order = np.argsort(self.inverse, kind="stable")
        self.ends = np.cumsum(self.repeats)
        self.bands = []
        for first in range(near + 1):
            mask = np.uint64(sum(1 << bit for bit in range(first, BITS, near + 1)))
            parts = self.values & mask
            order = np.argsort(parts, kind="stable")
            self.bands.append((mask, order, parts[order]))

    def counts(self, progress: Progress) -> np.ndarray:
        """Return the number of hashes within the threshold of each, itself among them."""
        values = counted(range(len(self.values)), "Comparing images", len(self.values), progress)
        counts = [self.repeats[self._values_within(value)].sum() for value in values]
        return np.array(counts, np.int64)[self.inverse]

    def within(self, index: int) -> np.ndarray:
        """Return the sorted indices of the hashes within the threshold of one."""
        found = [
            self.order[self.ends[at] - self.repeats[at] : self.ends[at]]
            for at in self._values_within(self.inverse[index])
        ]
        return np.sort(np.concatenate(found))

    def _values_within(self, at: int) -> np.ndarray:
        value = self.values[at]
        sharing = []
        for mask, order, parts in self.bands:
            start, end = np.searchsorted(parts, value & mask), np.searchsorted(parts, value & mask, side="right")
            sharing.append(order[start:end])
        candidates = np.concatenate(sharing)
        return np.unique(candidates[bits(self.values[candidates] ^ value) <= self.near])


def bits(values: np.ndarray) -> np.ndarray:
    """Return the number of bits that are set in each value, uint64 (n,)."""
    pairs, fours, bytes_, sums = map(
        np.uint64, (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x0101010101010101)
    )
    values = values - ((values >> np.uint64(1)) & pairs)
    values = (values & fours) + ((values >> np.uint64(2)) & fours)
    return (((values + (values >> np.uint64(4))) & bytes_) * sums) >> np.uint64(56)


def alike(grid: np.ndarray, grids: np.ndarray) -> np.ndarray:
    """Return which grids have the colors of one, bool (n,).

    The hash knows no colors, and little of how bright something is. Brightness and contrast may differ as a whole,
    hues may not in any cell.

    Args:
        grid: Y, Cb and Cr of each cell, uint8 (rows, columns, 3).
        grids: those of others, uint8 (n, rows, columns, 3).
    """
    one = grid.reshape(-1, 3).astype(np.float32)
    others = grids.reshape(len(grids), len(one), 3).astype(np.float32)
    hues = np.abs(others[..., 1:] - one[:, 1:]).max(axis=(1, 2), initial=0)
    light, lights = one[:, 0], others[..., 0]
    shift = lights.mean(axis=1) - light.mean()
    centered, others_centered = light - light.mean(), lights - lights.mean(axis=1, keepdims=True)
    gain = np.clip(others_centered @ centered / max(centered @ centered, 1), 1 / GAIN, GAIN)
    residual = np.abs(others_centered - gain[:, None] * centered).max(axis=1, initial=0)
    return (hues <= CHROMA) & (np.abs(shift) <= SHIFT) & (residual <= LUMA)
