"""Convert models between Keras 3 and tf_keras layer by layer, since tensorflow-model-optimization needs tf_keras.

Names, weights and the structure of the outputs are preserved exactly; weight initializers are not. Layers without
weights that tf_keras lacks, such as our LRN, and operations, such as ``x / 127.5``, are wrapped for tf_keras and
unwrapped for Keras 3. Nested models are flattened, and augmentation inside a model is cut (`models.flat_copy`).
"""

import inspect
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from keras_inception.graph import check_functional
from keras_inception.models.flat_copy import flat_copy, is_flat

# Activations that are the same in both. Keras' hard_sigmoid, for one, is another function than that of tf_keras.
SAME_ACTIVATIONS = {
    *("elu", "exponential", "gelu", "linear", "mish", "relu", "selu", "sigmoid", "softmax", "softplus", "softsign"),
    *("silu", "swish", "tanh"),
}
# Arguments with different names: class -> Keras 3 name -> tf_keras name.
RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}
# Configuration entries that only matter before weights exist, that Keras 3 fills in, or that are passed separately.
LEFT_OUT = {
    "name",
    "dtype",
    "batch_input_shape",
    "build_config",
    "autocast",
    "lora_rank",
    "lora_alpha",
    "quantization_config",
    *("query_shape", "key_shape", "value_shape"),  # of multi-head attention, which is built when it is called
}


def to_tf_keras(model: keras.Model) -> tf_keras.Model:
    """Convert a functional Keras 3 model to tf_keras, weights included. Nested models are flattened into their layers.

    Batch norms of a nested model that is called with ``training=False`` keep their statistics in training too.

    Raises:
        ValueError: the model is not functional, or a layer, which the message names, cannot be converted.
    """
    check_functional(model)
    if not is_flat(model):
        model = flat_copy(model)
    inputs = [
        tf_keras.Input(x.shape[1:], batch_size=x.shape[0], dtype=x.dtype, name=x._keras_history.operation.name)
        for x in model.inputs
    ]
    convert = _Converter(_layer_of_tf_keras)
    copy = tf_keras.Model(inputs if len(inputs) > 1 else inputs[0], _run(model, inputs, convert), name=model.name)
    convert.copy_weights()
    return copy


def to_keras(
    model: tf_keras.Model, special: Callable[[tf_keras.layers.Layer], Callable | None] = lambda layer: None
) -> keras.Model:
    """Convert a functional tf_keras model to Keras 3, weights included. Nested models are flattened into their layers.

    Args:
        model: the tf_keras model.
        special: returns a function of Keras 3 tensors to use in place of a layer, or None to convert the layer.

    Raises:
        ValueError: the model is not functional, or a layer, which the message names, cannot be converted.
    """
    if not isinstance(model, tf_keras.Model) or not getattr(model, "_nodes_by_depth", None):
        raise ValueError(f"`model` must be a functional tf_keras model. Received: {type(model).__name__}")
    inputs = [
        keras.Input(tuple(x.shape[1:]), batch_size=x.shape[0], dtype=x.dtype.name, name=x.node.layer.name)
        for x in model.inputs
    ]
    convert = _Converter(lambda layer: special(layer) or counterpart(layer))
    copy = keras.Model(inputs if len(inputs) > 1 else inputs[0], _run_tf_keras(model, inputs, convert), name=model.name)
    convert.copy_weights()
    return copy


@tf_keras.saving.register_keras_serializable(package="keras_inception")
class KerasLayer(tf_keras.layers.Layer):
    """A Keras 3 layer without weights, or an operation, wrapped as a tf_keras layer.

    Args:
        layer: the configuration of the layer or operation from `keras.saving.serialize_keras_object`.
        arguments: its arguments besides one tensor, in the form of `_Call`; None if there are none.
        **kwargs: arguments of `tf_keras.layers.Layer`.
    """

    def __init__(self, layer: dict, arguments: dict | None = None, **kwargs):
        super().__init__(**kwargs)
        self._configuration = lambda: (layer, arguments)  # tf_keras would track dictionaries, and wrap them
        self._call = self.wrapped().__call__  # a bound method, since layers are tracked

    def wrapped(self) -> Any:
        """Return the Keras 3 layer, new, or a function that applies the operation to a tensor or a list of them."""
        layer, arguments = self._configuration()
        operation = keras.saving.deserialize_keras_object(layer)
        if arguments is None:
            return operation
        call = _Call(**keras.saving.deserialize_keras_object(arguments))
        return lambda x: call.apply(operation, x if isinstance(x, (list, tuple)) else [x])

    def call(self, inputs):
        """Call the Keras 3 layer."""
        return self._call(inputs)

    def get_config(self):
        """Return the configuration, including the Keras 3 layer's."""
        layer, arguments = self._configuration()
        return {**super().get_config(), "layer": layer, "arguments": arguments}


