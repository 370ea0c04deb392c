"""What is exported: a network, its labels, its preprocessing, and pictures to calibrate and to verify it with."""

import itertools
import os
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

import numpy as np

from keras_inception.exporting.signature import probability_model
from keras_inception.preprocessing import DEFAULT, Preprocessing
from keras_inception.runs import Run, load
from keras_inception.tflite.classifier import numbered
from keras_inception.utils import files
from keras_inception.utils.progress import Progress

if TYPE_CHECKING:
    import keras

    from keras_inception.datasets import Examples, Skipped, Splits

CALIBRATION_PICTURES = 200
TEST_PICTURES = 500  # of which 99 % agreement is known to a percent
NOISE_PICTURES = 50

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Source:
    """A classifier and its pictures, which are uint8 RGB, (n, height, width, 3) of the network's size or a given one.

    Attributes:
        model: one float32 output of probabilities.
        labels: names of the classes.
        preprocessing: from a picture to the input of `model`.
        calibration: pictures whose range of activations int8 is to cover; possibly none.
        test: pictures to verify the files on.
        truth: the class of each of `test` by number; None if they are not known.
        noise: whether `test` is noise, for lack of pictures.
    """

    model: "keras.Model"
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: np.ndarray
    test: np.ndarray
    truth: np.ndarray | None
    noise: bool


class _Picture(NamedTuple):
    """One of `examples`; `label` is None if the classes of these are not those of the network."""

    examples: "Examples"
    number: int
    label: int | None

    def read(self) -> np.ndarray:
        return self.examples.read(self.number)


def is_run(source: "str | os.PathLike | keras.Model | None") -> TypeGuard[str | os.PathLike]:
    """Whether `source` is a directory, which is to be a run."""
    return isinstance(source, (str, os.PathLike)) and Path(source).is_dir()


def own_name(source: "str | os.PathLike | keras.Model") -> str | None:
    """Return the name of somebody's own ``.keras`` file, without its ending; None for a run or a model."""
    return Path(source).stem if isinstance(source, (str, os.PathLike)) and not is_run(source) else None


def check_source(source: str | os.PathLike) -> None:
    """Raise if there is no run directory and no file at `source`."""
    if is_run(source):
        Run(Path(source)).check_trained()
    elif not Path(source).exists():
        raise FileNotFoundError(f"there is no run directory or .keras file at {source}")


def check_pictures(calibration: str | os.PathLike | None, test: str | os.PathLike | None) -> None:
    """Raise ValueError if there are no pictures where they should be, as far as a look at the path tells."""
    from keras_inception import datasets

    if calibration is not None and not Path(calibration).is_dir():
        there = "a file" if Path(calibration).exists() else "not there"
        raise ValueError(f"`calibration` must be a folder of pictures. Received: {calibration}, which is {there}")
    if test is not None:
        datasets.located(test)


def open_source(
    source: "str | os.PathLike | keras.Model",
    *,
    labels: str | os.PathLike | Sequence[str] | None,
    preprocessing: str | os.PathLike | Preprocessing | None,
    calibration: str | os.PathLike | None,
    test: str | os.PathLike | None,
    size: tuple[int, int] | None,
    limit: int | None,
    say: Say,
    progress: Progress,
) -> Source:
    """Open a run directory, a ``.keras`` file or a model; what is given goes before what a run knows itself.

    Args:
        size: (height, width) that the pictures are fitted to; None for the network's.
        limit: number of pictures to verify on; None for all.

    Raises:
        ValueError: the model is no classifier of pictures (`graph.probability_model`), `labels` are not as many as its
            classes, or pictures are not where they should be.
    """
    model = load(source) if isinstance(source, (str, os.PathLike)) else source
    run = Run(Path(source)) if is_run(source) else None
    preprocessing = _preprocessing(preprocessing, run, model)
    model = probability_model(model, preprocessing)
    names = _labels(labels, run)
    classes = model.output.shape[1]
    if names and len(names) != classes:
        raise ValueError(f"`labels` must be {classes}, one for each output. Received: {len(names)} labels")
    pool, held_out = _pictures(run, calibration, test, names, limit, say)
    if pool or held_out:
        say(f"Reading {len(pool)} pictures to calibrate with and {len(held_out)} to verify on")
    truth = [picture.label for picture in held_out]
    fitted = preprocessing.replace(size=size or preprocessing.size)
    return Source(
        model,
        names or numbered(classes),
        preprocessing,
        calibration=_read(pool, fitted, progress),
        test=_read(held_out, fitted, progress) if held_out else _noise(fitted.size),
        truth=np.array(truth) if held_out and None not in truth else None,
        noise=not held_out,
    )


