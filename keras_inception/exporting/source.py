"""The source of an export: a network, its class names and preprocessing, and images to calibrate and verify with."""

import itertools
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.evaluation.classifiers import KerasClassifier
from keras_inception.exporting.calibration import CALIBRATION_IMAGES, FittedImages, open_calibration
from keras_inception.exporting.expected_input import (
    CANDIDATES,
    check_takes_images,
    fitting_pictures,
    image_size,
    stated_preprocessing,
    unknown,
    with_channels,
)
from keras_inception.exporting.options import ExportOptions
from keras_inception.exporting.signature import is_trained_for_int8
from keras_inception.exporting.variants import VARIANTS, Variant
from keras_inception.preprocessing import NAMED, Preprocessing
from keras_inception.runs import Run, is_run, load
from keras_inception.tflite.classifier import numbered
from keras_inception.utils import files
from keras_inception.utils.names import by_any_name
from keras_inception.utils.progress import Progress, counted
from keras_inception.utils.suggestions import did_you_mean

if TYPE_CHECKING:
    import keras

    from keras_inception.datasets import Examples, Skipped

NOISE_IMAGES = 50
CHECKED_IMAGES = 50  # on which a network made of the given one is compared with it

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Source:
    """A classifier and its images, uint8 RGB (n, height, width, 3), at the size of the files' input.

    Attributes:
        given: the network as it was given, which the files are compared with.
        model: the network to export, made of the given one: without nested models and what is only for training, with
            one output, float32 scores (batch, classes).
        class_names: names of the classes.
        preprocessing: preprocessing that `model` expects.
        calibration: images to calibrate int8 with; may be empty.
        test: images to verify the files with.
        test_labels: class indices of `test`, (n,); None if they are unknown.
        noise: whether `test` is noise because there are no images.
    """

    given: KerasClassifier
    model: "keras.Model"
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray | None
    noise: bool

    def variants(self, options: ExportOptions) -> list[Variant]:
        """Return the variants to export, adapted to the target.

        Raises:
            ValueError: calibration images are missing, or `keep_float` does not apply to this network.
        """
        if options.keep_float and self.trained_for_int8:
            received = list(options.keep_float)
            raise ValueError(f"`keep_float` does not apply to a network trained for int8. Received: {received}")
        known = by_any_name(layer.name for layer in self.model.layers)
        for layer in options.keep_float:
            if layer not in known:
                raise ValueError(
                    f"`keep_float` must be layers of {self.model.name} or of models in it, not of auxiliary heads, "
                    f"dropout or augmentation.{did_you_mean(layer.rpartition('/')[2], known)} Received: {layer!r}"
                )
        chosen = [VARIANTS[name] for name in dict.fromkeys(options.quantize or VARIANTS)]
        if self.trained_for_int8 and not options.quantize:
            chosen = [variant for variant in chosen if variant.calibrated]
        for variant in chosen:
            if variant.calibrated and not self.trained_for_int8 and not len(self.calibration):
                raise ValueError(
                    f"{variant.name} needs `calibration`, images like those it will see (a folder, an .npy file, an "
                    "array or an iterable). Received: none"
                )
        return [options.target.adapt(variant) for variant in chosen]

    def kept_in_float(self, options: ExportOptions) -> tuple[str, ...]:
        """Return the layers of `model` that `keep_float` names, with or without the name of their network."""
        known = by_any_name(layer.name for layer in self.model.layers)
        return tuple(known[layer] for layer in options.keep_float)

    def check(self, *models: "keras.Model") -> None:
        """Check that models made of the given one give the same scores on held-out images.

        Raises:
            ValueError: one does not. The message names the layer at which the two part.
        """
        from keras_inception.models.flat import HALF, parting, precision
        from keras_inception.models.scores import outputs_of

        network = self.given.network
        images = self.test[:: max(1, len(self.test) // CHECKED_IMAGES)]
        if images.shape[1:3] != self.preprocessing.size:
            images = np.stack([self.preprocessing.resize(image, self.preprocessing.size) for image in images])
        tolerance = 0.02 if precision(network) in HALF else 1e-4
        expected = self.given.predict(images)
        x = self.preprocessing.normalize(images.astype(np.float32))
        for model in {id(model): model for model in models}.values():
            difference = np.abs(outputs_of(model, x, network.inputs[0].shape[0]) - expected).max()
            if not difference <= tolerance:
                layer = parting(network, model, x[:1], tolerance)
                raise ValueError(
                    f"{self.given} cannot be exported: the network that is made of it for inference in float32 gives "
                    f"other scores, by up to {difference:.2g}"
                    + (f". The first layer that differs is {layer}" if layer else "")
                )

    @property
    def trained_for_int8(self) -> bool:
        """Whether the network went through quantization-aware training."""
        return is_trained_for_int8(self.model)


def open_source(
    source: "str | os.PathLike | keras.Model", options: ExportOptions, say: Say, progress: Progress
) -> Source:
    """Open a run directory, a ``.keras`` file or a model. Options take precedence over the run's own settings.

    Args:
        source: as for `export`.
        options: options of the export.
        say: called with a line of text at each step.
        progress: called with (name of the step, number done, total).

    Raises:
        ValueError: the model is not an image classifier (`models.scores.ending`), its preprocessing is not known, the
            number of `labels` is not the number of classes, or a folder has no images.
    """
    import keras

    from keras_inception.models.flat import flat
    from keras_inception.models.inference import without_heads

    if (received := keras.backend.backend()) != "tensorflow":
        raise ValueError(f"`KERAS_BACKEND` must be tensorflow to make TFLite files. Received: {received}")
    model = load(source, options.custom_objects) if isinstance(source, (str, os.PathLike)) else source
    run = Run(Path(source)) if is_run(source) else None
    network = without_heads(model, options.output_name)
    stated = run.preprocessing if run and options.preprocessing is None else options.preprocessing
    check_takes_images(network)
    size = options.size or image_size(network, stated)
    preprocessing = stated_preprocessing(stated, model, network, size)
    class_names, outputs = _class_names(options.labels, run), network.outputs[0].shape[-1]
    classes = 2 if outputs == 1 else outputs
    if class_names and len(class_names) != classes:
        raise ValueError(
            f"`labels` must be {classes}, one for each class. "
            f"Received: {len(class_names)}: {', '.join(class_names):.200}"
        )
    provisional = preprocessing or Preprocessing.named("unit", size)
    resized = provisional.replace(size=options.target.size or size)
    calibrates = any(VARIANTS[name].calibrated for name in options.quantize or VARIANTS)
    calibrates = calibrates and not is_trained_for_int8(network)
    pool, held_out, labeled = _images(run, options, class_names, resized, say, calibrates)
    if preprocessing is None:
        preprocessing = _found_by_pictures(network, size, held_out if labeled else None, say, progress)
    preprocessing = with_channels(preprocessing, network.inputs[0].shape[-1])
    given = KerasClassifier(model, class_names, preprocessing, options.output_name)
    fitted = preprocessing.replace(size=options.target.size or size)
    if pool or held_out:
        say(f"Reading {len(pool or ())} images to calibrate with and {len(held_out or ())} to verify on")
    return Source(
        given,
        given.ending.scoring(flat(network, (*preprocessing.size, preprocessing.mixing.shape[1]))),
        class_names or numbered(classes),
        preprocessing,
        calibration=_read(pool, fitted, progress),
        test=_read(held_out, fitted, progress) if held_out else _noise(fitted.size),
        test_labels=held_out.labels if held_out and labeled else None,
        noise=not held_out,
    )


def _found_by_pictures(
    network: "keras.Model", size: tuple[int, int], labeled: "Examples | None", say: Say, progress: Progress
) -> Preprocessing:
    """Return the one preprocessing that labeled images do not rule out.

    Raises:
        ValueError: there are no labeled images, or several fit.
    """
    left = None
    if labeled:
        channels = network.inputs[0].shape[-1]
        candidates = {
            name: with_channels(Preprocessing.named(name, size), channels)
            for name in CANDIDATES
            if channels == 3 or len(set(NAMED[name].mean)) == 1
        }
        some = labeled.select(_in_proportion(labeled.labels.tolist(), min(len(labeled), CALIBRATION_IMAGES)))
        images = {name: _read(some, preprocessing, progress) for name, preprocessing in candidates.items()}
        left = fitting_pictures(network, candidates, images, some.labels)
        if len(left) == 1:
            say(f"Preprocessing: {left[0]}, the only one that fits the labeled images")
            return candidates[left[0]]
    raise unknown(network, left)


def _class_names(option: str | os.PathLike | Sequence[str] | None, run: Run | None) -> tuple[str, ...]:
    if option is None:
        return run.labels if run else ()
    return files.given_labels(option)


def _images(
    run: Run | None,
    options: ExportOptions,
    class_names: tuple[str, ...],
    fitted: Preprocessing,
    say: Say,
    calibrates: bool,
) -> "tuple[Examples | None, Examples | None, bool]":
    """Return the images to calibrate with and to verify on, if any, and whether the latter have the network's labels.

    Calibration images are shuffled, and any first part of them is as balanced by class or folder as possible.
    """
    from keras_inception import datasets
    from keras_inception.datasets.sources import check_there

    splits, pool, held_out, labeled = None, None, None, True
    if run and ((options.calibration is None and calibrates) or options.test is None):
        check_there(run, run.data, options.other_images)
        splits = datasets.open_data(**{**run.data, "labels": run.labels})
        pool, held_out = splits.train if calibrates else None, splits.test or splits.validation
    if options.calibration is not None:
        unused = options.verify_pictures if options.test is None and not splits else 0
        pool = _reported(open_calibration(options.calibration, class_names, unused, fitted), say)
    if pool:
        pool = pool.select(_balanced(pool.labels.tolist()))
    if options.test is not None and class_names:
        held_out = _reported(datasets.open_labelled(options.test, class_names), say)
    elif options.test is not None:
        held_out, labeled = _reported(datasets.list_pictures(options.test), say), False
    elif pool and not splits:
        count = min(CALIBRATION_IMAGES, max(1, len(pool) * 4 // 5))
        pool, held_out, labeled = pool.select(range(count)), pool.select(range(count, len(pool))), False
    limit = options.verify_pictures
    if held_out and limit != "all" and len(held_out) > limit:
        held_out = held_out.select(_in_proportion(held_out.labels.tolist() if labeled else [0] * len(held_out), limit))
    return pool and pool.select(range(min(len(pool), CALIBRATION_IMAGES))), held_out, labeled


def _balanced(labels: Iterable[int]) -> list[int]:
    """Return the indices of all images in rounds of one image per class, shuffled within each round."""
    chance, order = random.Random(0), []
    for each in itertools.zip_longest(*_by_class(labels, chance)):
        members = [index for index in each if index is not None]
        chance.shuffle(members)
        order += members
    return order


def _in_proportion(labels: Iterable[int], count: int) -> list[int]:
    """Draw `count` images from the classes in proportion, and return their indices in ascending order."""
    chance = random.Random(0)
    members = _by_class(labels, chance)
    ranked = [((rank + chance.random()) / len(each), index) for each in members for rank, index in enumerate(each)]
    return sorted(index for _, index in sorted(ranked)[:count])


def _by_class(labels: Iterable[int], chance: random.Random) -> list[list[int]]:
    """Return the indices of the images of each class, shuffled."""
    members = defaultdict(list)
    for index, label in enumerate(labels):
        members[label].append(index)
    for indices in members.values():
        chance.shuffle(indices)
    return list(members.values())


def _reported(found: "tuple[Examples, Sequence[Skipped]]", say: Say) -> "Examples":
    """Report the skipped images and return the others."""
    from keras_inception.datasets.splits import left_out

    examples, skipped = found
    for line in left_out(skipped):
        say(line)
    return examples


def _read(examples: "Examples | None", preprocessing: Preprocessing, progress: Progress) -> np.ndarray:
    """Read the images, resized and cropped by `Preprocessing.fit`."""
    count = len(examples or ())
    images = np.empty((count, *preprocessing.size, 3), np.uint8)
    if examples:
        with ThreadPoolExecutor() as pool:
            fit = (lambda image: image) if isinstance(examples, FittedImages) else preprocessing.fit
            fitted = pool.map(lambda index: fit(examples.read(index)), range(count))
            for index, image in enumerate(counted(fitted, "Reading images", count, progress)):
                images[index] = image
    return images


def _noise(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (NOISE_IMAGES, *size, 3), np.uint8)
