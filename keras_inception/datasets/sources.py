"""`open_data`: a set of pictures by where it is, a folder or a name."""

import os
from collections.abc import Sequence
from pathlib import Path

from keras_inception.datasets.examples import Examples
from keras_inception.datasets.fashion_mnist import find_fashion_mnist
from keras_inception.datasets.folder import existing_folder, labelled_folder, open_folder
from keras_inception.datasets.shards import find_shards, is_shard_folder
from keras_inception.datasets.splits import Found, Progress, Skipped, Splits, arranged, first_split, make_splits
from keras_inception.datasets.tfds import find_tfds
from keras_inception.utils.suggestions import did_you_mean

FASHION_MNIST, TFDS = "fashion_mnist", "tfds"
KINDS = f"a folder of pictures or of TFRecord shards, {FASHION_MNIST}, {FASHION_MNIST}:FOLDER or {TFDS}:NAME"


def open_data(
    source: str | os.PathLike,
    *,
    validation: float = 0.15,
    seed: int = 0,
    strict: bool = False,
    labels: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Splits:
    """Open a set of pictures to train with.

    Args:
        source: one of

            - a folder of pictures, see `open_folder`;
            - a folder of TFRecord shards, those of `write_shards` or others in TF-slim's convention;
            - ``fashion_mnist``, or ``fashion_mnist:FOLDER`` with its four files;
            - ``tfds:NAME``, a set of tensorflow-datasets by its name there (``NAME/config:version``).

            What is there as a path goes before a name.
        validation: share of each class, in [0, 1), that is cut out of train if there is no other validation split.
            Each class of two or more pictures then has some in both.
        seed: of that cut. It goes by the pictures' names, so that most stay where they are when others are added.
        strict: make what would be skipped an error, and prove hashes and checksums where there are any.
        labels: the classes in their order, if they are known. By default all that have training pictures.
        progress: called with (done, in all) while pictures or shards are looked at.

    Returns:
        The splits, each ordered by class and name; one that is not there is empty.

    Raises:
        ValueError: there is no such source, or its pictures are not what they should be.
        OSError: it cannot be read or downloaded.
    """
    found = _find(source, strict, progress)
    if found is None:
        return open_folder(source, validation=validation, seed=seed, strict=strict, labels=labels, progress=progress)
    return make_splits(arranged(found, labels), validation=validation, seed=seed, all_classes=labels is not None)


def open_labelled(
    source: str | os.PathLike,
    labels: Sequence[str],
    *,
    prefer: Sequence[str] = ("test", "validation", "train"),
    strict: bool = False,
    progress: Progress | None = None,
) -> tuple[Examples, tuple[Skipped, ...]]:
    """The pictures to evaluate a network of known classes on: of a set of splits, those of one.

    Args:
        source: as for `open_data`; it need not have every class.
        labels: the network's classes. Names are compared in NFC, and without regard to case if that is unambiguous.
        prefer: of the splits, the first of these that exists is taken.
        strict, progress: as for `open_data`.

    Raises:
        ValueError: as `open_data`, or none of the splits of `prefer` exists.
    """
    found = _find(source, strict, progress)
    if found is None:
        return labelled_folder(source, labels, prefer, strict, progress)
    return first_split(arranged(found, labels), prefer)


def located(source: str | os.PathLike) -> str:
    """The source as it can be opened from any working directory; ValueError if there is none."""
    kind, rest = _kind(source)
    if not kind:
        existing_folder(source)
    if kind == FASHION_MNIST and rest:
        return f"{kind}:{os.path.abspath(rest)}"
    return os.fspath(source) if kind else os.path.abspath(source)


def _kind(source: str | os.PathLike) -> tuple[str, str]:
    """The kind of a source by name, and the rest of the name; two empty ones for a path."""
    if os.path.exists(source):
        return "", ""
    kind, _, rest = os.fspath(source).partition(":")
    if kind == FASHION_MNIST or (kind == TFDS and rest):
        return kind, rest
    hint = did_you_mean(kind, (FASHION_MNIST, TFDS)) if Path(source).name == os.fspath(source) else ""
    raise ValueError(f"{source} is not there. It must be {KINDS}.{hint} Received: {os.fspath(source)!r}")


def _find(source: str | os.PathLike, strict: bool, progress: Progress | None) -> Found | None:
    """The set, if it is not a folder of pictures."""
    kind, rest = _kind(source)
    if kind == FASHION_MNIST:
        return find_fashion_mnist(rest or None)
    if kind == TFDS:
        return find_tfds(rest, strict=strict, progress=progress)
    if os.path.isdir(source) and is_shard_folder(source):
        return find_shards(source, strict=strict, progress=progress)
    return None
