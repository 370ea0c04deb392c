"""`Splits`, an opened dataset: match its classes to known ones and hold out validation images."""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from keras_inception.datasets.examples import Examples, Files
from keras_inception.utils import tables
from keras_inception.utils.files import clean_label

SHOWN = 5  # skipped files to list; the others are only counted
SPLIT_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}

SPLITS = ("train", "validation", "test")

Progress = Callable[[int, int], None]  # called with (done, total)
NO_IMAGES = "no images"  # the reason why a class is skipped


class Skipped(NamedTuple):
    """A file or class folder that was skipped, and the reason."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Splits:
    """An opened dataset.

    Attributes:
        labels: names of the classes by their index in a split's `Examples.labels`.
        train: images to train on.
        validation: images that were held out, or are in a split of their own.
        test: images of the test split.
        skipped: what was skipped.
        excluded: number of images that were excluded.
    """

    labels: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples
    skipped: tuple[Skipped, ...] = ()
    excluded: int = 0

    def named(self) -> dict[str, Examples]:
        """Return the splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def groups(self) -> dict[str, list[str]]:
        """Return the splits that have images of each group, by its name."""
        return splits_of_groups(self.named())

    def counts(self) -> dict[str, int]:
        """Return the numbers of groups, of images in none, and of excluded images, without those of what is not used.

        The keys are ``groups``, ``ungrouped`` and ``excluded``.
        """
        counts = {}
        if groups := self.groups():
            every = [group for each in self.named().values() if each.groups is not None for group in each.groups]
            counts = {"groups": len(groups), "ungrouped": every.count("")}
        return counts | ({"excluded": self.excluded} if self.excluded else {})

    def remarks(self) -> list[str]:
        """Return lines about excluded images and about groups that the source's own splits divide."""
        lines = [f"excluded {tables.number(self.excluded, 'image')}"] if self.excluded else []
        divided = {group: splits for group, splits in self.groups().items() if len(splits) > 1}
        for group, splits in list(divided.items())[:1]:
            verb = "is" if len(divided) == 1 else "are"
            there = f"such as {group} in {' and '.join(splits)}"
            lines.append(f"{tables.number(len(divided), 'group')} {verb} in more than one split, {there}")
        return lines

    def rows(self) -> list[dict[str, str]]:
        """Return the table of the images, which `open_table` reads: path, label, split and, if there are any, group."""
        rows = []
        has_groups = bool(self.groups())
        for split, examples in self.named().items():
            for index, label in enumerate(examples.labels.tolist()):
                row = {"path": examples.path(index), "label": self.labels[label], "split": split}
                group = "" if examples.groups is None else examples.groups[index]
                rows.append({**row, "group": group} if has_groups else row)
        return rows

    def fingerprints(self) -> dict[str, str]:
        """Return hashes of the paths, labels and contents of the training and validation images, by split."""
        return {split: _fingerprint(getattr(self, split)) for split in ("train", "validation")}

    def changed(self, fingerprints: Mapping[str, str], splits: Container[str] = ("train", "validation")) -> list[str]:
        """Return the splits whose images are not those of the fingerprints that were recorded, if there are any.

        Args:
            fingerprints: those that were recorded, by split.
            splits: the splits to compare, all of whose images are read.
        """
        return [
            split
            for split, recorded in fingerprints.items()
            if split in splits
            and recorded != _fingerprint(examples := self.named()[split])
            and recorded != examples.fingerprint_0_1()
        ]


def _fingerprint(examples: Examples) -> str:
    files = isinstance(examples, Files)
    return examples.fingerprint(examples.paths() if files else None)


