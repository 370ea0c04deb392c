"""Find out what a network expects of its input, if nobody says it."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.evaluation.classifiers import KerasClassifier
from keras_inception.evaluation.metrics import wilson
from keras_inception.preprocessing import NAMED, Preprocessing
from keras_inception.registry import NETWORKS

if TYPE_CHECKING:
    import keras

    from keras_inception.graph import Graph, Step

# What normalizes pixels at the beginning of a network, and what leaves their values as they are.
NORMALIZING = {"Add", "Divide", "Lambda", "Multiply", "Normalization", "Rescaling", "Subtract", "TrueDivide"}
KEEPING = {
    *("Cast", "CenterCrop", "Concatenate", "Cropping2D", "ExpandDims", "Flip", "GetItem", "Identity", "Pad", "Permute"),
    *("RandomCrop", "Repeat", "Reshape", "Resize", "Resizing", "RGBToGrayscale", "Squeeze", "Stack", "Transpose"),
    *("UpSampling2D", "ZeroPadding2D"),
}
# Networks take inputs whose black and white differ by 1 to 5, or by 255 after Caffe's preprocessing.
WIDEST = 300
# What is tried on labeled images: the others differ from these only in how they crop and resize.
CANDIDATES = {
    "raw": "pixels from 0 to 255",
    "zero_to_one": "pixels / 255",
    "unit": "from -1 to 1",
    "torchvision": "ImageNet's mean and deviation",
    "keras_caffe": "BGR minus ImageNet's mean",
}
Stated = str | os.PathLike | Preprocessing | None


def check_takes_images(model: "keras.Model") -> None:
    """Raise ValueError unless a network takes images, with their channels last."""
    from keras_inception.models.flat import layers_of

    shapes = [tuple(x.shape) for x in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        hint = (
            " (if the images are gray, let it begin with a channel of 1 and a Reshape)" if len(shapes[0]) == 3 else ""
        )
        received = ", ".join(map(str, shapes))
        raise ValueError(
            f"`model` must take images, (batch, height, width, channels), as its only input. Received: {received}{hint}"
        )
    if (dtype := model.inputs[0].dtype) in ("bool", "int8"):
        raise ValueError(f"`model` must take floats, or integers from 0 to 255. Received: {dtype}")
    for layer in layers_of(model):
        if getattr(layer, "data_format", None) == "channels_first":
            raise ValueError(
                f"`model` must have its channels last. Received: {layer.name}, a {type(layer).__name__} with "
                "data_format 'channels_first'"
            )


def image_size(model: "keras.Model", stated: Stated) -> tuple[int, int]:
    """Return the (height, width) of a network's images: that of a preprocessing or its file, else of the input.

    Raises:
        ValueError: the network takes images of any size, and nobody says which.
    """
    if isinstance(stated, Preprocessing):
        return stated.size
    if stated is not None and str(stated) not in NAMED:
        return Preprocessing.named(str(stated)).size
    shape = tuple(model.inputs[0].shape)
    if None in shape[1:3]:
        raise ValueError(f"`size` must be given as (height, width): {model.name} takes any size. Received: none")
    return shape[1:3]


def stated_preprocessing(
    stated: Stated, given: "keras.Model", model: "keras.Model", size: tuple[int, int]
) -> Preprocessing | None:
    """Return the preprocessing that the caller states, or the network itself; None if nothing tells.

    Args:
        stated: the preprocessing, its name or its JSON file; None to find it out.
        given: the network as it was given, which may have a ``preprocessing`` attribute.
        model: the same with one output.
        size: (height, width) of the images.

    Raises:
        ValueError: the preprocessing normalizes, and the input is an integer.
    """
    if stated is not None:
        if not isinstance(stated, Preprocessing):
            stated = Preprocessing.named(str(stated), size)
        dtype = model.inputs[0].dtype
        if "int" in dtype and (any(stated.mean) or {*stated.std} != {1}):
            raise ValueError(
                f"`preprocessing` must be raw pixels for {model.name}, whose input is {dtype}. Received: "
                f"mean {stated.mean}, std {stated.std}"
            )
        return stated.replace(size=size)
    if isinstance(own := getattr(given, "preprocessing", None), Preprocessing):
        return own.replace(size=size)
    name = preprocessing_inside(model, (*size, model.inputs[0].shape[-1] or 3))
    if name is None and is_of_the_registry(model):
        name = "unit"
    return None if name is None else Preprocessing.named(name, size)


def unknown(model: "keras.Model", left: Sequence[str] | None = None) -> ValueError:
    """Return the error that nothing tells what a network expects, with the choices.

    Args:
        model: the network.
        left: names of the candidates that labeled images leave; None if there are no such images.
    """
    reason = "nothing tells what" if left is None else "the labeled images do not tell which of these"
    meanings = "; ".join(f"{name}, {CANDIDATES[name]}" for name in left or CANDIDATES)
    return ValueError(
        f"`preprocessing` must be given: {reason} {model.name} expects. Choose one of {meanings}, or write a JSON "
        "file. Received: none"
    )


def preprocessing_inside(model: "keras.Model", shape: tuple[int, int, int]) -> str | None:
    """Return the name of the preprocessing to feed a network that normalizes its input itself, or None.

    The first layers, those of nested models too, are followed from the input up to the first one that is not a
    normalization, and run on black and white: ``"raw"`` pixels must come out of them in a plausible range, and
    ``"zero_to_one"`` if they do not. An integer input is raw pixels.

    Args:
        model: a functional model.
        shape: (height, width, channels) of its input.
    """
    from keras_inception.graph import walk
    from keras_inception.models.flat import step_outputs

    if "int" in model.inputs[0].dtype:
        return "raw"
    graph = walk(model, shape)
    last = _last_normalization(graph)
    if last is None:
        return None
    ends = np.stack([np.zeros(shape, np.float32), np.full(shape, 255, np.float32)])[: model.inputs[0].shape[0]]
    outputs = [step_outputs(model, end[None])[graph.steps.index(last)].value for end in ends]
    width = np.abs(outputs[-1] - outputs[0]).max()
    return "raw" if width <= WIDEST else "zero_to_one"


def fitting_pictures(
    model: "keras.Model", candidates: Mapping[str, Preprocessing], images: Mapping[str, np.ndarray], labels: np.ndarray
) -> list[str]:
    """Return the candidates that labeled images do not rule out: those with a top-1 accuracy near the best.

    Args:
        model: a network with one output.
        candidates: preprocessings by name.
        images: for each candidate, uint8 RGB (n, height, width, 3), fitted by it.
        labels: class indices, (n,).
    """
    right = {}
    for name, preprocessing in candidates.items():
        scores = KerasClassifier(model, (), preprocessing).predict(images[name])
        right[name] = int((scores.argmax(axis=1) == labels).sum())
    lowest, _ = wilson(max(right.values()), len(labels))
    return [name for name, count in right.items() if wilson(count, len(labels))[1] >= lowest]


def is_of_the_registry(model: "keras.Model") -> bool:
    """Return True if a network has the name and the layers of one of ours, and not of another publisher's namesake."""
    from keras_inception.weights.publishers import publisher_of
    from keras_inception.weights.publishers.namemap import OWN_NAME

    names = [f"{layer.name}/{weight.name}" for layer in model.layers for weight in layer.weights]
    try:
        return model.name in NETWORKS and publisher_of(names, model.name) == OWN_NAME
    except ValueError:
        return False


