"""Flatten a classifier: nested models become their layers, and augmentation inside the model is cut."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_inception.graph import check_functional
from keras_inception.models.flat import DROPOUT, is_augmentation

FUSED = ("linear", "relu", "sigmoid", "softmax", "tanh")  # activations that training for int8 knows inside of layers
# Layers that apply their activation last.
ACTIVATED = (layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Dense)


def flat_copy(model: keras.Model, *, simple: bool = False, size: tuple[int, int] | None = None) -> keras.Model:
    """Return a functional copy without nested models, with the same outputs at inference.

    A model that is called twice, or a layer with weights, is copied once: both calls share the copy. Layers keep their
    names, unless two models have a layer of the same name: then the one that comes later gets its model's name in
    front. A batch norm that does not learn its statistics, because it is frozen or because its model is called with
    ``training=False``, gets ``trainable=False``, and dropout in such a model is cut.

    Args:
        model: a functional or sequential model.
        simple: also write some layers as simpler ones with the same outputs: `Normalization` as `Rescaling`, a
            separable convolution as a depthwise and a 1×1 convolution, and an activation that is not in `FUSED` as a
            layer of its own.
        size: (height, width) of the copy's only input, which then takes batches of any size in float32. None: inputs
            like those of `model`.

    Raises:
        ValueError: the model is not functional, or a layer, which the message names, cannot be copied.
    """
    check_functional(model)
    names = [x._keras_history.operation.name for x in model.inputs]
    if size:
        inputs = [keras.Input((*size, model.inputs[0].shape[-1]), name=names[0])]
    else:
        pairs = zip(model.inputs, names, strict=True)
        inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype, name=name) for x, name in pairs]
    copier = _Copier(simple, set(names))
    outputs = copier.run(model, inputs)
    copier.set_weights()
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=model.name)


def is_flat(model: keras.Model) -> bool:
    """Return True if a functional model has no nested models, no augmentation and no fixed mode for its batch norms."""
    operations = getattr(model, "operations", None)
    if operations is None:  # a sequential model
        return False
    norms = [operation for operation in operations if isinstance(operation, layers.BatchNormalization)]
    nodes = [node for norm in norms for node in norm._inbound_nodes]
    fixed = any(node.arguments.kwargs.get("training") is not None for node in nodes)
    return not fixed and not any(isinstance(each, keras.Model) or is_augmentation(each) for each in operations)


class _Copier:
    """Copies layers with their weights, under names that the new model does not have yet."""

    def __init__(self, simple: bool, names: set[str]):
        self._simple = simple
        self._names = names
        self._copies: dict[int, Callable] = {}
        self._weights: list[tuple[keras.Layer, list[np.ndarray], str]] = []

    def run(self, model: keras.Model, inputs, inference: bool = False) -> Any:
        """Apply copies of a model's layers to tensors.

        Args:
            model: a functional model.
            inputs: its new inputs.
            inference: whether the model is called with ``training=False``.

        Returns:
            The outputs, in the structure of the model's.
        """
        structure = getattr(model, "_outputs_struct", None)
        graph = keras.Function(model.inputs, model.outputs[0] if structure is None else structure)
        return graph._run_through_graph(list(inputs), lambda operation: self._applied(operation, model, inference))

    def _applied(self, operation: keras.Operation, model: keras.Model, inference: bool) -> Callable:
        """Return a function that calls the copy of an operation."""

        def call(*args, training=None, **kwargs):
            fixed = inference or training is False
            if isinstance(operation, keras.Model) and getattr(operation, "inputs", None):
                return self.run(operation, keras.tree.flatten(args[0]), fixed)
            # A Sequential records training=False for its dropout, whoever calls it.
            if (inference and isinstance(operation, DROPOUT)) or is_augmentation(operation):
                return args[0]
            if id(operation) not in self._copies or not getattr(operation, "weights", ()):
                self._copies[id(operation)] = self._copied(operation, model)
            copy = self._copies[id(operation)]
            if fixed and isinstance(copy, layers.BatchNormalization):
                copy.trainable = False
            return copy(*args, **{name: value for name, value in kwargs.items() if value is not None})

        return call

    def set_weights(self) -> None:
        """Set the weights of all copies, which are built by now; ValueError if their shapes differ."""
        for copy, weights, name in self._weights:
            expected, received = [tuple(each.shape) for each in copy.weights], [each.shape for each in weights]
            if expected != received:
                raise ValueError(
                    f"{name}, a {type(copy).__name__}, cannot be copied: its configuration gives weights of shapes "
                    f"{expected}. Received: {received}"
                )
            copy.set_weights(weights)
            if isinstance(copy, layers.Normalization):
                copy.finalize_state()

    def _copied(self, operation: keras.Operation, model: keras.Model) -> Callable:
        if self._simple and type(operation) is layers.Normalization:
            return self._rescaling(operation, model)
        if self._simple and type(operation) is layers.SeparableConv2D:
            return self._two_convolutions(operation, model)
        kind = type(operation)
        try:
            config = {**operation.get_config(), "name": self._name(operation.name, model)}
            if activation := _activation(operation):
                config["activation"] = activation
            after = self._later_activation(operation, model) if isinstance(operation, ACTIVATED) else None
            copy = kind.from_config({**config, "activation": "linear"} if after else config)
        except Exception as error:  # layers of strangers raise anything
            reason = " ".join(str(error).split())
            if isinstance(operation, layers.Lambda):  # Keras names arguments that do not help here
                reason = "write it as a layer of a class of your own"
            raise ValueError(f"{operation.name}, a {kind.__name__}, cannot be copied: {reason:.300}") from None
        if getattr(operation, "weights", ()):
            self._weights.append((copy, operation.get_weights(), operation.name))
        return (lambda *args, **kwargs: after(copy(*args, **kwargs))) if after else copy

    def _later_activation(self, layer: keras.Layer, model: keras.Model) -> keras.Layer | None:
        """Return a layer for an activation that is not to stay inside of its layer; None if it is, or there is none."""
        activation = _activation(layer)
        if not self._simple or activation is None:
            return None
        if isinstance(activation, keras.Layer):
            name = self._name(f"{layer.name}_{activation.name}", model)
            return type(activation).from_config({**activation.get_config(), "name": name})
        kind = getattr(activation, "__name__", "linear")
        return None if kind in FUSED else layers.Activation(activation, name=self._name(f"{layer.name}_{kind}", model))

    def _rescaling(self, layer: layers.Normalization, model: keras.Model) -> layers.Rescaling:
        mean, std = np.asarray(layer.mean), np.maximum(np.sqrt(np.asarray(layer.variance)), keras.config.epsilon())
        scale, offset = (std, mean) if layer.invert else (1 / std, -mean / std)
        rows = [each.reshape(-1) if each.shape[-1] == each.size else each[0] for each in (scale, offset)]
        return layers.Rescaling(
            *(row.astype(float).tolist() for row in rows), name=self._name(layer.name, model), dtype=layer.dtype_policy
        )

    def _two_convolutions(self, layer: layers.SeparableConv2D, model: keras.Model) -> Callable:
        shared = {"data_format": layer.data_format, "dtype": layer.dtype_policy, "trainable": layer.trainable}
        depthwise = layers.DepthwiseConv2D(
            layer.kernel_size,
            layer.strides,
            layer.padding,
            layer.depth_multiplier,
            dilation_rate=layer.dilation_rate,
            use_bias=False,
            name=self._name(f"{layer.name}_depthwise", model),
            **shared,
        )
        pointwise = layers.Conv2D(
            layer.filters,
            1,
            use_bias=layer.use_bias,
            name=self._name(layer.name, model),
            **shared,
        )
        after = self._later_activation(layer, model)
        if after is None:
            pointwise.activation = _activation(layer)
        first, *rest = layer.get_weights()
        self._weights += [(depthwise, [first], layer.name), (pointwise, rest, layer.name)]
        return lambda x: after(pointwise(depthwise(x))) if after else pointwise(depthwise(x))

    def _name(self, name: str, model: keras.Model) -> str:
        """Return a name that no layer has yet, and take it."""
        candidates = [name, f"{model.name}_{name}", *(f"{name}_{number}" for number in range(1, len(self._names) + 2))]
        chosen = next(each for each in candidates if each not in self._names)
        self._names.add(chosen)
        return chosen


def _activation(operation: keras.Operation) -> Callable | None:
    """Return the activation of a layer, that of Keras in place of TensorFlow's, such as ``tf.nn.softmax``."""
    activation = getattr(operation, "activation", None)
    if not isinstance(operation, (*ACTIVATED, layers.Activation)) or not callable(activation):
        return None
    name = getattr(activation, "__name__", "").removesuffix("_v2")  # tf.nn.softmax is called softmax_v2
    is_of_tensorflow = getattr(activation, "__module__", "").partition(".")[0] == "tensorflow"
    return getattr(keras.activations, name, activation) if is_of_tensorflow else activation
