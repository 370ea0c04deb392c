"""`Splits`: a set of pictures, opened; how its classes are matched with known ones, and a validation split cut out."""

import hashlib
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from keras_inception.datasets.examples import Examples

SHOWN = 5  # of what was left out; the rest is a number

Progress = Callable[[int, int], None]  # called with (done, in all)


class Skipped(NamedTuple):
    """A file, or a class folder, that was left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Splits:
    """A set of pictures, opened: `labels[number]` is the class of the number that a split's `Examples.labels` has."""

    labels: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples
    skipped: tuple[Skipped, ...] = ()


class Found(NamedTuple):
    """A set of pictures as it lies there.

    Attributes:
        where: what messages call it.
        labels: names of the classes by number.
        splits: of "train", "validation" and "test" those that it has.
    """

    where: str
    labels: tuple[str, ...]
    splits: Mapping[str, Examples]
    skipped: tuple[Skipped, ...] = ()


def make_splits(found: Found, *, validation: float, seed: int, all_classes: bool) -> Splits:
    """The splits to train with: a missing validation split is cut out of train.

    Args:
        found: the set.
        validation, seed: share and seed of the `cut`.
        all_classes: keep the classes without training pictures, which otherwise are left out of the labels.

    Raises:
        ValueError: there is no train split, train has fewer than two classes, or another split has a class that train
            has not, and not `all_classes`.
    """
    check_share(validation)
    if "train" not in found.splits:
        raise ValueError(f"{found.where} has {', '.join(found.splits) or 'no splits'}, but no train split")
    labels, splits = found.labels, dict(found.splits)
    if not all_classes:
        labels, splits = _without_empty_classes(labels, splits)
    train = splits["train"]
    if len(np.unique(train.labels)) < 2:
        raise ValueError(f"{found.where} must have training pictures of two or more classes{such_as(found.skipped)}")
    nothing = train.select([])
    held_out = splits.get("validation", nothing)
    if not len(held_out):
        rest, chosen = cut(train, validation, seed)
        train, held_out = train.select(rest), train.select(chosen)
    return Splits(labels, train, held_out, splits.get("test", nothing), found.skipped)


def first_split(found: Found, prefer: Sequence[str]) -> tuple[Examples, tuple[Skipped, ...]]:
    """The pictures of the first of the splits `prefer` that is there, and what was left out; ValueError if none is."""
    for split in prefer:
        if split in found.splits:
            return found.splits[split], found.skipped
    raise ValueError(f"{found.where} has {', '.join(found.splits) or 'no splits'}, but none of {', '.join(prefer)}")


def check_share(validation: float) -> None:
    """ValueError unless it is a share of pictures to cut out."""
    if not 0 <= validation < 1:
        raise ValueError(f"`validation` must be in [0, 1). Received: validation={validation!r}")


def cut(examples: Examples, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut the given share out of each class: the numbers of (the rest, the share), ascending.

    Which ones is decided by a hash of the seed and the key. At least one picture of each class is kept, and if the
    share is not 0 at least one of each class of two or more is cut out.
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


def class_numbers(names: Sequence[str], labels: Sequence[str]) -> list[int | None]:
    """The place of each name among the labels, None if it has none.

    Names are compared in Unicode's composed form (NFC), and without regard to case if that is unambiguous.
    """
    exact = {nfc(label): number for number, label in enumerate(labels)}
    folded = {_folded(label): number for number, label in enumerate(labels)}
    if len(folded) < len(labels):
        folded = {}
    return [exact.get(nfc(name), folded.get(_folded(name))) for name in names]


def arranged(found: Found, labels: Sequence[str] | None) -> Found:
    """The same, each split ordered by class and key, and with the numbers that the classes have among `labels`.

    Raises:
        ValueError: a class that has pictures is not among `labels`.
    """
    table = np.arange(len(found.labels))
    if labels is not None:
        numbers = class_numbers(found.labels, labels)
        for number in np.unique(np.concatenate([examples.labels for examples in found.splits.values()])).tolist():
            if numbers[number] is None:
                raise unknown_class(found.where, found.labels[number], labels)
        table = np.array([-1 if number is None else number for number in numbers])
    splits = {}
    for split, examples in found.splits.items():
        numbered = examples.relabelled(table[examples.labels])
        rows = list(zip(numbered.labels.tolist(), numbered.keys.tolist(), strict=True))
        splits[split] = numbered.select(sorted(range(len(rows)), key=rows.__getitem__))
    return found._replace(labels=found.labels if labels is None else tuple(labels), splits=splits)


def unknown_class(where: str, name: str, labels: Sequence[str]) -> ValueError:
    """The error that a set has a class that is not among those that are known."""
    return ValueError(f"{where}: {name!r} is not one of the {len(labels)} classes: {', '.join(labels):.300}")


def left_out(skipped: Sequence[Skipped], listed: str | os.PathLike | None = None) -> list[str]:
    """Return lines that tell what was left out: the first five, and how many more.

    Args:
        listed: the file that lists them all, if there is one.
    """
    lines = [f"left out {path}: {reason}" for path, reason in skipped[:SHOWN]]
    if len(skipped) > SHOWN:
        lines.append(f"and {len(skipped) - SHOWN} more" + (f", listed in {listed}" if listed else ""))
    return lines


def such_as(skipped: Sequence[Skipped]) -> str:
    """The end of a sentence that tells what was left out."""
    if not skipped:
        return ""
    return f"; {len(skipped)} left out, such as {skipped[0].path}: {skipped[0].reason}"


def nfc(name: str) -> str:
    """A name in Unicode's composed form."""
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return nfc(nfc(name).casefold())


def _without_empty_classes(
    names: tuple[str, ...], splits: dict[str, Examples]
) -> tuple[tuple[str, ...], dict[str, Examples]]:
    """Names and splits numbered anew, without the classes that have no training pictures."""
    kept = np.unique(splits["train"].labels)
    number = np.full(len(names), -1, np.int32)
    number[kept] = np.arange(len(kept))
    for split in ("validation", "test"):
        if split in splits:
            strange = np.flatnonzero(number[splits[split].labels] < 0)
            if strange.size:
                first = int(strange[0])
                name = names[splits[split].labels[first]]
                raise ValueError(f"{splits[split].name(first)}: train has no pictures of the class {name!r}")
    numbered = {split: examples.relabelled(number[examples.labels]) for split, examples in splits.items()}
    return tuple(names[label] for label in kept), numbered