class _Call(NamedTuple):
    """The arguments of a call of an operation, such as those of ``x[..., 0]``, without its tensors.

    Attributes:
        args: positional arguments, with None for tensors.
        kwargs: keyword arguments, with None for tensors.
        places: places of the tensors in the flattened (args, kwargs).
    """

    args: list
    kwargs: dict
    places: list[int]

    @classmethod
    def of(cls, args: tuple, kwargs: dict) -> tuple["_Call", list]:
        """Return a call without its tf_keras tensors, and the tensors."""
        flattened = keras.tree.flatten((list(args), kwargs))
        places = [place for place, value in enumerate(flattened) if hasattr(value, "_keras_history")]
        constant = [None if place in places else value for place, value in enumerate(flattened)]
        packed = keras.tree.pack_sequence_as((list(args), kwargs), constant)
        return cls(packed[0], packed[1], places), [flattened[place] for place in places]

    def apply(self, operation: Callable, tensors: Sequence):
        """Call the operation with these tensors."""
        flattened = keras.tree.flatten((self.args, self.kwargs))
        for place, x in zip(self.places, tensors, strict=True):
            flattened[place] = x
        args, kwargs = keras.tree.pack_sequence_as((self.args, self.kwargs), flattened)
        return operation(*args, **kwargs)


class _Converter:
    """Converts each layer once, so that shared layers stay shared."""

    def __init__(self, counterpart: Callable):
        self._counterpart = counterpart
        self._pairs: dict[int, tuple[Any, Any]] = {}

    def __call__(self, layer):
        """Return a function that calls the layer's counterpart and drops arguments that are None."""
        if id(layer) not in self._pairs:
            self._pairs[id(layer)] = layer, self._counterpart(layer)
        _, counterpart = self._pairs[id(layer)]
        return lambda *args, **kwargs: counterpart(*args, **{k: v for k, v in kwargs.items() if v is not None})

    def copy_weights(self) -> None:
        """Copy the weights of each layer to its counterpart; ValueError if their shapes differ."""
        for layer, counterpart in self._pairs.values():
            if isinstance(counterpart, (keras.Layer, tf_keras.layers.Layer)):  # not what `special` returned
                weights = layer.get_weights()
                ours, theirs = ([w.shape for w in each] for each in (weights, counterpart.get_weights()))
                if ours != theirs:
                    raise ValueError(f"the weights of {layer.name} must have shapes {theirs}. Received: {ours}")
                counterpart.set_weights(weights)
                if isinstance(counterpart, (keras.layers.Normalization, tf_keras.layers.Normalization)):
                    counterpart.finalize_state()  # it computes with copies of its mean and variance


def _run(model: keras.Model, inputs, convert: _Converter):
    """Apply a flat Keras 3 model to tf_keras tensors."""
    graph = keras.Function(model.inputs, model._outputs_struct)
    return graph._run_through_graph(list(inputs), operation_fn=convert)


def _run_tf_keras(model: tf_keras.Model, inputs, convert: _Converter):
    """Apply a tf_keras model to Keras 3 tensors."""
    values = {id(x): y for x, y in zip(model.inputs, inputs, strict=True)}

    def value(x):
        return values.get(id(x), x)

    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            args, kwargs = tf.nest.map_structure(value, (node.call_args, node.call_kwargs))
            if isinstance(node.layer, tf_keras.Model):
                outputs = _run_tf_keras(node.layer, tf.nest.flatten(args), convert)
            else:
                outputs = convert(node.layer)(*args, **kwargs)
            made = zip(tf.nest.flatten(node.outputs), keras.tree.flatten(outputs), strict=True)
            values.update((id(x), y) for x, y in made)
    return tf.nest.map_structure(value, model.output)


def _layer_of_tf_keras(layer: keras.Operation) -> Callable:
    if not isinstance(layer, keras.Layer):
        return lambda *args, **kwargs: _wrapped_operation(layer, args, kwargs)
    kind, name = _namesake(layer, keras.layers, tf_keras.layers), type(layer).__name__
    if isinstance(layer, keras.layers.Lambda):
        raise ValueError(f"{layer.name} cannot be converted to tf_keras: it is a Lambda")
    if kind is None and layer.variables:
        raise ValueError(f"{layer.name} cannot be converted to tf_keras, which has no {name}")
    activation = layer.get_config().get("activation", "linear")
    is_same = isinstance(activation, str) and activation in SAME_ACTIVATIONS
    if kind is not None and not is_same and kind is not tf_keras.layers.Activation:
        raise ValueError(
            f"{layer.name} cannot be converted to tf_keras, which has no such activation: use a layer for it, "
            f"keras.layers.Activation. Received: {activation!r:.100}"
        )
    if kind is None or not is_same:
        return _wrapped(layer, None, layer.dtype_policy.name)
    try:
        return _made(layer, kind, RENAMED.get(name, {}), "tf_keras")
    except ValueError:
        if layer.variables:
            raise
        return _wrapped(layer, None, layer.dtype_policy.name)


