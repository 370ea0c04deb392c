"""What the output of a classifier means, and the score of each class that follows from it."""

import itertools
from collections.abc import Callable
from typing import Literal, NamedTuple

import keras
import numpy as np

from keras_inception.graph import Step, walk
from keras_inception.layers import FakeQuantization

# Layers and operations that only arrange values, or do nothing in inference.
ARRANGING = {"ActivityRegularization", "Cast", "Dropout", "ExpandDims", "Flatten", "Identity", "Reshape", "Squeeze"}
RECTIFIERS = {"ELU", "Elu", "Gelu", "LeakyReLU", "LeakyRelu", "PReLU", "ReLU", "Relu", "Relu6", "Tanh"}


class Ending(NamedTuple):
    """How a classifier ends.

    Attributes:
        kind: ``"probabilities"``, which sum to 1; ``"logits"``, which lack a softmax; ``"binary"``, the probability of
            the second of two classes; or ``"independent"``, the probability of each class by itself (multi-label).
        layer: name of the layer that computes the output.
    """

    kind: Literal["probabilities", "logits", "binary", "independent"]
    layer: str

    def scores(self, outputs: np.ndarray) -> np.ndarray:
        """Return the scores of the classes, float32 (n, classes), for the outputs of the model."""
        outputs = np.asarray(outputs, np.float32).reshape(len(outputs), -1)
        if self.kind == "logits":
            powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            return powers / powers.sum(axis=1, keepdims=True)
        return np.concatenate([1 - outputs, outputs], axis=1) if self.kind == "binary" else outputs

    def scoring(self, model: keras.Model) -> keras.Model:
        """Return a functional `model` with the layers added that compute the scores, (batch, classes)."""
        x, taken = model.outputs[0], {operation.name for operation in model.operations}

        def name(wanted: str) -> str:
            others = (f"{wanted}_{number}" for number in itertools.count(1))
            return next(each for each in itertools.chain([wanted], others) if each not in taken)

        if len(x.shape) > 2:
            x = keras.layers.Flatten(name=name("flat_scores"))(x)
        if self.kind == "logits":
            x = keras.layers.Softmax(name=name("scores"))(x)
        elif self.kind == "binary":
            others = keras.layers.Rescaling(-1.0, 1.0, name=name("score_of_the_first_class"))(x)
            x = keras.layers.Concatenate(name=name("scores"))([others, x])
        return model if x is model.outputs[0] else keras.Model(model.inputs[0], x, name=model.name)


def ending(model: keras.Model, x: np.ndarray) -> Ending:
    """Find out what the output of a classifier means: by its last layer, and by its values.

    Nonnegative outputs that sum to 1 are probabilities, whichever layers computed them. Else the last layer that
    computes something decides: a sigmoid, or no activation, which means logits.

    Args:
        model: a functional or sequential model with one output.
        x: a batch of inputs of the model, of noise or of images.

    Raises:
        ValueError: the outputs are not those of a classifier, or not finite. The message names the layer.
    """
    step = _deciding(model, x)
    layer = step.name
    shape = tuple(model.outputs[0].shape)
    if len(shape) < 2 or shape[-1] is None or any(side != 1 for side in shape[1:-1]):
        raise ValueError(f"`model` must give (batch, classes). Received: {shape}, of its layer {layer}")
    outputs = np.asarray(keras.ops.cast(model(x, training=False), "float32")).reshape(len(x), -1)
    if not np.isfinite(outputs).all():
        raise ValueError("`model` gives NaN or infinity on an image of noise: its weights are broken")
    activation = _activation(step)
    if shape[-1] == 1 and activation != "sigmoid":
        raise ValueError(
            f"`model` must end in a sigmoid if it has one output: a single value of {layer} may be the logit of two "
            "classes or something else. Add the sigmoid to it, or use two outputs"
        )
    # After training for int8, each score has 8 bits.
    rounding = 0.02 if any(isinstance(each, FakeQuantization) for each in model.operations) else 1e-3
    if shape[-1] > 1 and (outputs >= 0).all() and np.allclose(outputs.sum(axis=-1), 1, atol=rounding):
        return Ending("probabilities", layer)
    if activation == "sigmoid":
        return Ending("binary" if shape[-1] == 1 else "independent", layer)
    if activation not in ("linear", "softmax"):
        raise ValueError(
            f"`model` must end in softmax, sigmoid or logits. Received: {layer}, which ends in {activation}"
        )
    return Ending("logits", layer)


def _deciding(model: keras.Model, x: np.ndarray) -> Step:
    """Return the last step of a model that computes something."""
    graph = walk(model, x.shape[1:])
    (output, *_) = graph.outputs
    step = graph.made_by(output)
    while step and step.inputs and (step.kind in ARRANGING or _is_linear_activation(step)):
        before = graph.made_by(step.inputs[0])
        if before is None:
            break
        step = before
    if step is None:
        raise ValueError(f"`model` must compute something. Received: {model.name}, whose output is its input")
    return step


def _is_linear_activation(step: Step) -> bool:
    return step.kind == "Activation" and step.operation.activation is keras.activations.linear


def _activation(step: Step) -> str:
    """Return the name of the activation of a step: linear if it has none."""
    if step.kind in ("Softmax", "Sigmoid"):
        return step.kind.lower()
    if step.kind in RECTIFIERS:
        return step.kind
    function: Callable | None = getattr(step.operation, "activation", None)
    return getattr(function, "__name__", "linear") if callable(function) else "linear"
