"""Check labeled images: copies within and across classes and splits, and images or classes that need a look."""

import functools
import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_inception.checking import quality, report
from keras_inception.checking.groups import MAX_NEAR, Members, find_groups
from keras_inception.checking.images import Images
from keras_inception.checking.measures import measure
from keras_inception.checking.pairs import Pair, connected, read_pairs
from keras_inception.checking.results import FEW, Check, Group
from keras_inception.datasets.folder import IMAGE_SUFFIX
from keras_inception.datasets.sources import Exclude, Source, recorded, survey
from keras_inception.datasets.splits import Found, splits_of_groups
from keras_inception.datasets.tables import Columns, is_table
from keras_inception.utils.progress import Progress, silent

NEAR = 4


def check(
    pictures: Source,
    *,
    root: str | os.PathLike | None = None,
    columns: Columns | None = None,
    group: str | None = None,
    exclude: Exclude | None = None,
    near: int = NEAR,
    accept: str | os.PathLike | None = None,
    output: str | os.PathLike | None = None,
    on_progress: Progress = silent,
) -> Check:
    """Look through labeled images: the same one twice, labels that contradict, and images that show little.

    The same image is found by the SHA-256 of its pixels, so in other files and formats too; nearly the same one by its
    perceptual hash (ImageHash's `phash`, 64 bits) and its colors, so in other sizes, in other qualities, and a little
    brighter or darker. Images of a single color have no such hash. Memory grows by some 1.5 KB an image.

    Example::

        found = keras_inception.check("flowers", output="checked")
        print(found)
        leaks = [group.paths for group in found.groups if group.across_splits]

    Args:
        pictures: a folder, or any other source that `train` accepts. It is taken as it is: no split is cut.
        root: the folder that the paths in a table of labels are relative to. Default: that of the table.
        columns: names of a table's columns of paths and of labels, a pair or ``"PATH,LABEL"``.
        group: regular expression that finds the name of an image's group in its path, as for `train`.
        exclude: images to leave out: a CSV file with a column ``path``, such as ``suggested.csv``, or the paths.
        near: bits in which the hashes of nearly equal images may differ, 0 to 16.
        accept: CSV file with pairs of images that are known and wanted: columns ``path`` and ``other``.
        output: folder to write ``report.html``, ``pairs.csv`` and ``suggested.csv`` to. Those of an earlier check are
            replaced.
        on_progress: called with the name of the step, the number of images done and the total.

    Raises:
        FileExistsError: `output` holds something else than a check.
        ValueError: there is no such source, or an argument is out of range.
        OSError: a file cannot be read or written.
    """
    dataset: dict[str, Any] = {"root": root, "columns": columns, "group": group, "exclude": exclude}
    pairs = check_arguments(pictures, dataset, near=near, accept=accept, output=output)
    found = survey(pictures, **dataset, progress=functools.partial(on_progress, "Scanning images"))
    images = Images(found)
    folder = _folder(pictures, root)
    measures, failed = measure(images, on_progress)
    indices = np.setdiff1d(np.arange(len(images)), list(failed))
    measures = measures[indices]
    clusters = find_groups(measures, near, on_progress)
    wanted = [(_from(folder, one), _from(folder, other)) for one, other in pairs]
    groups = [_group(images, indices, members, wanted) for members in clusters]
    missing = {path: why for path, why in found.skipped if not os.path.exists(path)}
    reasons = {_relative(path, folder): why for path, why in missing.items()}
    named = {images.path(index): why for index, why in failed.items()}
    reasons |= {path: why for path, why in named.items() if is_table(pictures) or IMAGE_SUFFIX.fullmatch(path)}
    counts = _counts(found, images, indices)
    named_groups = splits_of_groups(found.splits)
    result = Check(
        source=os.fspath(pictures),
        near=near,
        splits=counts,
        unreadable=sorted(reasons),
        reasons=dict(sorted(reasons.items())),
        left_out={_relative(path, folder): why for path, why in found.skipped if path not in missing},
        groups=sorted(groups, key=_severity),
        named_groups=len(named_groups),
        divided_groups={name: splits for name, splits in named_groups.items() if len(splits) > 1},
        similar_names=_similar_names(images),
        unknown_classes=_unknown_classes(counts),
        few=_few(counts),
        **{
            name: [images.path(index) for index in indices[places].tolist()]
            for name, places in quality.poor(measures).items()
        },
    )
    if output is not None:
        report.write(result, images, output, dataset, on_progress)
    return result


