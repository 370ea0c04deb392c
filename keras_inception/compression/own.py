"""Compress one's own model: write any functional classifier as a run directory, which `compress` starts from."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_inception.preprocessing import DEFAULT, NAMED, Preprocessing
from keras_inception.runs import DATA, LABELS, MODEL, PREPROCESSING, RECIPE, Run, load
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
    """

    data: str | os.PathLike
    labels: str | os.PathLike | Sequence[str] | None = None
    preprocessing: str | os.PathLike | Preprocessing | None = None
    validation: float = 0.15

    @classmethod
    def given(
        cls,
        data: str | os.PathLike | None,
        labels: str | os.PathLike | Sequence[str] | None,
        preprocessing: str | os.PathLike | Preprocessing | None,
        validation: float,
    ) -> "OwnModel | None":
        """Return these attributes, or None without `data`; ValueError if others are given without `data`."""
        if data is not None:
            return cls(data, labels, preprocessing, validation)
        if labels is not None or preprocessing is not None:
            raise ValueError("`labels` and `preprocessing` require `data`. Received: data=None")
        return None

    def check(self) -> None:
        """Raise the errors that do not depend on the model, before anything heavy is loaded."""
        from keras_inception.datasets import located
        from keras_inception.datasets.splits import check_share

        located(self.data)
        check_share(self.validation)
        self.class_names()
        if isinstance(self.preprocessing, (str, os.PathLike)):
            Preprocessing.named(str(self.preprocessing))

    def class_names(self) -> tuple[str, ...] | None:
        """Return the names of the classes, if they are given."""
        if isinstance(self.labels, (str, os.PathLike)):
            return files.read_labels(self.labels)
        return None if self.labels is None else tuple(self.labels)

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
        data: dict[str, Any] = {"source": datasets.located(self.data), "validation": self.validation, "seed": 0}
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
        source: a ``.keras`` file or a model.
        own: its images, class names and preprocessing.
        folder: the folder to create.

    Raises:
        ValueError: the model is not a classifier of these classes, does not say what its input expects, or cannot be
            written and opened again with the same outputs.
    """
    import keras

    from keras_inception import datasets
    from keras_inception.models.flat import flat
    from keras_inception.models.inference import inference_model, without_heads

    model = load(source) if isinstance(source, (str, os.PathLike)) else source
    preprocessing = input_preprocessing(model, own.preprocessing)
    splits, data = own.splits()
    model = without_heads(model)
    network = inference_model(flat(model, simple=True, size=preprocessing.size))
    few = splits.train.select(np.linspace(0, len(splits.train) - 1, min(IMAGES, len(splits.train))).astype(int))
    images = np.concatenate([x for x, _ in datasets.evaluation_batches(few, preprocessing, IMAGES)])
    given = np.concatenate([np.asarray(model(x[None].astype(model.inputs[0].dtype), training=False)) for x in images])
    flattened = np.asarray(network(images, training=False))
    half = any("16" in str(layer.compute_dtype) for layer in model._flatten_layers())
    _check_same(model.name, given, flattened, HALF_TOLERANCE if half else TOLERANCE)
    network = with_probabilities(network, flattened, splits.labels)
    for layer in network.layers:
        layer.trainable = layer.trainable or not isinstance(layer, keras.layers.BatchNormalization)
    folder.mkdir(parents=True)
    files.write_labels(folder / LABELS, splits.labels)
    preprocessing.save(folder / PREPROCESSING)
    own_recipe(preprocessing).save(folder / RECIPE)
    files.write_json(folder / DATA, {**data, "command": "compress"})
    network.save(folder / MODEL)
    run = Run(folder)
    expected, again = (np.asarray(each(images, training=False)) for each in (network, run.model()))
    _check_same(model.name, expected, again, TOLERANCE)
    return run


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


def input_preprocessing(model: "keras.Model", given: str | os.PathLike | Preprocessing | None) -> Preprocessing:
    """Return the preprocessing of a model's input, as it is given or as the model tells.

    Raises:
        ValueError: it is not given and the model does not tell, or it is not for the model's input.
    """
    from keras_inception.graph import check_functional

    check_functional(model)
    shape = tuple(model.inputs[0].shape)
    if len(model.inputs) != 1 or len(shape) != 4:
        shapes = [tuple(x.shape) for x in model.inputs]
        raise ValueError(f"`model` must take images, (batch, height, width, channels). Received: {shapes}")
    size = shape[1:3] if all(shape[1:3]) else None
    if isinstance(given, Preprocessing):
        chosen = given
    elif given is not None:
        chosen = Preprocessing.named(str(given), size or DEFAULT.size)
    elif takes_pixels(model):
        chosen = DEFAULT.replace(size=size or DEFAULT.size).without_normalization()
    elif isinstance(own := getattr(model, "preprocessing", None), Preprocessing):
        chosen = own
    else:
        raise ValueError(
            f"`preprocessing` must be given: {model.name} does not begin with a layer that tells. It is one of "
            f"{', '.join(NAMED)}, or a JSON file. Received: None"
        )
    if size and chosen.size != size:
        raise ValueError(f"`preprocessing` must have the size of the model's input, {size}. Received: {chosen.size}")
    return chosen


def takes_pixels(model: "keras.Model") -> bool:
    """Return True if a model takes raw pixels, 0 to 255: its input is uint8, or it begins by normalizing them.

    Everything that reads the input must do so, by a `Rescaling` or `Normalization` layer or by the arithmetic of
    `preprocess_input`. What does not change values, such as augmentation, is passed over.
    """
    from keras_inception.graph import walk
    from keras_inception.models.flat import flat

    if model.inputs[0].dtype == "uint8":
        return True
    sides = [side or DEFAULT.size[0] for side in model.inputs[0].shape[1:3]]
    graph = walk(flat(model), (*sides, model.inputs[0].shape[3]))
    pixels, normalized = {id(graph.inputs[0])}, False
    for step in graph.steps:
        if not any(id(x) in pixels for x in step.inputs):
            continue
        if step.kind in ("Cast", "GetItem", "Resizing", "Stack", "ZeroPadding2D"):
            pixels.update(id(x) for x in step.outputs)
        elif _normalizes_pixels(step.operation):
            normalized = True
        else:
            return False
    return normalized


def _normalizes_pixels(operation: "keras.Operation") -> bool:
    """Return True if an operation brings 0 to 255 into a small range, or subtracts a mean of such numbers."""
    from keras import KerasTensor, layers

    if isinstance(operation, layers.Rescaling):
        return bool(np.max(np.abs(operation.scale)) < 0.1)
    if isinstance(operation, layers.Normalization):
        return bool(np.max(operation.variance) > 2)
    limits = {"Add": 2, "Subtract": 2, "Divide": 10, "TrueDivide": 10, "Multiply": 0.1}
    if type(operation).__name__ not in limits:
        return False
    limit = limits[type(operation).__name__]
    others = [each for each in operation._inbound_nodes[0].arguments.args if not isinstance(each, KerasTensor)]
    largest = max((float(np.max(np.abs(np.asarray(each)))) for each in others), default=0.0)
    return 0 < largest < limit if limit < 1 else largest >= limit


def with_probabilities(network: "keras.Model", outputs: np.ndarray, labels: Sequence[str]) -> "keras.Model":
    """Return a classifier with probabilities, (batch, classes), as its output.

    A softmax is added to logits. A single sigmoid unit p becomes the two classes [1 - p, p].

    Args:
        network: the flat network, with one output.
        outputs: its outputs for some images.
        labels: names of the classes.

    Raises:
        ValueError: the outputs are not one for each class, or are independent scores.
    """
    import keras

    y = network.output
    if len(y.shape) != 2:
        raise ValueError(f"`model` must give (batch, classes). Received: {tuple(y.shape)}")
    classes = max(2, y.shape[1])
    if len(labels) != classes:
        raise ValueError(
            f"`data` must have {classes} classes, one for each output of {network.name}. "
            f"Received: {len(labels)}: {', '.join(labels):.200}"
        )
    activation = _last_activation(y._keras_history.operation)
    if y.shape[1] == 1 and activation in ("sigmoid", "linear"):
        p = y if activation == "sigmoid" else keras.layers.Activation("sigmoid", name="score")(y)
        y = keras.layers.Concatenate(name="scores")([keras.layers.Rescaling(-1.0, 1.0, name="other_score")(p), p])
    elif (outputs >= 0).all() and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3):
        return network
    elif activation == "linear" and y.shape[1] > 1:
        y = keras.layers.Softmax(name="probabilities")(y)
    else:
        raise ValueError(
            "`model` must end in softmax, in logits or in one sigmoid unit: training needs one class for each image. "
            f"Received: a model that ends in {activation}"
        )
    return keras.Model(network.inputs[0], y, name=network.name)


def _last_activation(operation: "keras.Operation") -> str:
    """Return the name of the last activation, or of the class of an operation that is something else."""
    from keras import layers

    while isinstance(operation, (layers.Reshape, layers.Flatten, layers.Dropout)):
        operation = operation.input._keras_history.operation
    activation = getattr(operation, "activation", None)
    if activation is not None:
        return activation.__name__
    pools = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
    return "linear" if isinstance(operation, pools) else type(operation).__name__.lower()
