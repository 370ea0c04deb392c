"""The source of an export: a network, its class names and preprocessing, and images to calibrate and verify with."""

import itertools
import os
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_inception.exporting.options import ExportOptions, is_run
from keras_inception.exporting.signature import is_trained_for_int8, probability_model
from keras_inception.exporting.variants import VARIANTS, Variant
from keras_inception.preprocessing import DEFAULT, Preprocessing
from keras_inception.runs import Run, load
from keras_inception.tflite.classifier import numbered
from keras_inception.utils import files
from keras_inception.utils.progress import Progress
from keras_inception.utils.suggestions import did_you_mean

if TYPE_CHECKING:
    import keras

    from keras_inception.datasets import Examples, Skipped, Splits

CALIBRATION_IMAGES = 200
NOISE_IMAGES = 50

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Source:
    """A classifier and its images.

    Images are uint8 RGB (n, height, width, 3), of the network's size or one that was asked for.

    Attributes:
        model: has one float32 output, probabilities.
        class_names: one for each output.
        preprocessing: from an image to the input of `model`.
        calibration: images whose activations int8 must cover; possibly none.
        test: images to verify the files on.
        test_labels: class indices of `test`; None if they are not known.
        noise: whether `test` is noise, for lack of images.
    """

    model: "keras.Model"
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray | None
    noise: bool

    def variants(self, options: ExportOptions) -> list[Variant]:
        """Return the variants to make of the network, adapted to the target.

        Raises:
            ValueError: calibration images are missing, or `keep_float` is not possible for this network.
        """
        self._check_layers(options.keep_float)
        chosen = [VARIANTS[name] for name in options.quantize or VARIANTS]
        if self.trained_for_int8:
            chosen = [variant for variant in chosen if options.quantize or variant.calibrated]
        elif not len(self.calibration):
            for variant in chosen:
                if variant.calibrated:
                    raise ValueError(
                        f"{variant.name} needs `calibration`, a folder of images like those it will see. Received: none"
                    )
        return [options.target.adapt(variant) for variant in chosen]

    def _check_layers(self, keep_float: Sequence[str]) -> None:
        if keep_float and self.trained_for_int8:
            received = list(keep_float)
            raise ValueError(f"`keep_float` does not apply to a network trained for int8. Received: {received}")
        known = [layer.name for layer in self.model.layers]
        for layer in keep_float:
            if layer not in known:
                hint = did_you_mean(layer, known)
                raise ValueError(
                    f"`keep_float` must be layers of {self.model.name}, without auxiliary heads.{hint} "
                    f"Received: {layer!r}"
                )

    @property
    def trained_for_int8(self) -> bool:
        """Whether the network went through quantization-aware training."""
        return is_trained_for_int8(self.model)


class _Image(NamedTuple):
    """An image of `examples`. Its label is None if the classes of `examples` are not those of the network."""

    examples: "Examples"
    number: int
    label: int | None

    def read(self) -> np.ndarray:
        return self.examples.read(self.number)


def open_source(
    source: "str | os.PathLike | keras.Model", options: ExportOptions, say: Say, progress: Progress
) -> Source:
    """Open a run directory, a ``.keras`` file or a model. Options take precedence over what a run has.

    Args:
        source: as for `export`.
        options: of the export.
        say: called with a line of text at each step.
        progress: called with (what is done, number done, number in all).

    Raises:
        ValueError: the model is not an image classifier (`signature.probability_model`), there are not as many `labels`
            as classes, or there are no images where they should be.
    """
    model = load(source) if isinstance(source, (str, os.PathLike)) else source
    run = Run(Path(source)) if is_run(source) else None
    preprocessing = _preprocessing(options.preprocessing, run, model)
    model = probability_model(model, preprocessing)
    class_names = _class_names(options.labels, run)
    classes = model.output.shape[1]
    if class_names and len(class_names) != classes:
        raise ValueError(f"`labels` must be {classes}, one for each output. Received: {len(class_names)} labels")
    pool, held_out = _images(run, options, class_names, say)
    if pool or held_out:
        say(f"Reading {len(pool)} images to calibrate with and {len(held_out)} to verify on")
    test_labels = [image.label for image in held_out]
    fitted = preprocessing.replace(size=options.target.size or preprocessing.size)
    return Source(
        model,
        class_names or numbered(classes),
        preprocessing,
        calibration=_read(pool, fitted, progress),
        test=_read(held_out, fitted, progress) if held_out else _noise(fitted.size),
        test_labels=np.array(test_labels) if held_out and None not in test_labels else None,
        noise=not held_out,
    )


