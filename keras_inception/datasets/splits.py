"""`Splits`, an opened dataset: match its classes to known ones and hold out validation images."""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from keras_inception.datasets.examples import Examples
from keras_inception.utils.files import clean_label

SHOWN = 5  # skipped files to list; the others are only counted
SPLIT_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}

SPLITS = ("train", "validation", "test")

Progress = Callable[[int, int], None]  # called with (done, total)


class Skipped(NamedTuple):
    """A file or class folder that was skipped, and the reason."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Splits:
    """An opened dataset. `labels[index]` is the name of the class with that index in a split's `Examples.labels`."""

    labels: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples
    skipped: tuple[Skipped, ...] = ()


class Found(NamedTuple):
    """A dataset before it is prepared for training or evaluation.

    Attributes:
        where: name of the dataset in messages.
        class_names: names of the classes by index.
        splits: those of "train", "validation" and "test" that exist.
        skipped: what was skipped.
    """

    where: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Examples]
    skipped: tuple[Skipped, ...] = ()

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
    return Splits(found.class_names, train, held_out, found.splits.get("test", nothing), found.skipped)


def check_share(validation: float) -> None:
    """Raise ValueError unless `validation` is in [0, 1)."""
    if not isinstance(validation, (int, float)) or not 0 <= validation < 1:
        raise ValueError(f"`validation` must be in [0, 1). Received: validation={validation!r}")


def cut(examples: Examples, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hold out a fraction of each class. Return the indices of the rest and of the held-out images, both ascending.

    A hash of the seed and the key selects the images. Each class keeps at least one image. Unless `share` is 0, at
    least one image is held out from each class with two or more.
    """
    ranked: dict[int, list[tuple[str, int]]] = {}
    for index, (key, label) in enumerate(zip(examples.keys, examples.labels.tolist(), strict=True)):
        rank = hashlib.sha256(os.fsencode(f"{seed}/{nfc(key)}")).hexdigest()
        ranked.setdefault(label, []).append((rank, index))
    chosen = np.zeros(len(examples), bool)
    for members in ranked.values():
        count = min(max(round(len(members) * share), 1), len(members) - 1) if share else 0
        chosen[[index for _, index in sorted(members)[:count]]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


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
    """Return the end of a message: how many files were skipped, and the first. Empty if there are none."""
    return f"; {len(skipped)} skipped, such as {skipped[0].path}: {skipped[0].reason}" if skipped else ""


def nfc(name: str) -> str:
    """Return a name in Unicode's composed form."""
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return nfc(nfc(name).casefold())