def check_arguments(
    pictures: Source,
    dataset: Mapping[str, Any],
    *,
    near: int,
    accept: str | os.PathLike | None,
    output: str | os.PathLike | None,
) -> list[Pair]:
    """Return the pairs in `accept`, if the arguments of `check` are valid; raise its errors otherwise.

    `dataset` has those that say more of `pictures`: root, columns, group and exclude.
    """
    if not isinstance(near, int) or not 0 <= near <= MAX_NEAR:
        raise ValueError(f"`near` must be a number of bits, 0 to {MAX_NEAR}. Received: near={near!r}")
    recorded(pictures, **dataset)
    if output is not None:
        report.check_output(output)
    return [] if accept is None else read_pairs(accept)


def _folder(source: Source, root: str | os.PathLike | None) -> str | None:
    """Return the folder that paths are relative to, or None if there is none."""
    if is_table(source):
        return os.fspath(Path(source).parent if root is None else root)
    return os.fspath(source) if os.path.isdir(source) else None


def _relative(path: str, folder: str | None) -> str:
    return path if folder is None else Path(os.path.relpath(path, folder)).as_posix()


def _from(folder: str | None, path: str) -> str:
    """Return a path that is relative to the folder or to the working directory as relative to the folder."""
    if folder is None or (os.path.exists(os.path.join(folder, path)) and not os.path.isabs(path)):
        return Path(path).as_posix()
    return _relative(path, folder)


def _group(images: Images, indices: np.ndarray, members: Members, wanted: list[Pair]) -> Group:
    all_indices = indices[list(members.indices)].tolist()
    paths = [images.path(index) for index in all_indices]
    labels, splits = images.labels[all_indices].tolist(), images.splits[all_indices].tolist()
    return Group(
        kind=members.kind,
        paths=paths,
        labels=labels,
        splits=splits,
        copies=[[images.path(index) for index in indices[list(copies)].tolist()] for copies in members.copies],
        across_classes=len(set(labels)) > 1,
        across_splits=len(set(splits)) > 1,
        accepted=bool(wanted) and connected(paths, wanted),
    )


def _severity(group: Group) -> tuple:
    return group.accepted, not group.across_classes, not group.across_splits, group.kind != "same", -len(group.paths)


def _counts(found: Found, images: Images, indices: np.ndarray) -> dict[str, dict[str, int]]:
    """Return the number of readable images by split and class; a class is listed in all splits."""
    counts = {split: dict.fromkeys(found.class_names, 0) for split in images.names}
    for split, label in zip(images.splits[indices], images.labels[indices], strict=True):
        counts[split][label] += 1
    return counts


def _similar_names(images: Images) -> list[list[str]]:
    """Return the names of classes, as the dataset spells them, that differ only in case or blanks."""
    spellings: dict[str, set[str]] = {}
    for index, label in enumerate(images.labels):
        folder = images.key(index).partition("/")[0]  # `label` has no blanks after it
        spellings.setdefault(_bare(label), set()).add(folder if _bare(folder) == _bare(label) else label)
    return [sorted(names) for names in spellings.values() if len(names) > 1]


def _bare(name: str) -> str:
    return "".join(unicodedata.normalize("NFC", name).casefold().split())


def _unknown_classes(counts: Mapping[str, Mapping[str, int]]) -> dict[str, list[str]]:
    """Return the classes without training images by each other split that has some."""
    if "train" not in counts:
        return {}
    unknown = {
        split: [name for name, count in by_class.items() if count and not counts["train"][name]]
        for split, by_class in counts.items()
    }
    return {split: names for split, names in unknown.items() if names}


def _few(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return the classes with few images in the first split, which is train if there is one, and their number."""
    first, *others = counts.values()
    elsewhere = {name for by_class in others for name, count in by_class.items() if count and not first[name]}
    few = [(count, name) for name, count in first.items() if count < FEW and name not in elsewhere]
    return {name: count for count, name in sorted(few)}
