"""Quantization-aware training (1712.05877) with tensorflow-model-optimization, and conversion of its result."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras import default_8bit, quantize_layer
from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import QuantizeWrapperV2

from keras_inception.compression import tf_keras_bridge as bridge
from keras_inception.exporting.rewrites import fold_batch_norm
from keras_inception.layers import FakeQuantization, SpaceToDepth, ZeroPaddingShortcut

qat = tfmot.quantization.keras
configs = default_8bit.default_8bit_quantize_configs

SCHEMES: dict[str | None, Callable] = {
    None: qat.default_8bit.Default8BitQuantizeScheme,
    "sparsity": tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme,
    "clusters": partial(tfmot.experimental.combine.Default8BitClusterPreserveQuantizeScheme, preserve_sparsity=True),
}
FOLDING = (tf_keras.layers.Conv2D, tf_keras.layers.DepthwiseConv2D, tf_keras.layers.Dense)
ACTIVATIONS = ("gelu", "linear", "relu", "sigmoid", "softmax", "swish", "tanh")  # those that tfmot knows
MOVING = (SpaceToDepth, ZeroPaddingShortcut)  # layers that only move values or insert zeros


def quantize_aware(
    model: tf_keras.Model, batches: Sequence[np.ndarray], *, preserve: str | None = None
) -> tf_keras.Model:
    """Return a copy for training that rounds weights and activations to 8 bits, as the int8 file will.

    Args:
        model: a functional tf_keras model.
        batches: inputs that initialize the activation ranges.
        preserve: ``"sparsity"`` keeps zero weights at zero; ``"clusters"`` keeps equal weights equal as well.

    Raises:
        ValueError: a layer, which the message names, cannot be quantized.
    """
    transformer = qat.graph_transformations.model_transformer.ModelTransformer
    with qat.quantize_scope({"KerasLayer": bridge.KerasLayer}):
        copy = tf_keras.models.clone_model(model, clone_function=annotated_layer)  # shares the layers and their weights
        with mock.patch.object(transformer, "_get_layers", _in_order_of_names):
            quantized = qat.quantize_apply(copy, SCHEMES[preserve]())
    _set_ranges(quantized, model, batches)
    return quantized


def quantized(model: tf_keras.Model, input_range: tuple[float, float]) -> keras.Model:
    """Convert a trained `quantize_aware` model to a Keras 3 network that can be exported without calibration.

    Batch norms are folded, weights are rounded to 8 bits, and activations go through `FakeQuantization`.

    Args:
        model: the trained model.
        input_range: lowest and highest input value, which its 256 levels span.
    """
    copy = bridge.to_keras(model, lambda layer: _unwrapped(layer, input_range))
    folded = fold_batch_norm(copy)
    for layer in folded.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)):
            kernel, *bias = layer.get_weights()
            # 255 levels up to the largest magnitude: of each filter in a convolution, of the whole kernel elsewhere.
            axes = {keras.layers.Conv2D: (0, 1, 2), keras.layers.DepthwiseConv2D: (0, 1)}.get(type(layer))
            step = np.abs(kernel).max(axis=axes, keepdims=True) / 127
            step = np.where(step > 0, step, 1)
            layer.set_weights([(np.round(kernel / step) * step).astype(np.float32), *bias])
    return folded


def annotated_layer(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    """Mark a layer for tfmot with the way to quantize it; ValueError, which names it, if it cannot be quantized."""
    if isinstance(layer, tf_keras.layers.InputLayer):
        return layer
    if layer.weights and len(layer.inbound_nodes) > 1:
        raise ValueError(f"{layer.name} cannot be quantized: it is called more than once")
    config, supported = None, _registry()
    # Average pooling that was rewritten as a convolution is not trained: its equal weights are exact in 8 bits.
    averages = isinstance(layer, tf_keras.layers.DepthwiseConv2D) and not layer.trainable
    if isinstance(layer, bridge.KerasLayer) and isinstance(layer.wrapped(), MOVING):
        config = configs.NoOpQuantizeConfig()
    elif averages or _is_alone(layer) or (not layer.weights and not _is_supported(layer, supported)):
        config = configs.Default8BitOutputQuantizeConfig()
    elif not isinstance(layer, tf_keras.layers.BatchNormalization) and not supported.supports(layer):
        raise ValueError(f"{layer.name} cannot be quantized: tfmot does not support {type(layer).__name__}")
    return qat.quantize_annotate_layer(layer, config)


def _is_alone(layer: tf_keras.layers.Layer) -> bool:
    """Return True for a batch norm that does not follow a layer into which it can be folded."""
    if not isinstance(layer, tf_keras.layers.BatchNormalization):
        return False
    (before,) = layer.inbound_nodes[0].parent_nodes
    return not isinstance(before.layer, FOLDING) or before.layer.activation is not tf_keras.activations.linear


@cache
def _registry() -> Any:
    """Return the layers that tfmot knows how to quantize."""
    return qat.default_8bit.Default8BitQuantizeRegistry()


def _is_supported(layer: tf_keras.layers.Layer, supported: Any) -> bool:
    """Return True for a layer that tfmot quantizes by itself."""
    if isinstance(layer, tf_keras.layers.Activation):
        return layer.activation.__name__ in ACTIVATIONS
    return supported.supports(layer)


def _in_order_of_names(transformer, names: Iterable[str]) -> list[dict]:
    """Return the configurations of the named layers, in the order of the names.

    tfmot's own method returns them in the order of the model. That swaps the inputs of a concatenation if its branches
    differ in depth, and with them the channels that the next layer reads.
    """
    layers = {layer["config"]["name"]: layer for layer in transformer._config["layers"]}
    return [layers[name] for name in dict.fromkeys(names) if name in layers]


def _set_ranges(quantized: tf_keras.Model, model: tf_keras.Model, batches: Sequence[np.ndarray]) -> None:
    """Initialize the range of every activation from the float32 network.

    tfmot's own initial range, -6 to 6, takes thousands of steps to adapt.
    """
    measured = {
        layer.layer.name: variables
        for layer in quantized.layers
        if isinstance(layer, QuantizeWrapperV2) and (variables := list(_range_variables(layer)))
    }
    probe = tf_keras.Model(model.inputs, {name: _before_softmax(model.get_layer(name)) for name in measured})
    ranges = [{name: (np.min(x), np.max(x)) for name, x in probe(batch, training=False).items()} for batch in batches]
    for name, variables in measured.items():
        low, high = np.mean([each[name] for each in ranges], axis=0)
        for pair in variables:
            pair["min_var"].assign(min(low, 0.0))
            pair["max_var"].assign(max(high, 0.0))


def _range_variables(wrapper: QuantizeWrapperV2) -> Iterator[dict]:
    """Yield the ``min_var`` and ``max_var`` of each range of a layer's activation and output."""
    for activation in wrapper._quantize_activations:
        for name in ("_pre_activation_vars", "_post_activation_vars"):
            if hasattr(activation, name):
                yield getattr(activation, name)
    if wrapper._output_quantizers:
        yield wrapper._output_quantizer_vars