def _preprocessing(
    option: str | os.PathLike | Preprocessing | None, run: Run | None, model: "keras.Model"
) -> Preprocessing:
    if isinstance(option, Preprocessing):
        return option
    if option is None and run:
        return run.preprocessing
    shape = tuple(getattr(model, "input_shape", ()))
    size = shape[1:3] if len(shape) == 4 and all(shape[1:3]) else DEFAULT.size
    return DEFAULT.replace(size=size) if option is None else Preprocessing.named(str(option), size)


def _class_names(option: str | os.PathLike | Sequence[str] | None, run: Run | None) -> tuple[str, ...]:
    if isinstance(option, (str, os.PathLike)):
        return files.read_labels(option)
    if option is None:
        return run.labels if run else ()
    if any(not name.strip() or len(name.splitlines()) != 1 for name in option):
        raise ValueError(f"each of `labels` must be a line of text. Received: {option!r:.200}")
    return tuple(option)


def _images(
    run: Run | None, options: ExportOptions, class_names: tuple[str, ...], say: Say
) -> tuple[list[_Image], list[_Image]]:
    """Return the images to calibrate with and those to verify on, possibly none."""
    from keras_inception import datasets

    splits, limit = None, options.verify_pictures
    if run and (options.calibration is None or options.test is None):
        splits = datasets.open_data(**{**run.data, "labels": run.labels})
    pool = _to_calibrate(options.calibration, class_names, splits, say)
    if options.test is not None:
        held_out = _to_verify(options.test, class_names, say)
    elif splits:
        held_out = _listed(splits.test or splits.validation)
    else:
        count = min(CALIBRATION_IMAGES, max(1, len(pool) * 4 // 5))
        pool, held_out = pool[:count], [image._replace(label=None) for image in pool[count:]]
    if limit != "all" and len(held_out) > limit:
        held_out = _in_proportion(held_out, limit)
    return pool[:CALIBRATION_IMAGES], held_out


def _to_calibrate(
    folder: str | os.PathLike | None, class_names: tuple[str, ...], splits: "Splits | None", say: Say
) -> list[_Image]:
    """Return shuffled images, balanced by class or folder from the start to any point as far as possible."""
    if folder is not None:
        examples = _below(folder, say)
        folders = {Path(examples.name(index)).parent.name for index in range(len(examples))}
        if len(folders) == 1 and (only := folders.pop()) in class_names:
            raise ValueError(f"`calibration` must have images of all classes. Received: {folder}, with {only!r} only")
    elif splits:
        examples = splits.train
    else:
        return []
    chance = random.Random(0)
    images = _listed(examples)
    members = _by_class(images, chance)
    rounds = [[index for index in each if index is not None] for each in itertools.zip_longest(*members)]
    for each in rounds:
        chance.shuffle(each)
    return [images[index] for each in rounds for index in each]


def _in_proportion(images: list[_Image], count: int) -> list[_Image]:
    """Draw `count` images at random, from each class in proportion, and return them in their order."""
    chance = random.Random(0)
    members = _by_class(images, chance)
    ranked = [((rank + chance.random()) / len(each), index) for each in members for rank, index in enumerate(each)]
    return [images[index] for index in sorted(index for _, index in sorted(ranked)[:count])]


def _by_class(images: Sequence[_Image], chance: random.Random) -> list[list[int]]:
    """Return the indices of the images of each class, shuffled."""
    members = defaultdict(list)
    for index, image in enumerate(images):
        members[image.label].append(index)
    for indices in members.values():
        chance.shuffle(indices)
    return list(members.values())


def _to_verify(source: str | os.PathLike, class_names: tuple[str, ...], say: Say) -> list[_Image]:
    from keras_inception import datasets

    if not class_names:
        return [image._replace(label=None) for image in _listed(_below(source, say))]
    examples, skipped = datasets.open_labelled(source, class_names)
    _tell(skipped, say)
    return _listed(examples)


def _listed(examples: "Examples") -> list[_Image]:
    return [_Image(examples, index, label) for index, label in enumerate(examples.labels.tolist())]


def _below(folder: str | os.PathLike, say: Say) -> "Examples":
    from keras_inception import datasets

    examples, skipped = datasets.list_pictures(folder)
    _tell(skipped, say)
    return examples


def _tell(skipped: "Sequence[Skipped]", say: Say) -> None:
    from keras_inception.datasets.splits import left_out

    for line in left_out(skipped):
        say(line)


def _read(chosen: Sequence[_Image], preprocessing: Preprocessing, progress: Progress) -> np.ndarray:
    images = np.empty((len(chosen), *preprocessing.size, 3), np.uint8)
    with ThreadPoolExecutor() as pool:
        for index, fitted in enumerate(pool.map(lambda image: preprocessing.fit(image.read()), chosen)):
            images[index] = fitted
            progress("Reading images", index + 1, len(chosen))
    return images


def _noise(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (NOISE_IMAGES, *size, 3), np.uint8)
