"""`open_data`: open a dataset by its folder, its table of labels or its name."""

import os
import posixpath
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_inception.datasets.examples import Examples
from keras_inception.datasets.fashion_mnist import find_fashion_mnist
from keras_inception.datasets.folder import existing_folder, find_folder
from keras_inception.datasets.shards import find_shards, is_shard_folder
from keras_inception.datasets.split_folders import split_folders
from keras_inception.datasets.splits import (
    Found,
    Progress,
    Skipped,
    Splits,
    check_share,
    group_expression,
    make_splits,
    nfc,
)
from keras_inception.datasets.tables import Columns, find_table, is_table, pair, read_paths, read_table
from keras_inception.datasets.tfds import find_tfds
from keras_inception.utils.suggestions import did_you_mean

Source = str | os.PathLike  # accepted by `open_data`
Exclude = str | os.PathLike | Collection[str | os.PathLike]  # a file that lists paths, or these

RESUME = "keras-inception train IMAGES --resume --output {}"  # with images that were moved
FASHION_MNIST, TFDS = "fashion_mnist", "tfds"
KINDS = (
    f"a folder of images or of TFRecord shards, {FASHION_MNIST}, {FASHION_MNIST}:FOLDER, "
    f"a table of labels (.csv, .tsv) or {TFDS}:NAME"
)