def with_channels(preprocessing: Preprocessing, channels: int | None) -> Preprocessing:
    """Return a preprocessing for the number of channels of a network's input: 1 is gray.

    Raises:
        ValueError: the channels have different means or deviations, or there are neither 1 nor 3.
    """
    if channels not in (1, 3, None):
        raise ValueError(f"`model` must take images of 3 channels, or of 1 for gray. Received: {channels} channels")
    return preprocessing.with_channels(channels)


def without_normalization(model: "keras.Model", preprocessing: Preprocessing) -> "tuple[keras.Model, Preprocessing]":
    """Return a network without the normalization that it begins with, and the preprocessing that replaces it.

    In int8, such layers may force their own range on the input, which then cannot take raw pixels. Preprocessing can be
    left to the quantization of the input, or becomes one convolution (`signature.deployed`).

    Args:
        model: a flat network.
        preprocessing: what its input expects.

    Returns:
        Both as they are if the network takes anything but raw RGB pixels, or does more to them than to change their
        mean, deviation and order of channels.
    """
    from keras_inception.graph import walk
    from keras_inception.models.flat import rebuilt_from

    if preprocessing != preprocessing.without_normalization():
        return model, preprocessing
    graph = walk(model)
    last = _last_normalization(graph)
    if last is None or last.outputs[0].shape != graph.inputs[0].shape:
        return model, preprocessing
    before = graph.steps[: graph.steps.index(last) + 1]
    inside = {id(x) for step in before for x in step.outputs} - {id(last.outputs[0])}
    if any(id(x) in inside for step in graph.steps[len(before) :] for x in step.inputs):
        return model, preprocessing
    normalized = _as_preprocessing(model, len(before) - 1, preprocessing)
    if normalized is None:
        return model, preprocessing
    return rebuilt_from(model, [step.operation for step in before]), normalized


def _as_preprocessing(model: "keras.Model", number: int, preprocessing: Preprocessing) -> Preprocessing | None:
    """Return what the steps of a network up to this number do to raw pixels, or None if a preprocessing cannot."""
    from keras_inception.models.flat import step_outputs

    height, width = preprocessing.size
    pixels = np.zeros((5, height, width, 3), np.float32)
    for channel in range(3):
        pixels[1 + channel, ..., channel] = 255
    pixels[4] = np.random.default_rng(0).integers(0, 256, pixels.shape[1:])
    black, *primaries, noise = step_outputs(model, pixels)[number].value
    factors = (np.stack(primaries)[:, 0, 0] - black[0, 0]) / 255  # of each input channel in each output channel
    for channels, order in (("RGB", [0, 1, 2]), ("BGR", [2, 1, 0])):
        scale = factors[order, range(3)]
        if (scale > 0).all():
            std = 1 / scale
            found = preprocessing.replace(mean=(-black[0, 0] * std).tolist(), std=std.tolist(), channels=channels)
            if np.allclose(found.normalize(pixels[4]), noise, rtol=1e-4, atol=1e-4 * np.abs(noise).max()):
                return found
    return None


def _last_normalization(graph: "Graph") -> "Step | None":
    """Return the last of the first steps that normalize the input, or None if another step reads it as it is."""
    from keras_inception.models.flat import is_for_training

    known, last = {id(x) for x in graph.inputs}, None
    pixels = set(known)  # those of the known tensors that are not normalized yet
    for step in graph.steps:
        inputs, outputs = ({id(x) for x in tensors} for tensors in (step.inputs, step.outputs))
        if inputs <= known and step.kind in NORMALIZING:
            known |= outputs
            last = step
        elif inputs <= known and (step.kind in KEEPING or is_for_training(step.operation)):
            known |= outputs
            pixels |= outputs if inputs & pixels else set()
        elif inputs & pixels:
            return None
    return last
