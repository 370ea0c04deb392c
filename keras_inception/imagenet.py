"""ImageNet's 1000 classes (ILSVRC 2012), in the order that all publishers' networks use.

``imagenet_classes.txt`` has one line per class: the ID of its WordNet 3.0 synset and the synset's first word. Two of
the words are shared by two synsets each, which "crane bird" and "maillot tank suit" tell apart. Order and words match
torchvision and timm. WordNet belongs to Princeton University; its license allows any use.
"""

import functools
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from keras_inception import registry
from keras_inception.preprocessing import Preprocessing
from keras_inception.weights.publishers import find

if TYPE_CHECKING:
    import keras

CLASSES = 1000


@functools.cache
def classes() -> tuple[tuple[str, str], ...]:
    """Return the WordNet ID and name of each class."""
    text = resources.files("keras_inception").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    lines = [line.partition(" ") for line in text.splitlines()]
    return tuple((wnid, name) for wnid, _, name in lines)


def decode_predictions(predictions, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """Return the top classes of each image as (WordNet ID, name, score), best first.

    Args:
        predictions: probabilities or logits, an array or tensor of shape (batch, 1000). For (batch, 1001), as in
            TF-slim, the first class, "background", is dropped.
        top: number of classes to return for each image.

    Raises:
        ValueError: `predictions` has another shape, is not numeric or contains NaN, or `top` is not an integer from 1
            to 1000.
    """
    if isinstance(predictions, dict):
        raise ValueError(f"`predictions` must be an array: pass one of the outputs. Received: {list(predictions)}")
    if not isinstance(predictions, (np.ndarray, list, tuple)):
        import keras

        predictions = keras.ops.convert_to_numpy(predictions)
    scores = np.asarray(predictions)
    if scores.ndim != 2 or scores.shape[1] not in (CLASSES, CLASSES + 1):
        raise ValueError(
            f"`predictions` must be (batch, {CLASSES}), or (batch, {CLASSES + 1}) with a background class first. "
            f"Received: {scores.shape}"
        )
    if not np.issubdtype(scores.dtype, np.number) or np.isnan(scores).any():
        raise ValueError(f"`predictions` must be numbers, without NaN. Received: dtype {scores.dtype}")
    if not isinstance(top, int) or not 1 <= top <= CLASSES:
        raise ValueError(f"`top` must be an integer from 1 to {CLASSES}. Received: top={top!r}")
    from keras_inception.evaluation.metrics import top_k

    scores = scores[:, -CLASSES:]
    return [[(*classes()[index], float(row[index])) for index in top_k(row, top)] for row in scores]


def preprocess_input(x, model: "str | keras.Model" = "googlenet", weights: str = "imagenet"):
    """Normalize RGB pixels for a network: (..., height, width, 3), 0 to 255, to float32 of the same shape.

    Args:
        x: array, or tensor of any backend, of integers or floats, already resized to the network's input, also inside
            ``tf.data.Dataset.map``. `Preprocessing.__call__` also crops and resizes.
        model: a network's name, or a network of this package, which has a `preprocessing` attribute.
        weights: the published weights to preprocess for, ``"imagenet"`` or ``"imagenet:PUBLISHER"``; only used if
            `model` is a name.

    Raises:
        ValueError: there is no such network or weights, the network has no preprocessing, or `x` is not an array of RGB
            pixels.
    """
    preprocessing = getattr(model, "preprocessing", None)
    if isinstance(model, str):
        preprocessing = find(weights, registry.resolve(model)).preprocessing
    if not isinstance(preprocessing, Preprocessing):
        raise ValueError(
            "`model` must be a network's name, or a network of this package, which has a `preprocessing` attribute. "
            f"Received: {model!r}"
        )
    received = _shape(x)
    if isinstance(received, str) or len(received) < 3 or received[-1] != 3:
        raise ValueError(f"`x` must be an array of RGB pixels, (..., height, width, 3). Received: {received}")
    dtype = getattr(x.dtype, "name", str(x.dtype))
    if "int" not in dtype and "float" not in dtype:
        raise ValueError(f"`x` must be integers or floats, 0 to 255. Received: dtype {dtype}")
    return preprocessing.normalize(x)


def _shape(x) -> tuple | str:
    """Return the shape of an array or tensor, or what `x` is instead."""
    shape = getattr(x, "shape", None)
    if shape is None:
        return type(x).__name__
    if getattr(shape, "rank", 0) is None:  # as `tf.image.decode_image` returns it
        return "a tensor of unknown shape, to which tf.ensure_shape(x, (None, None, 3)) gives one"
    return tuple(shape)
