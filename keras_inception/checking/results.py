"""What `check` found, as values and as text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from keras_inception.utils.results import Result
from keras_inception.utils.tables import Column, number, text

SHOWN = 5  # images of a finding to name in the text
SHOWN_CLASSES = 30
FEW = 10  # a class of fewer training images is reported

QUALITY = {  # attribute of `Check` -> what the images are
    "single_color": "of a single color",
    "tiny": "much smaller than the others",
    "dark": "dark",
    "overexposed": "overexposed",
    "blurry": "blurry",
    "odd_shape": "much longer or wider than the others",
}


@dataclass(frozen=True, eq=False)
class Group(Result):
    """Images that are the same or nearly the same.

    Attributes:
        kind: "same" if all pixels are equal, otherwise "near".
        paths: the images. All others are near the first.
        labels: the class of each.
        splits: the split of each.
        copies: those that are equal to others in all pixels, as lists of paths.
        across_classes: whether they have several classes, so that a label is wrong.
        across_splits: whether they are in several splits, so that the test is too easy.
        accepted: whether the pairs that are known and wanted connect all of them.
    """

    kind: str
    paths: list[str]
    labels: list[str]
    splits: list[str]
    copies: list[list[str]]
    across_classes: bool
    across_splits: bool
    accepted: bool

    @property
    def remarks(self) -> str:
        """What the title of its finding does not say, in parentheses; empty if that is nothing."""
        remarks = {"in several splits too": self.across_classes and self.across_splits, "accepted": self.accepted}
        marked = ", ".join(remark for remark, holds in remarks.items() if holds)
        return f" ({marked})" if marked else ""

    @property
    def is_fault(self) -> bool:
        """Whether it spans classes or splits and is not accepted."""
        return (self.across_classes or self.across_splits) and not self.accepted


@dataclass(frozen=True, eq=False)
class Check(Result):
    """What `check` found. ``print`` shows it with the worst first; ``to_dict()`` is what ``--json`` prints.

    Paths are relative to the folder of the dataset.

    Attributes:
        source: the dataset.
        near: bits in which the hashes of nearly equal images may differ.
        splits: number of readable images by split and class.
        unreadable: images that cannot be read.
        reasons: why, for each of them.
        left_out: files and folders that are no images of a class, with the reason.
        groups: images that are the same or nearly the same, the worst first.
        named_groups: number of groups of images that belong together, by `group` or by the column of a table.
        divided_groups: those of which several splits have images, and these splits.
        similar_names: classes whose names differ only in case or blanks.
        unknown_classes: classes that only validation or test have, by split.
        few: classes with few images to train with, and their number.
        single_color: images of a single color.
        tiny: images that are much smaller than the others.
        dark: images without a bright part.
        overexposed: images without a part that is not bright.
        blurry: images that are far less sharp than the others.
        odd_shape: images that are much longer or wider than the others.
    """

    source: str
    near: int
    splits: dict[str, dict[str, int]]
    unreadable: list[str]
    reasons: dict[str, str]
    left_out: dict[str, str]
    groups: list[Group]
    named_groups: int
    divided_groups: dict[str, list[str]]
    similar_names: list[list[str]]
    unknown_classes: dict[str, list[str]]
    few: dict[str, int]
    single_color: list[str]
    tiny: list[str]
    dark: list[str]
    overexposed: list[str]
    blurry: list[str]
    odd_shape: list[str]

    def faults(self) -> list[str]:
        """Return what ``--strict`` refuses: unreadable images, and groups across classes or splits."""
        groups = [f"{group.kind}: {', '.join(group.paths)}" for group in self.groups if group.is_fault]
        return [f"{path}: {why}" for path, why in self.reasons.items()] + groups

    def summary(self) -> str:
        """Return how many images and classes there are, in one line."""
        counts = {split: sum(by_class.values()) for split, by_class in self.splits.items()}
        classes = {name for by_class in self.splits.values() for name in by_class}
        by_split = ", ".join(f"{split} {count:,}" for split, count in counts.items())
        named = f", {number(self.named_groups, 'group')} that belong together" if self.named_groups else ""
        total = sum(counts.values())
        images = f"{total:,} image{'' if total == 1 else 's'}"
        return f"{images} in {len(classes)} classes ({by_split}){named}"

    def __str__(self) -> str:
        found = [_as_text(finding) for finding in findings(self)] or ["Nothing was found."]
        return "\n\n".join([f"{self.source}: {self.summary()}", *found, _counts_text(self)])


class Finding(NamedTuple):
    """One kind of finding.

    Attributes:
        title: how many of what.
        groups: groups of images, if it is about these.
        lines: one for each class, file or folder, if it is about these.
        paths: the images, if it is about single images.
    """

    title: str
    groups: Sequence[Group] = ()
    lines: Sequence[str] = ()
    paths: Sequence[str] = ()


def findings(found: Check) -> list[Finding]:
    """Return everything that was found, the worst first."""
    labels = [group for group in found.groups if group.across_classes]
    splits = [group for group in found.groups if group.across_splits and not group.across_classes]
    others = [group for group in found.groups if not group.across_splits and not group.across_classes]
    divided = [f"{name}: {', '.join(splits)}" for name, splits in found.divided_groups.items()]
    unknown = [f"{name} (only in {split})" for split, names in found.unknown_classes.items() for name in names]
    images = "of equal or nearly equal images"
    every = [
        Finding(f"{number(len(labels), 'group')} {images} in several classes: a label is wrong", groups=labels),
        Finding(f"{number(len(splits), 'group')} {images} in several splits: the test is too easy", groups=splits),
        Finding(f"{number(len(divided), 'group')} of images that belong together in several splits", lines=divided),
        _of_paths("that cannot be read", found.unreadable)._replace(lines=_reasons(found.reasons)),
        Finding("Classes whose names differ only in case or blanks", lines=_names(found.similar_names)),
        Finding("Classes without training images", lines=unknown),
        Finding(f"Classes of fewer than {FEW} training images", lines=[f"{n}: {c}" for n, c in found.few.items()]),
        Finding(f"{number(len(others), 'group')} {images} in one class and split", groups=others),
        *(_of_paths(what, getattr(found, name)) for name, what in QUALITY.items()),
        Finding("Left out", lines=_reasons(found.left_out)),
    ]
    return [finding for finding in every if finding.groups or finding.lines or finding.paths]


def _of_paths(what: str, paths: Sequence[str]) -> Finding:
    return Finding(f"{number(len(paths), 'image')} {what}", paths=paths)


def _reasons(reasons: Mapping[str, str]) -> list[str]:
    return [f"{path}: {reason}" for path, reason in reasons.items()]


def _names(similar: Sequence[Sequence[str]]) -> list[str]:
    return [", ".join(map(repr, names)) for names in similar]


def _as_text(finding: Finding) -> str:
    lines = [*map(_group_line, finding.groups), *(finding.lines or finding.paths)]
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join([finding.title, *(f"  {line}" for line in [*lines[:SHOWN], *more])])


def _group_line(group: Group) -> str:
    more = f" and {len(group.paths) - SHOWN} more" if len(group.paths) > SHOWN else ""
    return f"{group.kind}: {', '.join(group.paths[:SHOWN])}{more}{group.remarks}"


def table_of_counts(found: Check) -> tuple[list[str], list[list]]:
    """Return the titles and rows of a table of the images by class and split, the classes with the fewest first."""
    splits = list(found.splits)
    totals: Counter[str] = Counter()
    for by_class in found.splits.values():
        totals.update(by_class)
    names = sorted(totals, key=lambda name: (totals[name], name))
    return ["class", *splits], [[name, *(found.splits[split].get(name, 0) for split in splits)] for name in names]


def _counts_text(found: Check) -> str:
    titles, rows = table_of_counts(found)
    columns = {title: Column(title, is_text=title == "class") for title in titles}
    shown = text(columns, [dict(zip(titles, row, strict=True)) for row in rows[:SHOWN_CLASSES]])
    more = f"\nand {len(rows) - SHOWN_CLASSES} more classes" if len(rows) > SHOWN_CLASSES else ""
    return shown.strip("\n") + more