def open_data(
    source: Source,
    *,
    root: str | os.PathLike | None = None,
    columns: Columns | None = None,
    group: str | None = None,
    exclude: Exclude | None = None,
    validation: float = 0.15,
    seed: int = 0,
    strict: bool = False,
    labels: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Splits:
    """Open a dataset for training.

    Example::

        splits = open_data("photos", validation=0.2)
        print(splits.labels, len(splits.train), len(splits.validation))

    Args:
        source: one of

            - a folder of images, see `open_folder`;
            - a table of labels, a ``.csv`` or ``.tsv`` file with a row for each image, see `open_table`;
            - a folder of TFRecord shards, written by `write_shards` or by other tools in TF-slim's convention;
            - ``fashion_mnist``, or ``fashion_mnist:FOLDER`` with its four files;
            - ``tfds:NAME``, a dataset of tensorflow-datasets (``NAME`` or ``NAME/config:version``).

            An existing path takes precedence over a name.
        root: the folder that the paths in a table are relative to. Default: that of the table.
        columns: names of a table's columns of paths and of labels, a pair or ``"PATH,LABEL"``. Default: the first of
            path, file, filename, image, image_id and id that there is; and label, class or category.
        group: regular expression that is searched in each image's path, relative to the folder. What its first
            parentheses match, or all that it matches, is the name of the image's group. Images of one group stay on one
            side of a split that is cut here; an image without a match is a group of its own. Default: the column
            ``group`` of a table.
        exclude: images to leave out without a word: a CSV file with a column ``path``, or the paths themselves.
        validation: fraction of each class, in [0, 1), to hold out from train if there is no validation split. Each
            class with two or more images or groups then has some in both, if groups of several classes allow it.
        seed: seed of that split. It depends on the images' names, so that most images stay in their split when others
            are added.
        strict: raise an error for anything that would be skipped, and verify hashes and checksums where there are any.
        labels: names of the classes in order, if they are known. Default: all classes with training images.
        progress: called with (done, total) while images or shards are read.

    Returns:
        The splits, each ordered by class and name. Missing splits are empty.

    Raises:
        ValueError: there is no such source, or its images cannot be used.
        OSError: the source cannot be read or downloaded.
    """
    check_share(validation)
    found = _find(
        source,
        root=root,
        columns=columns,
        group=group,
        exclude=exclude,
        labels=labels,
        strict=strict,
        progress=progress,
    )
    return make_splits(found, validation=validation, seed=seed, all_classes=labels is not None)


def open_folder(path: str | os.PathLike, **options) -> Splits:
    """Open a folder of class folders, or of ``train/ validation/ test/`` (or ``val/``, ``valid/``) with class folders.

    Every file is decoded once. Hidden files, and files that are images neither by name nor by content, are ignored.
    Unreadable images, images next to the class folders, and classes without images are listed as skipped. Class folders
    may have subfolders. The classes are the class folders of ``train`` that have images, sorted by their names in
    Unicode's composed form (NFC) and without blanks after them, unless `labels` are given.

    Args:
        path: the folder.
        **options: as for `open_data`.

    Raises:
        ValueError: `path` is not a folder, has fewer than two classes or no images; another split has a class that is
            not in `labels` or ``train``; an argument is out of range; or `strict` is set and a file would be skipped.
    """
    return open_data(existing_folder(path), **options)


def open_table(path: str | os.PathLike, **options) -> Splits:
    """Open a table of labels: a CSV or TSV file with a header and a row for each image.

    A column has the path of each image or its name alone, the other its label, which is text: "07" is not "7". The
    ending of a name may be missing if one file fits. A column ``split`` has train, validation and test, or what folders
    of these may be called; without it, or without validation, some of train is held out, whole groups if there is a
    column ``group``. Missing files, unreadable
    images and repeated rows are listed as skipped. Upper and lower case of the columns' names make no difference.

    Args:
        path: the table, UTF-8 (or UTF-16 with a byte order mark).
        **options: as for `open_data`.

    Raises:
        ValueError: `path` is no table, lacks a column, or names no image; a row has no path or label, or a split that
            is none; an image has two labels; or as for `open_folder`.
    """
    if not is_table(path):
        raise ValueError(f"{path} must be a table of labels: an existing .csv or .tsv file")
    return open_data(path, **options)


def open_labelled(
    source: Source,
    labels: Sequence[str],
    *,
    root: str | os.PathLike | None = None,
    columns: Columns | None = None,
    prefer: Sequence[str] = ("test", "validation", "train"),
    strict: bool = False,
    progress: Progress | None = None,
) -> tuple[Examples, tuple[Skipped, ...]]:
    """Open one split of a dataset to evaluate a network with known classes.

    Args:
        source: as for `open_data`; it need not have every class.
        root: as for `open_data`.
        columns: as for `open_data`.
        labels: names of the network's classes. Names are compared in NFC, ignoring case if that is unambiguous.
        prefer: splits in order of preference; the first that exists is used.
        strict: as for `open_data`.
        progress: as for `open_data`.

    Returns:
        The images, and what was skipped.

    Raises:
        ValueError: as for `open_data`, or none of the preferred splits exists.
    """
    found = _find(source, root=root, columns=columns, labels=labels, prefer=prefer, strict=strict, progress=progress)
    return found.first(prefer), found.skipped


def open_validation(
    source: Source,
    labels: Sequence[str],
    *,
    root: str | os.PathLike | None = None,
    columns: Columns | None = None,
    progress: Progress | None = None,
) -> Examples | None:
    """Return the validation images of a dataset that has test images beside them, otherwise None.

    Args:
        source: as for `open_data`; it need not have every class.
        labels: names of the network's classes.
        root: as for `open_data`.
        columns: as for `open_data`.
        progress: as for `open_data`.

    Raises:
        ValueError: as for `open_data`.
    """
    names: Collection[str | None] = ("validation", "test")
    if is_table(source):
        names = {row.split for row in read_table(source, columns)}
    elif os.path.isdir(source) and not is_shard_folder(source):
        names = split_folders(Path(source), labels)[0].keys()
    if not {"validation", "test"} <= set(names):  # before files are read
        return None
    prefer = ("validation",)
    found = _find(source, root=root, columns=columns, labels=labels, prefer=prefer, progress=progress)
    return found.splits.get("validation")


def survey(
    source: Source,
    *,
    root: str | os.PathLike | None = None,
    columns: Columns | None = None,
    group: str | None = None,
    exclude: Exclude | None = None,
    progress: Progress | None = None,
) -> Found:
    """Find all images of a dataset in the splits that it has, without decoding those that have a file each.

    Args:
        source: as for `open_data`; it need not have a train split, and any split may have classes of its own.
        root: as for `open_data`.
        columns: as for `open_data`.
        group: as for `open_data`.
        exclude: as for `open_data`.
        progress: as for `open_data`.

    Returns:
        The dataset. Its files need not be images, and its classes are those of all splits.

    Raises:
        ValueError: as for `open_data`, but for what is in the files.
    """
    return _find(source, root=root, columns=columns, group=group, exclude=exclude, progress=progress, survey=True)


def located(source: Source) -> str:
    """Return the source in a form that works from any working directory.

    Raises:
        ValueError: there is no such source.
    """
    kind, rest = _kind(source)
    if not kind:
        return os.path.abspath(source if is_table(source) else existing_folder(source))
    return f"{kind}:{os.path.abspath(rest)}" if kind == FASHION_MNIST and rest else os.fspath(source)


def recorded(
    source: Source,
    *,
    root: str | os.PathLike | None = None,
    columns: Columns | None = None,
    group: str | None = None,
    exclude: Exclude | None = None,
) -> dict[str, Any]:
    """Return arguments of `open_data` as JSON types that give the same images in any working directory.

    The arguments are those of `open_data`. Nothing heavy is imported to check them.

    Raises:
        ValueError: there is no such source; it is a table that cannot be read, or `root` or `columns` is given and it
            is no table; or `group` or `exclude` is invalid.
    """
    arguments: dict[str, Any] = {"source": located(source)}
    _check_table(source, root, columns)
    if root is not None:
        arguments["root"] = os.path.abspath(existing_folder(root))
    if columns is not None:
        arguments["columns"] = list(pair(columns))
    if is_table(source):
        read_table(source, columns)
    if group is not None:
        arguments["group"] = group_expression(group).pattern
    if exclude is not None:
        arguments["exclude"] = sorted(Excluded(exclude, _base(source, root)).paths)
    return arguments


class Excluded:
    """The paths of images to leave out, compared in Unicode's composed form.

    Attributes:
        paths: the paths, relative to the dataset's folder where they are below it.
    """

    def __init__(self, exclude: Exclude, base: str | None):
        """Read the paths from a CSV file with a column ``path``, or take the paths given."""
        paths = read_paths(exclude) if isinstance(exclude, (str, os.PathLike)) else exclude
        listed = [os.fspath(path) for path in paths]
        start = f"{Path(base).as_posix().rstrip('/')}/" if base else ""
        self.paths = {nfc(posixpath.normpath(path.replace(os.sep, "/")).removeprefix(start)) for path in listed}

    def __bool__(self) -> bool:
        return bool(self.paths)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and nfc(path) in self.paths


def _base(source: Source, root: str | os.PathLike | None) -> str | None:
    """Return the absolute path of the folder that paths are relative to; None for a dataset by name."""
    if _kind(source)[0]:
        return None
    return os.path.abspath(root or (os.path.dirname(source) if is_table(source) else source))


def check_there(run: str | os.PathLike, data: Mapping[str, Any], ways: str = "", *, again: str = RESUME) -> None:
    """Check that the source of a run's images exists.

    Args:
        run: the run directory, for messages.
        data: what the run records, `Run.data`.
        ways: sentences that say what else can be done if the source does not exist.
        again: the command that tells the run where they are, with {} for its directory.

    Raises:
        ValueError: it does not exist. The message says how to tell the run where it is now.
    """
    for source in filter(None, (data["source"], data.get("root"))):
        try:
            located(source)
        except ValueError:
            raise ValueError(
                f"the images of {os.fspath(run)} are not at {source} any more. {ways}If they were moved, tell the run "
                f"where they are: {again.format(os.fspath(run))}"
            ) from None


def _check_table(source: Source, root: str | os.PathLike | None, columns: Columns | None) -> None:
    """Raise ValueError if options of a table are given for another source."""
    given = {"`root` (--pictures)": root, "`columns` (--columns)": columns}
    for name, value in given.items():
        if value is not None and not is_table(source):
            raise ValueError(f"{name} is for a table of labels, a .csv or .tsv file. Received: {os.fspath(source)}")


def _kind(source: Source) -> tuple[str, str]:
    """Return the kind of a named source and the rest of the name, or two empty strings for a path."""
    if not isinstance(source, (str, os.PathLike)):
        kind = f"{type(source).__module__.partition('.')[0]}.{type(source).__name__.lstrip('_')}"
        raise ValueError(
            f"images must be {KINDS}: save those in memory or in a tf.data.Dataset as files in class folders. "
            f"Received: {kind}"
        )
    if os.path.exists(source):
        return "", ""
    kind, _, rest = os.fspath(source).partition(":")
    if kind == FASHION_MNIST or (kind == TFDS and rest):
        return kind, rest
    hint = did_you_mean(kind, (FASHION_MNIST, TFDS)) if Path(source).name == os.fspath(source) else ""
    raise ValueError(f"{source} does not exist. It must be {KINDS}.{hint} Received: {os.fspath(source)!r}")


def _find(
    source: Source,
    *,
    root: str | os.PathLike | None = None,
    columns: Columns | None = None,
    group: str | None = None,
    exclude: Exclude | None = None,
    labels: Sequence[str] | None = None,
    prefer: Sequence[str] = (),
    strict: bool = False,
    progress: Progress | None = None,
    survey: bool = False,
) -> Found:
    """Return the dataset, ordered by class and name. For files of images, only what `find_folder` reads."""
    kind, rest = _kind(source)
    _check_table(source, root, columns)
    excluded = Excluded(() if exclude is None else exclude, _base(source, root))
    if is_table(source):
        options: dict[str, Any] = {"root": root, "columns": columns, "excluded": excluded, "survey": survey}
        found = find_table(Path(source), labels, prefer, strict, progress, **options)
    elif not kind and not (os.path.isdir(source) and is_shard_folder(source)):
        found = find_folder(Path(source), labels, prefer, strict, progress, survey=survey, excluded=excluded)
    else:
        if kind == FASHION_MNIST:
            found = find_fashion_mnist(rest or None)
        elif kind == TFDS:
            found = find_tfds(rest, strict=strict, progress=progress)
        else:
            found = find_shards(source, strict=strict, progress=progress)
        found = found.arranged(labels)
        found = found.without(excluded) if excluded else found
    if isinstance(exclude, (str, os.PathLike)) and excluded and not found.excluded:
        such = min(excluded.paths)
        raise ValueError(
            f"{exclude} must list paths of images in {found.where}. Received: {such}, which is none of them"
        )
    return found if group is None else found.grouped(group)
