"""Inline a network: a functional model of plain layers that shares the layers and weights of the given model."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np

from keras_inception.graph import check_functional, is_functional
from keras_inception.models.inference import inference_model

# Dropout and its like return their input in inference, and so do the layers of Keras with such names.
DROPOUT = (
    *(keras.layers.Dropout, keras.layers.SpatialDropout1D, keras.layers.SpatialDropout2D, keras.layers.AlphaDropout),
    *(keras.layers.GaussianDropout, keras.layers.GaussianNoise, keras.layers.ActivityRegularization),
)
AUGMENTATION = ("AugMix", "CutMix", "MixUp", "RandAugment", "Random")
HALF = ("float16", "bfloat16")
FLOATS = (*HALF, "float64")  # other than float32


def flat(model: keras.Model, input_shape: Sequence[int] | None = None) -> keras.Model:
    """Return a float32 model for inference without nested models, dropout and random augmentation.

    It takes float32 images in batches of any size. It shares the layers and weights of `model`, which is not modified.
    Only a model that does not compute in float32 is copied.

    Args:
        model: a functional or sequential model with one input and one output.
        input_shape: (height, width, channels) of the images; None for the model's own.

    Returns:
        The new model, or `model` itself if there is nothing to change.

    Raises:
        ValueError: the model is not functional, or a layer cannot work with `input_shape`.
    """
    check_functional(model)
    shape = tuple(input_shape or model.inputs[0].shape[1:])
    if _is_flat(model, shape):
        return model
    image = keras.Input(shape, dtype="float32", name=model.inputs[0].name)
    inliner = _Inliner()
    try:
        (output,) = inliner.run(model, [image])
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"`model` must work with images of {shape}. Received: {model.name}, which does not: {reason}"
        ) from None
    inlined = keras.Model(image, output, name=model.name)
    return inference_model(inlined) if precision(inlined) != "float32" else inlined


def rebuilt(model: keras.Model, function_of: Callable[[keras.Operation], Callable]) -> keras.Model:
    """Return a model with the same graph, in which functions take the place of operations.

    Args:
        model: a functional model with one input and without nested models.
        function_of: returns the function to call in place of an operation: often the operation itself.
    """
    image = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype, name=model.inputs[0].name)
    graph = keras.Function(model.inputs, model._outputs_struct)
    return keras.Model(image, graph._run_through_graph([image], operation_fn=function_of), name=model.name)


def rebuilt_from(model: keras.Model, before: Sequence[keras.Operation]) -> keras.Model:
    """Return the rest of a network behind its first operations, whose output has the shape of the input.

    Args:
        model: a functional model with one input and without nested models.
        before: the first operations, the last of which alone is read by the others.
    """
    image = keras.Input(batch_shape=model.inputs[0].shape, name=model.inputs[0].name)
    left_out = set(map(id, before))

    def function_of(operation: keras.Operation) -> Callable:
        return (lambda *_, **__: image) if id(operation) in left_out else operation

    graph = keras.Function(model.inputs, model._outputs_struct)
    return keras.Model(image, graph._run_through_graph([image], operation_fn=function_of), name=model.name)


def precision(model: keras.Model) -> str:
    """Return the first type of float other than float32 in which a layer of the model computes, or float32."""
    return next((layer.compute_dtype for layer in layers_of(model) if layer.compute_dtype in FLOATS), "float32")


def parting(model: keras.Model, other: keras.Model, x: np.ndarray, tolerance: float) -> str | None:
    """Return the first layer whose outputs differ between two models with the same layer names, or None.

    Args:
        model: a functional model.
        other: a model that was made of it.
        x: a batch of inputs.
        tolerance: largest accepted difference, relative to the largest output of the layer.
    """
    known = {name: value for name, _, value in step_outputs(other, x)}
    for name, kind, value in step_outputs(model, x):
        theirs = known.get(name)
        if theirs is None or theirs.shape != value.shape:
            continue
        if not np.abs(theirs - value).max(initial=0) <= tolerance * max(1.0, np.abs(value).max(initial=0)):
            return f"{name} ({kind})"
    return None


def is_for_training(operation: keras.Operation) -> bool:
    """Return True for dropout and random augmentation, which do nothing in inference."""
    return isinstance(operation, DROPOUT) or is_augmentation(operation)


def is_augmentation(operation: keras.Operation) -> bool:
    """Return True for a layer of Keras that changes images only in training: not for a random crop that resizes."""
    kind = type(operation)
    if getattr(keras.layers, kind.__name__, None) is not kind or not kind.__name__.startswith(AUGMENTATION):
        return False
    return kind is not keras.layers.RandomCrop or operation.input.shape == operation.output.shape


class _Inliner:
    """Calls the layers of models, those of nested models too, on new tensors."""

    def __init__(self):
        # The operation of each name, and what is called in its place.
        self._taken: dict[str, tuple[keras.Operation, keras.Operation]] = {}

    def run(self, model: keras.Model, inputs: Sequence) -> list:
        """Return the outputs of a functional model for `inputs`."""
        graph = keras.Function(model.inputs, model.outputs)
        return graph._run_through_graph(list(inputs), lambda operation: self._inlined(operation, model))

    def _inlined(self, operation: keras.Operation, model: keras.Model) -> Callable:
        if is_functional(operation):
            return lambda x, **_: self.run(operation, keras.tree.flatten(x))
        if is_for_training(operation):
            return lambda x, **_: x
        return self._named_once(operation, model)

    def _named_once(self, operation: keras.Operation, model: keras.Model) -> keras.Operation:
        """Return the operation, or one with another name if an operation of a different model has the same name."""
        prefixed = f"{model.name}_{operation.name}"
        candidates = itertools.chain((operation.name, prefixed), (f"{prefixed}_{i}" for i in itertools.count(1)))
        name = next(each for each in candidates if self._taken.get(each, (operation,))[0] is operation)
        if name not in self._taken:
            self._taken[name] = operation, operation if name == operation.name else _renamed(operation, name)
        return self._taken[name][1]


def _renamed(operation: keras.Operation, name: str) -> keras.Operation:
    """Return an operation with another name that shares everything else, such as the weights."""
    other = object.__new__(type(operation))
    vars(other).update(vars(operation))
    vars(other).update(name=name, _inbound_nodes=[], _outbound_nodes=[])
    return other


def _is_flat(model: keras.Model, shape: tuple) -> bool:
    (image,) = model.inputs
    return (
        tuple(image.shape) == (None, *shape)
        and image.dtype == precision(model) == "float32"
        and not any(is_functional(each) or is_for_training(each) for each in model.operations)
    )


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of a model, those of nested models and of other layers too."""
    return list(model._flatten_layers(include_self=False))


class StepOutput(NamedTuple):
    """The output of a layer for a batch of images, in float32. The first one, if it has several."""

    name: str
    kind: str
    value: np.ndarray


def step_outputs(model: keras.Model, x: np.ndarray) -> list[StepOutput]:
    """Run a functional model in inference and return the output of each layer, in the order of `graph.walk`."""
    found = []

    def recording(operation: keras.Operation) -> Callable:
        if is_functional(operation):
            return lambda x, **_: run(operation, keras.tree.flatten(x))

        def call(*args, **kwargs):
            if "training" in getattr(operation, "_call_context_args", ()):
                kwargs["training"] = False
            output = operation(*args, **kwargs)
            value = keras.ops.cast(keras.tree.flatten(output)[0], "float32")
            found.append(StepOutput(operation.name, type(operation).__name__, np.asarray(value)))
            return output

        return call

    def run(model: keras.Model, inputs: Sequence) -> list:
        return keras.Function(model.inputs, model.outputs)._run_through_graph(list(inputs), operation_fn=recording)

    run(model, [keras.ops.cast(x, model.inputs[0].dtype)])
    return found
