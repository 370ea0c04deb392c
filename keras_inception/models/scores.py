"""What the output of a classifier means, and the score of each class that follows from it."""

import itertools
from collections.abc import Callable
from typing import Literal, NamedTuple

import keras
import numpy as np

from keras_inception.graph import Graph, Step, walk

# Layers and operations that arrange or average values, or do nothing in inference: what comes out is of the kind of
# what goes in.
KEEPING = {
    *("ActivityRegularization", "Cast", "Dropout", "ExpandDims", "Flatten", "GetItem", "Identity", "Reshape"),
    *("Squeeze", "Average", "AveragePooling2D", "Concatenate", "GlobalAveragePooling2D", "GlobalMaxPooling2D"),
    *("Maximum", "MaxPooling2D", "Mean", "Stack"),
}
# The same in TensorFlow's graphs, and its calls of functions.
PASSING = ("Cast", "Identity", "Reshape", "Squeeze", "StopGradient")
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
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
    computes something decides: a sigmoid, or no activation, which means logits. If it does not tell, such as a `Lambda`
    or a TensorFlow function, its last operation does, and outputs that are all from 0 to 1 count as sigmoids.

    Args:
        model: a functional or sequential model with one output.
        x: inputs of the model, as different as possible.

    Raises:
        ValueError: the outputs are not those of a classifier, or not finite. The message names the layer.
    """
    graph = walk(model, x.shape[1:])
    last = graph.made_by(graph.outputs[0])
    if last is None:
        raise ValueError(f"`model` must compute something. Received: {model.name}, whose output is its input")
    steps = _deciding(graph, last)
    layer = steps[0].name if len(steps) == 1 else last.name
    shape = tuple(model.outputs[0].shape)
    if len(shape) < 2 or shape[-1] is None or any(side != 1 for side in shape[1:-1]):
        raise ValueError(f"`model` must give (batch, classes). Received: {shape}, of its layer {layer}")
    outputs = outputs_of(model, x, model.inputs[0].shape[0]).reshape(len(x), -1)
    if not np.isfinite(outputs).all():
        raise ValueError("`model` gives NaN or infinity on an image of noise: its weights are broken")
    activations = {_activation(step) for step in steps}
    activation = activations.pop() if len(activations) == 1 else None
    if activation is None and keras.backend.backend() == "tensorflow" and _last_operation(model, x[:1]) == "Sigmoid":
        activation = "sigmoid"
    if shape[-1] == 1 and activation != "sigmoid":
        raise ValueError(
            f"`model` must end in a sigmoid if it has one output: a single value of {layer} may be the logit of two "
            "classes or something else. Let an Activation('sigmoid') layer compute it, or use two outputs"
        )
    if activation == "softmax" or (shape[-1] > 1 and (outputs >= 0).all() and _sum_to_one(outputs)):
        return Ending("probabilities", layer)
    if activation == "sigmoid":
        return Ending("binary" if shape[-1] == 1 else "independent", layer)
    if activation not in (None, "linear"):
        raise ValueError(
            f"`model` must end in softmax, sigmoid or logits. Received: {layer}, which ends in {activation}"
        )
    if activation is None and ((outputs >= 0) & (outputs <= 1)).all():
        return Ending("independent", layer)
    return Ending("logits", layer)


def _last_operation(model: keras.Model, x: np.ndarray) -> str | None:
    """Return the kind of the last TensorFlow operation of a model that computes something, None if there is none."""
    import tensorflow as tf

    x = tf.convert_to_tensor(x, model.inputs[0].dtype)
    graph = tf.function(lambda x: model(x, training=False), autograph=False).get_concrete_function(x).graph
    definition = graph.as_graph_def()
    functions = {function.signature.name: function for function in definition.library.function}
    nodes, tensor = {node.name: node for node in definition.node}, graph.outputs[0].name
    while node := nodes.get(tensor.partition(":")[0]):
        if node.op in CALLS:
            function = functions[node.attr["f"].func.name]
            number = int(tensor.rpartition(":")[2]) if ":" in tensor else 0
            nodes = {node.name: node for node in function.node_def}
            tensor = function.ret[function.signature.output_arg[number].name]
        elif node.op in PASSING:
            tensor = node.input[0]
        else:
            return node.op
    return None


def outputs_of(model: keras.Model, x: np.ndarray, batch: int | None) -> np.ndarray:
    """Return the outputs of a model with one output in inference, float32, in batches of a size or all at once."""
    batch = batch or len(x)
    parts = [model(x[start : start + batch], training=False) for start in range(0, len(x), batch)]
    return np.concatenate([np.asarray(keras.ops.cast(part, "float32")) for part in parts])


def _sum_to_one(outputs: np.ndarray) -> bool:
    # In bfloat16, a softmax may be off by 0.004. After training for int8, each score has 8 bits.
    return np.allclose(outputs.sum(axis=-1), 1, atol=0.02)


def _deciding(graph: Graph, step: Step) -> list[Step]:
    """Return the steps whose outputs a step arranges or averages, or the step itself if it computes something else."""
    before = [graph.made_by(x) for x in step.inputs]
    if not before or None in before or not (step.kind in KEEPING or _is_linear_activation(step)):
        return [step]
    return [each for maker in before if maker for each in _deciding(graph, maker)]


def _is_linear_activation(step: Step) -> bool:
    return step.kind == "Activation" and step.operation.activation is keras.activations.linear


def _activation(step: Step) -> str | None:
    """Return the name of the activation of a step, ``"linear"`` if it has none; None if that cannot be told."""
    if step.kind in ("Softmax", "Sigmoid"):
        return step.kind.lower()
    if step.kind in RECTIFIERS:
        return step.kind
    function: Callable | None = getattr(step.operation, "activation", None)
    return getattr(function, "__name__", type(function).__name__) if callable(function) else None
