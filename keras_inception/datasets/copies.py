"""Find images whose stored bytes are in two splits, without decoding them and reading hardly any others."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from keras_inception.datasets.splits import SPLITS, Splits


class Copy(NamedTuple):
    """An image of validation or test, and one with the same bytes in a split before it."""

    path: str
    original: str


def copies_across(splits: Splits) -> list[Copy]:
    """Return the images of validation and test whose bytes are those of an image in a split before them.

    Raises:
        OSError: a file cannot be read.
    """
    parts = [getattr(splits, split) for split in SPLITS]
    alike: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for part, examples in enumerate(parts):
        for index, clue in enumerate(examples.clues()):
            alike[clue].append((part, index))
    copies = []
    for places in alike.values():
        if len({part for part, _ in places}) < 2:
            continue
        originals: dict[bytes, tuple[int, int]] = {}
        for part, index in places:
            digest = hashlib.sha256(parts[part].content(index)).digest()
            first, original = originals.setdefault(digest, (part, index))
            if first != part:
                copies.append(Copy(parts[part].path(index), parts[first].path(original)))
    return sorted(copies)


def in_words(copies: Sequence[Copy]) -> str:
    """Return how many images were found, and the first."""
    path, original = copies[0]
    if len(copies) == 1:
        return f"{path} has the same bytes as {original}, in another split"
    return f"{len(copies)} images of validation and test are in another split too, such as {path}, which is {original}"
