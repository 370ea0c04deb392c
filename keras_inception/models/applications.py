"""Networks of keras.applications, with a classifier of one's own classes and the preprocessing that they expect."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_inception.models.blocks import classifier
from keras_inception.preprocessing import Preprocessing
from keras_inception.utils.files import MODEL, PREPROCESSING
from keras_inception.weights.checkpoint import run_of
from keras_inception.weights.publishers import IMAGENET, is_published

# Arguments of keras.applications that are set here, or that belong to the classifiers that are not used.
SET = (
    *("include_top", "weights", "input_tensor", "input_shape", "pooling", "classes", "classifier_activation", "name"),
    *("include_preprocessing", "dropout", "dropout_rate"),
)
PIXELS = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.float32)  # black, red, green, blue


def factory(name: str) -> Callable[..., keras.Model]:
    """Return a factory of a network of keras.applications.

    Args:
        name: the network's name in keras.applications.

    Returns:
        A function like the factories of `keras_inception.models`. It takes `input_shape`, `classes`, `weights`
        (``"imagenet"``, an .h5 file of Keras' weights without the classifier, a run directory or its ``model.keras``,
        or None), `dropout` before the classifier, and the network's own options. The network's layers are not nested,
        and its classifier is called ``predictions``.
    """
    body = getattr(keras.applications, name)
    build = functools.partial(_build, body)
    own = [each for each in inspect.signature(body).parameters.values() if each.name not in SET]
    options = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own if each.kind is not each.VAR_KEYWORD]
    shared = [each for each in inspect.signature(build).parameters.values() if each.kind is not each.VAR_KEYWORD]
    build.__signature__ = inspect.Signature([*shared, *options])  # type: ignore[attr-defined]
    return build


def preprocessing(name: str) -> Preprocessing:
    """Return what a network of keras.applications expects, without a crop: found by its own `preprocess_input`."""
    module = sys.modules[getattr(keras.applications, name).__module__]
    black, *colors = np.asarray(module.preprocess_input(PIXELS[None, None].copy(), data_format="channels_last"))[0, 0]
    # Each color changes one channel of the input: (pixel - mean) / std.
    order = [int(np.argmax(np.abs(color - black))) for color in colors]
    std = [255 / (color - black)[channel] for color, channel in zip(colors, order, strict=True)]
    mean = [-black[channel] * each for channel, each in zip(order, std, strict=True)]
    channels = "BGR" if order == [2, 1, 0] else "RGB"
    return Preprocessing(mean=_in_order(mean, order), std=_in_order(std, order), channels=channels)


def _in_order(values: Sequence[float], order: Sequence[int]) -> tuple[float, float, float]:
    """Return values of red, green and blue in the order of the channels, without the errors of float32."""
    first, second, third = (float(f"{values[order.index(channel)]:.6g}") + 0.0 for channel in range(3))
    return first, second, third


def _build(
    body: Callable[..., keras.Model],
    *,
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 1000,
    weights: str | os.PathLike | None = None,
    dropout: float = 0.0,
    auxiliary: bool = False,
    skip_mismatch: bool = False,
    **options: Any,
) -> keras.Model:
    name = getattr(body, "__name__", "")
    file = None if weights is None or is_published(weights) else Path(weights)
    run = run_of(file) if file else None
    network = run / MODEL if run else file if file and file.suffix == ".keras" else None
    if weights not in (None, IMAGENET) and not run and not (file and file.is_file()):
        allowed = "imagenet, an .h5 file of Keras' weights without the classifier, a run directory, or None"
        raise ValueError(f"`weights` of keras:{name} must be {allowed}. Received: weights={weights!r}")
    if auxiliary:
        raise ValueError(f"`auxiliary` must be False: keras:{name} has no auxiliary classifiers. Received: True")
    try:
        trunk = body(include_top=False, weights=None if network else weights, input_shape=input_shape, **options)
    except Exception as error:
        if type(error) is Exception and "URL fetch failure" in str(error):  # all that Keras says about it
            raise ConnectionError(f"the weights of keras:{name} cannot be downloaded: {error}") from None
        raise
    x = layers.GlobalAveragePooling2D(name="global_pool")(trunk.output)
    x = classifier(x, classes, dropout=dropout, activation="softmax", name="predictions")
    model = keras.Model(trunk.inputs[0], x, name=trunk.name)
    height, width = model.input_shape[1:3]
    if network:
        model.load_weights(network, skip_mismatch=skip_mismatch)
    expected = Preprocessing.named(str(run / PREPROCESSING)) if run else preprocessing(name)
    model.preprocessing = expected.replace(size=(height, width)) if height and width else expected
    return model
