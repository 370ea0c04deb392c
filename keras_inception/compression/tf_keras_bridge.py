"""Convert models between Keras 3 and tf_keras layer by layer, since tensorflow-model-optimization needs tf_keras.

Names, weights and the structure of the outputs are preserved exactly; weight initializers are not. Layers without
weights that tf_keras lacks, such as our LRN, are wrapped for tf_keras and unwrapped for Keras 3.
"""

import inspect
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import keras
import tensorflow as tf
import tf_keras

from keras_inception.graph import check_functional

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
}


def to_tf_keras(model: keras.Model) -> tf_keras.Model:
    """Convert a functional Keras 3 model to tf_keras, weights included. Nested models are flattened into their layers.

    Raises:
        ValueError: the model is not functional, or a layer or operation, which the message names, cannot be converted.
    """
    check_functional(model)
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
    """A Keras 3 layer without weights, wrapped as a tf_keras layer.

    Args:
        layer: the layer's configuration from `keras.saving.serialize_keras_object`.
        **kwargs: arguments of `tf_keras.layers.Layer`.
    """

    def __init__(self, layer: dict, **kwargs):
        super().__init__(**kwargs)
        self.config = layer
        self._call = self.wrapped().__call__  # a bound method, since layers are tracked

    def wrapped(self) -> keras.Layer:
        """Return a new Keras 3 layer from the configuration."""
        return keras.saving.deserialize_keras_object(self.config)

    def call(self, inputs):
        """Call the Keras 3 layer."""
        return self._call(inputs)

    def get_config(self):
        """Return the configuration, including the Keras 3 layer's."""
        return {**super().get_config(), "layer": self.config}


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


def _run(model: keras.Model, inputs, convert: _Converter):
    """Apply a Keras 3 model to tf_keras tensors."""

    def applied(operation: keras.Operation) -> Callable:
        if isinstance(operation, keras.Model) and getattr(operation, "inputs", None):
            return lambda x, **_: _run(operation, keras.tree.flatten(x), convert)
        return convert(operation)

    graph = keras.Function(model.inputs, model._outputs_struct)
    return graph._run_through_graph(list(inputs), operation_fn=applied)


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


def _layer_of_tf_keras(layer: keras.Operation) -> tf_keras.layers.Layer:
    if not isinstance(layer, keras.Layer):
        raise ValueError(
            f"{layer.name} is an operation, {type(layer).__name__}, and only layers can be converted to tf_keras: "
            "use a layer, such as keras.layers.Add or Rescaling"
        )
    kind = _namesake(layer, keras.layers, tf_keras.layers)
    if kind is None and layer.variables:
        raise ValueError(f"{layer.name} cannot be converted to tf_keras, which has no {type(layer).__name__}")
    if kind is None:
        kind, arguments = KerasLayer, {"layer": keras.saving.serialize_keras_object(layer)}
    else:
        arguments = _arguments(layer, kind, RENAMED.get(kind.__name__, {}))
    return kind(**arguments, name=layer.name, dtype=layer.dtype_policy.name)


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
    return kind(**(_arguments(layer, kind, renamed) | changes), name=layer.name, dtype=layer.dtype_policy.name)


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
    for name, value in layer.get_config().items():
        if name in LEFT_OUT or name.endswith("_initializer"):
            continue
        if (known := renamed.get(name, name)) in accepted:
            arguments[known] = _plain(value)
        elif value is not None and value is not False and value != getattr(defaults.get(name), "default", None):
            raise ValueError(
                f"{layer.name} cannot be converted: the other {kind.__name__} has no `{name}`. "
                f"Received: {name}={value!r}"
            )
    return arguments


def _parameters(kind: type) -> dict[str, inspect.Parameter]:
    """Return the arguments of a layer's class and of its base classes."""
    parameters: dict[str, inspect.Parameter] = {}
    for each in reversed(kind.__mro__):
        if "__init__" in vars(each):
            parameters.update(inspect.signature(vars(each)["__init__"]).parameters)
    return parameters


def _plain(value):
    """Return a configuration value in a form that both libraries accept."""
    if isinstance(value, dict) and "class_name" in value:
        return {"class_name": value["class_name"], "config": value.get("config", {})}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return value[0] if len(value) == 1 else tuple(value)  # the axis of a tf_keras batch norm is a list
    return value