def _preprocessing(
    given: str | os.PathLike | Preprocessing | None, run: Run | None, model: "keras.Model"
) -> Preprocessing:
    if isinstance(given, Preprocessing):
        return given
    if given is None and run:
        return run.preprocessing
    shape = tuple(getattr(model, "input_shape", ()))
    size = shape[1:3] if len(shape) == 4 and all(shape[1:3]) else DEFAULT.size
    return DEFAULT.replace(size=size) if given is None else Preprocessing.named(str(given), size)


def _labels(given: str | os.PathLike | Sequence[str] | None, run: Run | None) -> tuple[str, ...]:
    if isinstance(given, (str, os.PathLike)):
        return files.read_labels(given)
    if given is None:
        return run.labels if run else ()
    if any(not label.strip() or len(label.splitlines()) != 1 for label in given):
        raise ValueError(f"each of `labels` must be a line of text. Received: {given!r:.200}")
    return tuple(given)


def _pictures(
    run: Run | None,
    calibration: str | os.PathLike | None,
    test: str | os.PathLike | None,
    labels: tuple[str, ...],
    limit: int | None,
    say: Say,
) -> tuple[list[_Picture], list[_Picture]]:
    """Those to calibrate with and those to verify on, possibly none."""
    from keras_inception import datasets

    splits = None
    if run and (calibration is None or test is None):
        splits = datasets.open_data(**{**run.data, "labels": run.labels})
    pool = _to_calibrate(calibration, labels, splits, say)
    if test is not None:
        held_out = _to_verify(test, labels, say)
    elif splits:
        held_out = _listed(splits.test or splits.validation)
    else:
        count = min(CALIBRATION_PICTURES, max(1, len(pool) * 4 // 5))
        pool, held_out = pool[:count], [picture._replace(label=None) for picture in pool[count:]]
    if limit is not None and len(held_out) > limit:
        held_out = _in_proportion(held_out, limit)
    return pool[:CALIBRATION_PICTURES], held_out


def _to_calibrate(
    folder: str | os.PathLike | None, labels: tuple[str, ...], splits: "Splits | None", say: Say
) -> list[_Picture]:
    """Shuffled pictures, of which any beginning has as many of each class, or of each folder, as can be."""
    if folder is not None:
        examples = _below(folder, say)
        folders = {Path(examples.name(index)).parent.name for index in range(len(examples))}
        if len(folders) == 1 and (only := folders.pop()) in labels:
            raise ValueError(f"`calibration` must have pictures of all classes. Received: {folder}, of {only!r} alone")
    elif splits:
        examples = splits.train
    else:
        return []
    chance = random.Random(0)
    pictures = _listed(examples)
    members = _by_class(pictures, chance)
    rounds = [[index for index in each if index is not None] for each in itertools.zip_longest(*members)]
    for each in rounds:
        chance.shuffle(each)
    return [pictures[index] for each in rounds for index in each]


def _in_proportion(pictures: list[_Picture], count: int) -> list[_Picture]:
    """Draw so many pictures by chance, of each class its share, and return them in their order."""
    chance = random.Random(0)
    members = _by_class(pictures, chance)
    ranked = [((rank + chance.random()) / len(each), index) for each in members for rank, index in enumerate(each)]
    return [pictures[index] for index in sorted(index for _, index in sorted(ranked)[:count])]


def _by_class(pictures: Sequence[_Picture], chance: random.Random) -> list[list[int]]:
    """The numbers of the pictures of each class, shuffled."""
    members = defaultdict(list)
    for index, picture in enumerate(pictures):
        members[picture.label].append(index)
    for indices in members.values():
        chance.shuffle(indices)
    return list(members.values())


def _to_verify(source: str | os.PathLike, labels: tuple[str, ...], say: Say) -> list[_Picture]:
    from keras_inception import datasets

    if not labels:
        return [picture._replace(label=None) for picture in _listed(_below(source, say))]
    examples, skipped = datasets.open_labelled(source, labels)
    _tell(skipped, say)
    return _listed(examples)


def _listed(examples: "Examples") -> list[_Picture]:
    return [_Picture(examples, index, label) for index, label in enumerate(examples.labels.tolist())]


def _below(folder: str | os.PathLike, say: Say) -> "Examples":
    from keras_inception import datasets

    examples, skipped = datasets.list_pictures(folder)
    _tell(skipped, say)
    return examples


def _tell(skipped: "Sequence[Skipped]", say: Say) -> None:
    from keras_inception.datasets.splits import left_out

    for line in left_out(skipped):
        say(line)


def _read(chosen: Sequence[_Picture], preprocessing: Preprocessing, progress: Progress) -> np.ndarray:
    pictures = np.empty((len(chosen), *preprocessing.size, 3), np.uint8)
    with ThreadPoolExecutor() as pool:
        for index, fitted in enumerate(pool.map(lambda picture: preprocessing.fit(picture.read()), chosen)):
            pictures[index] = fitted
            progress("Reading pictures", index + 1, len(chosen))
    return pictures


def _noise(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (NOISE_PICTURES, *size, 3), np.uint8)