class Found(NamedTuple):
    """A dataset before it is prepared for training or evaluation.

    Attributes:
        where: name of the dataset in messages.
        class_names: names of the classes by index.
        splits: those of "train", "validation" and "test" that exist.
        skipped: what was skipped.
        excluded: number of images that were excluded.
    """

    where: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Examples]
    skipped: tuple[Skipped, ...] = ()
    excluded: int = 0

    def arranged(self, class_names: Sequence[str] | None) -> "Found":
        """Return the dataset with each split ordered by class and key, and its labels as indices into `class_names`.

        Raises:
            ValueError: a class with images is not among `class_names`.
        """
        class_names = tuple(map(clean_label, self.class_names) if class_names is None else class_names)
        same = class_names == self.class_names
        numbers = range(len(class_names)) if same else class_numbers(self.class_names, class_names)
        for label in np.unique(np.concatenate([examples.labels for examples in self.splits.values()])).tolist():
            if numbers[label] is None:
                raise unknown_class(self.where, self.class_names[label], class_names)
        table = np.array([-1 if number is None else number for number in numbers])
        splits = {}
        for split, examples in self.splits.items():
            numbered = examples.relabelled(table[examples.labels])
            splits[split] = numbered.select(np.lexsort((numbered.keys.astype(str), numbered.labels)))
        return self._replace(class_names=class_names, splits=splits)

    def without(self, excluded: Container[str]) -> "Found":
        """Return the dataset without the images whose `Examples.path` is excluded."""
        splits = {}
        for split, examples in self.splits.items():
            kept = [index for index in range(len(examples)) if examples.path(index) not in excluded]
            splits[split] = examples.select(kept)
        count = sum(map(len, self.splits.values())) - sum(map(len, splits.values()))
        return self._replace(splits=splits, excluded=self.excluded + count)

    def grouped(self, pattern: str) -> "Found":
        """Return the dataset with the groups that a regular expression finds in the images' paths.

        The group is what the first parentheses match, or the whole match if there are none. An image without a match
        is in no group.

        Raises:
            ValueError: no path matches.
        """
        expression = group_expression(pattern)
        splits, example, matches = {}, "", False
        for split, examples in self.splits.items():
            paths = examples.paths() if isinstance(examples, Files) else examples.keys
            groups = []
            for path in paths:
                match = expression.search(path)
                groups.append((match[1 if expression.groups else 0] or "") if match else "")
                example = example or path
            splits[split] = replace(examples, groups=np.array(groups, object))
            matches = matches or any(groups)
        if example and not matches:
            raise ValueError(f"`group` must match some of the images' paths, such as {example}. Received: {pattern!r}")
        return self._replace(splits=splits)

    def without_empty_classes(self) -> "Found":
        """Return the dataset without the classes that have no training images, with the others renumbered.

        Raises:
            ValueError: another split has images of such a class.
        """
        kept = np.unique(self.splits["train"].labels)
        number = np.full(len(self.class_names), -1, np.int32)
        number[kept] = np.arange(len(kept))
        for examples in self.splits.values():
            unknown = np.flatnonzero(number[examples.labels] < 0)
            if unknown.size:
                name = self.class_names[examples.labels[unknown[0]]]
                raise ValueError(f"{examples.name(unknown[0])}: train has no images of the class {name!r}")
        splits = {split: examples.relabelled(number[examples.labels]) for split, examples in self.splits.items()}
        return self._replace(class_names=tuple(self.class_names[label] for label in kept), splits=splits)

    def first(self, prefer: Sequence[str]) -> Examples:
        """Return the images of the first split in `prefer` that exists.

        Raises:
            ValueError: none of them exists, or it has no images.
        """
        chosen = next((self.splits[split] for split in prefer if split in self.splits), None)
        if chosen is None:
            existing = ", ".join(self.splits) or "no splits"
            raise ValueError(f"{self.where} has {existing}, but none of {', '.join(prefer)}")
        if not len(chosen):
            raise ValueError(f"{self.where} has no images{such_as(self.skipped)}")
        return chosen


def splits_of_groups(splits: Mapping[str, Examples]) -> dict[str, list[str]]:
    """Return the splits that have images of each group, by its name."""
    found: dict[str, list[str]] = {}
    for split in SPLITS:
        groups = splits[split].groups if split in splits else None
        for group in [] if groups is None else dict.fromkeys(groups.tolist()):
            if group:
                found.setdefault(group, []).append(split)
    return found


def make_splits(found: Found, *, validation: float, seed: int, all_classes: bool) -> Splits:
    """Return the splits for training. If there is no validation split, hold one out from train.

    Args:
        found: the dataset.
        validation: fraction to hold out, as for `cut`.
        seed: seed, as for `cut`.
        all_classes: keep classes without training images, which are dropped otherwise.

    Raises:
        ValueError: there is no train split, it has fewer than two classes, or another split has a class that it lacks
            and `all_classes` is false.
    """
    if "train" not in found.splits:
        raise ValueError(f"{found.where} has {', '.join(found.splits) or 'no splits'}, but no train split")
    if not all_classes:
        found = found.without_empty_classes()
    train = found.splits["train"]
    if len(np.unique(train.labels)) < 2:
        raise ValueError(f"{found.where} must have training images of two or more classes{such_as(found.skipped)}")
    nothing = train.select([])
    held_out = found.splits.get("validation", nothing)
    if not len(held_out):
        rest, chosen = cut(train, validation, seed)
        train, held_out = train.select(rest), train.select(chosen)
    test = found.splits.get("test", nothing)
    return Splits(found.class_names, train, held_out, test, found.skipped, found.excluded)


def check_share(validation: float) -> None:
    """Raise ValueError unless `validation` is in [0, 1)."""
    if not isinstance(validation, (int, float)) or not 0 <= validation < 1:
        raise ValueError(f"`validation` must be in [0, 1). Received: validation={validation!r}")


def group_expression(pattern: str) -> re.Pattern:
    """Return the regular expression of `Found.grouped`; ValueError if it is none."""
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"`group` must be a regular expression: {error}. Received: {pattern!r}") from None