def _wrapped_operation(operation: keras.Operation, args: tuple, kwargs: dict):
    """Apply an operation to tf_keras tensors as a `KerasLayer`."""
    call, tensors = _Call.of(args, kwargs)
    return _wrapped(operation, call, tensors[0].dtype.name)(tensors if len(tensors) > 1 else tensors[0])


def _wrapped(operation: keras.Operation, call: _Call | None, dtype: str) -> KerasLayer:
    """Return a Keras 3 layer without weights, or an operation with its arguments, as a tf_keras layer."""
    try:
        config = keras.saving.serialize_keras_object(operation)
        arguments = call and keras.saving.serialize_keras_object(call._asdict())
        return KerasLayer(config, arguments, name=operation.name, dtype=dtype)
    except Exception as error:  # layers of strangers raise anything
        kind, reason = type(operation).__name__, " ".join(str(error).split())[:200]
        raise ValueError(f"{operation.name}, a {kind}, cannot be converted to tf_keras: {reason}") from None


def counterpart(layer: tf_keras.layers.Layer, **changes) -> keras.Layer:
    """Return a tf_keras layer as an unbuilt Keras 3 layer, with some arguments changed.

    Args:
        layer: the tf_keras layer.
        **changes: arguments that replace those of the layer's configuration.

    Raises:
        ValueError: the layer cannot be converted.
    """
    if isinstance(layer, KerasLayer):
        return layer.wrapped()
    kind = _namesake(layer, tf_keras.layers, keras.layers)
    if kind is None:
        raise ValueError(f"{layer.name} cannot be converted to Keras 3, which has no {type(layer).__name__}")
    renamed = {theirs: ours for ours, theirs in RENAMED.get(kind.__name__, {}).items()}
    return _made(layer, kind, renamed, "Keras 3", **changes)


def _made(layer, kind: type, renamed: dict[str, str], library: str, **changes):
    """Return a layer of the class `kind` with the arguments of `layer`; ValueError if it does not take them."""
    try:
        return kind(**(_arguments(layer, kind, renamed) | changes), name=layer.name, dtype=layer.dtype_policy.name)
    except (TypeError, ValueError) as error:
        reason, name = " ".join(str(error).split()), type(layer).__name__
        raise ValueError(f"{layer.name}, a {name}, cannot be converted to {library}: {reason:.200}") from None


def _namesake(layer, own: ModuleType, other: ModuleType) -> type | None:
    """Return the class of `other` with the same name, if the layer's class is exactly that of `own`."""
    name = type(layer).__name__
    return getattr(other, name, None) if getattr(own, name, None) is type(layer) else None


def _arguments(layer, kind: type, renamed: dict[str, str]) -> dict[str, Any]:
    """Return the layer's configuration as arguments of the class `kind`.

    Raises:
        ValueError: an argument that `kind` does not take differs from its default.
    """
    accepted, defaults = _parameters(kind), _parameters(type(layer))
    arguments = {}
    for name, entry in layer.get_config().items():
        if name in LEFT_OUT or name.endswith("_initializer"):
            continue
        value = _plain(name, entry)
        if (known := renamed.get(name, name)) in accepted:
            arguments[known] = value
        elif value is not None and value is not False and value != getattr(defaults.get(name), "default", None):
            raise ValueError(f"the other {kind.__name__} has no `{name}`. Received: {name}={value!r}")
    return arguments


def _parameters(kind: type) -> dict[str, inspect.Parameter]:
    """Return the arguments of a layer's class and of its base classes."""
    parameters: dict[str, inspect.Parameter] = {}
    for each in reversed(kind.__mro__):
        if "__init__" in vars(each):
            parameters.update(inspect.signature(vars(each)["__init__"]).parameters)
    return parameters


def _plain(name: str, value):
    """Return the value of a configuration entry in a form that both libraries accept."""
    if isinstance(value, dict) and value.get("class_name") in ("__numpy__", "__tensor__"):
        return np.asarray(keras.saving.deserialize_keras_object(value)).tolist()
    if isinstance(value, dict) and "class_name" in value:
        return {"class_name": value["class_name"], "config": value.get("config", {})}
    if isinstance(value, Sequence) and not isinstance(value, str):
        # The axis of a tf_keras batch norm is a list.
        return value[0] if name == "axis" and len(value) == 1 else tuple(value)
    return value
