"""Compress one's own model: write any functional classifier as a run directory, which `compress` starts from."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import DATA, LABELS, MODEL, PREPROCESSING, RECIPE, SPLIT, Run, load
from keras_inception.utils import files

if TYPE_CHECKING:
    import keras

    from keras_inception.datasets import Splits
    from keras_inception.training import Recipe

IMAGES = 16  # images on which the written model must agree with the given one
TOLERANCE, HALF_TOLERANCE = 1e-4, 0.02  # in float32, and if the given model computes in half precision


@dataclass(frozen=True)
class OwnModel:
    """What `compress` needs to know of one's own model beside the model.

    Attributes:
        data: folder of images with a subfolder for each class, or another source that `open_data` accepts.
        labels: names of the classes in the order of the model's outputs, or a file with one per line; None: the sorted
            names of the folders.
        preprocessing: what the model's input expects, its name or its JSON file; None: found in the model.
        validation: fraction of the images to hold out if `data` has no validation split.
        size: (height, width) of the images; None: that of the model's input.
        output_name: name of the output if there are several (`models.inference.without_heads`).
        root: the folder that the paths in a table of labels are relative to; None: that of the table.
        columns: names of the table's columns of paths and of labels; None: as for `open_data`.
    """

    data: str | os.PathLike
    labels: str | os.PathLike | Sequence[str] | None = None
    preprocessing: str | os.PathLike | Preprocessing | None = None
    validation: float = 0.15
    size: tuple[int, int] | None = None
    output_name: str | None = None
    root: str | os.PathLike | None = None
    columns: str | Sequence[str] | None = None

    @classmethod
    def given(cls, data: str | os.PathLike | None, validation: float, **others: Any) -> "OwnModel | None":
        """Return these attributes, or None without `data`; ValueError if others are given without `data`."""
        if data is not None:
            return cls(data, validation=validation, **others)
        if names := [f"`{name}`" for name, value in others.items() if value is not None]:
            raise ValueError(f"{', '.join(names)} must be given with `data`, the images. Received: data=None")
        return None

    def check(self) -> None:
        """Raise the errors that do not depend on the model, before anything heavy is loaded."""
        from keras_inception.datasets import recorded
        from keras_inception.datasets.splits import check_share

        recorded(self.data, root=self.root, columns=self.columns)
        check_share(self.validation)
        self.class_names()
        if isinstance(self.preprocessing, (str, os.PathLike)):
            Preprocessing.named(str(self.preprocessing))

    def class_names(self) -> tuple[str, ...] | None:
        """Return the names of the classes, if they are given."""
        return None if self.labels is None else files.given_labels(self.labels)

    def splits(self) -> "tuple[Splits, dict]":
        """Open the images.

        Returns:
            The splits, and the arguments of `open_data` that give them.

        Raises:
            ValueError: `labels` are not the names of the classes, or the images cannot be used.
        """
        from keras_inception import datasets
        from keras_inception.datasets.splits import class_numbers

        class_names = self.class_names()
        data: dict[str, Any] = datasets.recorded(self.data, root=self.root, columns=self.columns)
        data |= {"validation": self.validation, "seed": 0}
        splits = datasets.open_data(**data)
        if class_names is not None:
            numbers = class_numbers(class_names, splits.labels)
            if len(numbers) != len(splits.labels) or set(numbers) != set(range(len(numbers))):
                raise ValueError(
                    f"`labels` must be the classes of {self.data}, {', '.join(splits.labels):.200}. "
                    f"Received: {', '.join(class_names):.200}"
                )
            data["labels"] = list(class_names)
            splits = datasets.open_data(**data)
        if not len(splits.validation):
            raise ValueError(f"{self.data} leaves no images for validation. Received: validation={self.validation}")
        return splits, data


def write_run(source: "str | os.PathLike | keras.Model", own: OwnModel, folder: Path) -> Run:
    """Write a classifier as a run directory: its flat form in float32, class names, preprocessing, recipe and data.

    Args:
        source: a ``.keras`` or ``.h5`` file, or a model.
        own: its images, class names and preprocessing.
        folder: the folder to create.

    Raises:
        ValueError: the model is not a classifier of these classes, does not say what its input expects, or cannot be
            written and opened again with the same outputs.
    """
    from keras_inception import datasets
    from keras_inception.evaluation.classifiers import check_input
    from keras_inception.exporting.expected_input import (
        check_takes_images,
        image_size,
        stated_preprocessing,
        unknown,
        with_channels,
    )
    from keras_inception.model_files import is_one_layer
    from keras_inception.models.inference import without_heads

    given_model = load(source) if isinstance(source, (str, os.PathLike)) else source
    model = without_heads(given_model, own.output_name)
    if is_one_layer(model):
        raise ValueError(f"{model.name} cannot be compressed: Keras 3 cannot open it layer by layer")
    check_takes_images(model)
    size = own.size or image_size(model, own.preprocessing)
    preprocessing = stated_preprocessing(own.preprocessing, given_model, model, size)
    if preprocessing is None:
        raise unknown(model)
    preprocessing = with_channels(preprocessing, model.inputs[0].shape[-1])
    check_input(model, preprocessing)
    splits, data = own.splits()
    few = splits.train.select(np.linspace(0, len(splits.train) - 1, min(IMAGES, len(splits.train))).astype(int))
    images = np.concatenate([x for x, _ in datasets.evaluation_batches(few, preprocessing, IMAGES)])
    network = _scoring(model, preprocessing.size, images)
    if len(splits.labels) != network.outputs[0].shape[-1]:
        raise ValueError(
            f"`data` must have {network.outputs[0].shape[-1]} classes, one for each score of {model.name}. "
            f"Received: {len(splits.labels)}: {', '.join(splits.labels):.200}"
        )
    folder.mkdir(parents=True)
    files.write_labels(folder / LABELS, splits.labels)
    preprocessing.save(folder / PREPROCESSING)
    own_recipe(preprocessing).save(folder / RECIPE)
    files.write_json(folder / DATA, {**data, "fingerprint": splits.fingerprints(), "command": "compress"})
    files.write_csv(folder / SPLIT, splits.rows())
    network.save(folder / MODEL)
    run = Run(folder)
    try:
        saved = run.model()
    except ValueError as error:
        reason = str(error).removeprefix(f"{folder / MODEL} is not opened: ")
        raise ValueError(f"{model.name} cannot be opened again when it has been saved: {reason}") from None
    expected, again = (np.asarray(each(images, training=False)) for each in (network, saved))
    _check_same(model.name, expected, again, TOLERANCE)
    return run


def _scoring(model: "keras.Model", size: tuple[int, int], images: np.ndarray) -> "keras.Model":
    """Return a flat copy of a model in float32 that outputs a score for each class, to be trained.

    Args:
        model: a model with one output.
        size: (height, width) of the images.
        images: inputs on which the copy must agree with the model, (n, *size, channels).

    Raises:
        ValueError: the copy does not agree, or the model is not a classifier with one class for each image.
    """
    import keras
    import tensorflow as tf

    from keras_inception.models.flat import precision
    from keras_inception.models.flat_copy import flat_copy
    from keras_inception.models.inference import inference_model
    from keras_inception.models.scores import ending

    network = inference_model(flat_copy(model, simple=True, size=size))
    given = np.concatenate([np.asarray(model(x[None].astype(model.inputs[0].dtype), training=False)) for x in images])
    try:
        flattened = np.asarray(network(images, training=False))
    except tf.errors.InvalidArgumentError:  # such as of a reshape to one image
        flattened = np.empty(0)
    if flattened.shape != given.shape:
        raise ValueError(f"`model` must work with batches of any size, to be trained. Received: {model.name}")
    _check_same(model.name, given, flattened, TOLERANCE if precision(model) == "float32" else HALF_TOLERANCE)
    found = ending(network, images)
    if found.kind == "independent":
        raise ValueError(
            f"`model` must give one class for each image, to be trained. Received: independent scores of {found.layer}"
        )
    network = found.scoring(network)
    for layer in network.layers:
        layer.trainable = layer.trainable or not isinstance(layer, keras.layers.BatchNormalization)
    return network


def _check_same(name: str, expected: np.ndarray, received: np.ndarray, tolerance: float) -> None:
    """Raise ValueError unless a copy of a model gives the model's outputs, up to `tolerance` of the largest."""
    difference = float(np.abs(expected.astype(np.float32) - received).max())
    if not difference <= tolerance * max(1.0, float(np.abs(expected).max())):
        raise ValueError(
            f"{name} cannot be compressed: its layers, made again from their configurations, give other outputs, by "
            f"{difference:.2g}. A layer's get_config may leave out an argument"
        )


def own_recipe(preprocessing: Preprocessing) -> "Recipe":
    """Return the recipe from which the steps of a compression take their shares (`compress.SHARES`).

    It stands for the training that the model has gone through: 40 epochs of AdamW at 1e-3. Filter pruning then trains
    for 20 epochs at 5e-4, pruning for 12 at 2.5e-4, clustering and training for int8 for 4 at 5e-5. Images are cropped
    a little and change in color, but are not mirrored, which would teach text and digits wrongly.
    """
    from keras_inception.datasets import Augmentation
    from keras_inception.training import Recipe

    return Recipe(
        about="The training that a model of one's own is taken to have had.",
        network=None,
        size=max(preprocessing.size),
        crop=preprocessing.crop,
        epochs=40,
        learning_rate=1e-3,
        weight_decay=0.01,
        ema=0.99,
        label_smoothing=0.0,
        augmentation=Augmentation(area=(0.7, 1.0), flip=False, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.0),
        precision="float32",
    )