def cut(examples: Examples, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hold out a fraction of each class. Return the indices of the rest and of the held-out images, both ascending.

    Groups are held out whole, and an image of no group is a group of its own. A hash of the seed and the group's name,
    or the image's key, puts them in order; each is held out if that brings the classes nearer to their fraction. Each
    class keeps at least one image. Unless `share` is 0, at least one image is held out from each class if its groups
    allow it.
    """
    labels = examples.labels.tolist()
    left = Counter(labels)
    wanted = Counter({label: min(max(round(n * share), 1), n - 1) if share else 0 for label, n in left.items()})
    groups = [(members, Counter(labels[index] for index in members)) for members in _in_order(examples, seed)]
    chosen = np.zeros(len(examples), bool)

    def hold_out(members: list[int], counts: Counter[int]) -> None:
        chosen[members] = True
        left.subtract(counts)
        wanted.subtract(counts)

    def leaves_some(counts: Counter[int]) -> bool:
        return all(left[label] > count for label, count in counts.items())

    for members, counts in groups:
        nearer = sum(abs(wanted[label]) - abs(wanted[label] - count) for label, count in counts.items())
        if nearer > 0 and leaves_some(counts):
            hold_out(members, counts)
    without = set(labels) - {labels[index] for index in np.flatnonzero(chosen)} if share else set()
    for members, counts in sorted(groups, key=lambda group: len(group[0])) if without else ():
        if without & counts.keys() and leaves_some(counts) and not chosen[members[0]]:
            hold_out(members, counts)
            without -= counts.keys()
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _in_order(examples: Examples, seed: int) -> Iterator[list[int]]:
    """Yield the indices of each group's images, and of each image of no group, in an order that the seed decides."""
    groups = [""] * len(examples) if examples.groups is None else examples.groups.tolist()
    ranks: dict[str | int, str] = {}
    members: dict[str | int, list[int]] = {}
    for index, (key, group) in enumerate(zip(examples.keys, groups, strict=True)):
        members.setdefault(group or index, []).append(index)
        if (group or index) not in ranks:
            ranks[group or index] = hashlib.sha256(os.fsencode(f"{seed}/{nfc(group or key)}")).hexdigest()
    for each in sorted(ranks, key=lambda each: (ranks[each], members[each][0])):
        yield members[each]


def class_numbers(names: Sequence[str], class_names: Sequence[str]) -> list[int | None]:
    """Return the index of each name among the class names, or None.

    Names are compared in Unicode's composed form (NFC), ignoring blanks after them, and case if that is unambiguous.

    Raises:
        ValueError: several classes have one of the names.
    """
    names, class_names = list(map(clean_label, names)), list(map(clean_label, class_names))
    counts = Counter(map(nfc, class_names))
    for name in names:
        if (count := counts[nfc(name)]) > 1:
            raise ValueError(f"only one class can have the images of {name!r}. Received: {count} labels of this name")
    exact = {nfc(name): number for number, name in enumerate(class_names)}
    folded = {_folded(name): number for number, name in enumerate(class_names)}
    if len(folded) < len(class_names):
        folded = {}
    return [exact.get(nfc(name), folded.get(_folded(name))) for name in names]


def unknown_class(where: str, name: str, class_names: Sequence[str]) -> ValueError:
    """Return the error for a class that is not among the known ones."""
    return ValueError(f"{where}: {name!r} is not one of the {len(class_names)} classes: {', '.join(class_names):.300}")


def left_out(skipped: Sequence[Skipped], listed: str | os.PathLike | None = None) -> list[str]:
    """Return lines that list what was skipped: the first five, then how many more.

    Args:
        skipped: what was skipped.
        listed: the file that lists all of it, if there is one.
    """
    lines = [f"left out {path}: {reason}" for path, reason in skipped[:SHOWN]]
    if len(skipped) > SHOWN:
        lines.append(f"and {len(skipped) - SHOWN} more" + (f", listed in {listed}" if listed else ""))
    return lines


def check_none_skipped(skipped: Sequence[Skipped], strict: bool) -> None:
    """Raise ValueError with a list of what was skipped if there is any and `strict` is true."""
    if strict and skipped:
        listed = "\n".join(f"{path}: {reason}" for path, reason in skipped)
        raise ValueError(f"{len(skipped)} of the files and classes cannot be used:\n{listed}")


def such_as(skipped: Sequence[Skipped]) -> str:
    """Return the end of a message: how many were skipped, and one of them, a file if possible. Empty without any."""
    if not skipped:
        return ""
    first = next((each for each in skipped if each.reason != NO_IMAGES), skipped[0])
    return f"; {len(skipped)} skipped, such as {first.path}: {first.reason}"


def nfc(name: str) -> str:
    """Return a name in Unicode's composed form."""
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return nfc(nfc(name).casefold())