def _before_softmax(layer: tf_keras.layers.Layer):
    """Return the float tensor whose range is calibrated: the output, or the logits before a softmax."""
    if getattr(layer, "activation", None) is not tf_keras.activations.softmax:
        return layer.output
    linear = type(layer).from_config({**layer.get_config(), "name": f"{layer.name}_before", "activation": "linear"})
    before = linear(layer.input)
    linear.set_weights(layer.get_weights())
    return before


def _unwrapped(layer: tf_keras.layers.Layer, input_range: tuple[float, float]) -> Callable | None:
    """Return a function that computes a tfmot layer with Keras 3 layers, or None for other layers."""
    if isinstance(layer, quantize_layer.QuantizeLayer):
        return lambda x, **_: FakeQuantization(*input_range, name=layer.name)(x)
    if not isinstance(layer, QuantizeWrapperV2):
        return None
    inner, activations = layer.layer, layer._quantize_activations

    def rounded(x, variables: dict, kind: str):
        low, high = (float(variables[key].numpy()) for key in ("min_var", "max_var"))
        return FakeQuantization(low, high, name=f"{inner.name}_{kind}")(x)

    def function(x, **_):
        own = bridge.counterpart(inner, **({"activation": "linear"} if activations else {}))
        x = own(x)
        # tfmot has replaced the wrapped layer's kernel with its rounded values.
        kernels = [variable.numpy() for variable, *_ in layer._weight_vars]
        bias = [inner.bias.numpy()] if kernels and inner.use_bias else []
        weights = [*kernels, *bias] if kernels else inner.get_weights()
        if weights:  # a function, which applies an operation, takes none
            own.set_weights(weights)
        for activation in activations:
            if hasattr(activation, "_pre_activation_vars"):
                x = rounded(x, activation._pre_activation_vars, "before")
            name = getattr(activation.activation, "__name__", "linear")
            if name != "linear":
                x = keras.layers.Activation(name, name=f"{inner.name}_{name}")(x)
            if hasattr(activation, "_post_activation_vars"):
                x = rounded(x, activation._post_activation_vars, "after")
        return rounded(x, layer._output_quantizer_vars, "range") if layer._output_quantizers else x

    return function
