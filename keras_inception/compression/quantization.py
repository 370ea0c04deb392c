"""Quantization-aware training (1712.05877) by tensorflow-model-optimization, and the int8 network that comes of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from unittest import mock

import keras
import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_configs as configs,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_registry as registry,
)
from tensorflow_model_optimization.python.core.quantization.keras.graph_transformations.model_transformer import (
    ModelTransformer,
)
from tensorflow_model_optimization.python.core.quantization.keras.quantize_layer import QuantizeLayer
from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import QuantizeWrapperV2

from keras_inception.compression import tf_keras_bridge as bridge
from keras_inception.exporting.rewrites import fold_batch_norm
from keras_inception.layers import FakeQuantization, SpaceToDepth, ZeroPaddingShortcut

SCHEMES: dict[str | None, Callable] = {
    None: lambda: None,
    "sparsity": tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme,
    "clusters": lambda: tfmot.experimental.combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=True),
}
MOVING = (SpaceToDepth, ZeroPaddingShortcut)  # whose values are their input's, or zero
CUSTOM = {"KerasLayer": bridge.KerasLayer}


def quantize_aware(
    model: tf_keras.Model, batches: Sequence[np.ndarray], *, preserve: str | None = None
) -> tf_keras.Model:
    """A copy that computes as the int8 file will, for training: weights and activations are rounded to 8 bits.

    Args:
        model: functional, of tf_keras.
        batches: inputs that the ranges of activations are first taken from.
        preserve: ``"sparsity"`` keeps weights that are zero at zero, ``"clusters"`` keeps equal weights equal too.

    Raises:
        ValueError: the model has a layer that cannot be quantized, which is named.
    """
    supported = registry.Default8BitQuantizeRegistry()

    def annotated(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if isinstance(layer, tf_keras.layers.InputLayer):
            return layer
        config = None
        if isinstance(layer, bridge.KerasLayer):
            moves = isinstance(keras.saving.deserialize_keras_object(layer.config), MOVING)
            config = configs.NoOpQuantizeConfig() if moves else configs.Default8BitOutputQuantizeConfig()
        elif isinstance(layer, tf_keras.layers.Rescaling) or _averages(layer):
            config = configs.Default8BitOutputQuantizeConfig()
        elif not isinstance(layer, tf_keras.layers.BatchNormalization) and not supported.supports(layer):
            raise ValueError(f"{layer.name} cannot be quantized: {type(layer).__name__} is not known to tfmot")
        return tfmot.quantization.keras.quantize_annotate_layer(layer, config)

    with tfmot.quantization.keras.quantize_scope(CUSTOM):
        copy = tf_keras.models.clone_model(model, clone_function=annotated)
        copy.set_weights(model.get_weights())
        scheme = SCHEMES[preserve]()
        with mock.patch.object(ModelTransformer, "_get_layers", _in_order_of_names):
            quantized = tfmot.quantization.keras.quantize_apply(copy, *([scheme] if scheme else []))
    _set_ranges(quantized, model, batches)
    return quantized


def quantized(model: tf_keras.Model, input_range: tuple[float, float]) -> keras.Model:
    """What `quantize_aware` made, after its training, as a network of Keras 3 that is converted without calibration.

    Its weights lie on the grid of 8 bits, the batch norms are folded into them, and activations go through
    `FakeQuantization`.

    Args:
        input_range: what the input's 256 steps span.
    """
    copy = bridge.to_keras(model, lambda layer: _unwrapped(layer, input_range))
    folded = fold_batch_norm(copy)
    for layer in folded.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)):
            kernel, *bias = layer.get_weights()
            layer.set_weights([on_grid(kernel, _axes(layer)), *bias])
    return folded


def on_grid(kernel: np.ndarray, axes: tuple[int, ...] | None) -> np.ndarray:
    """A kernel rounded to 255 steps from minus its largest weight to this, the largest over `axes`."""
    step = np.abs(kernel).max(axis=axes, keepdims=True) / 127
    step = np.where(step > 0, step, 1)
    return (np.round(kernel / step) * step).astype(np.float32)


def _averages(layer: tf_keras.layers.Layer) -> bool:
    """Whether it is an average pooling as a convolution: 8 bits hold its equal weights as they are."""
    return isinstance(layer, tf_keras.layers.DepthwiseConv2D) and not layer.trainable


def _in_order_of_names(transformer: ModelTransformer, names: Iterable[str]) -> list[dict]:
    """Configurations of these layers. tfmot's own come in the order of the model, so that a concatenation of branches
    of different depth gets its inputs, and the layer after it the channels, in another order than they were in."""
    layers = {layer["config"]["name"]: layer for layer in transformer._config["layers"]}
    return [layers[name] for name in dict.fromkeys(names) if name in layers]


def _set_ranges(quantized: tf_keras.Model, model: tf_keras.Model, batches: Sequence[np.ndarray]) -> None:
    """Let every activation begin with the range that it has in the network in float32.

    tfmot begins with -6 to 6 and forgets it only in thousands of steps.
    """
    measured = {
        layer.layer.name: variables
        for layer in quantized.layers
        if isinstance(layer, QuantizeWrapperV2) and (variables := list(_range_variables(layer)))
    }
    values = {name: _before_softmax(model.get_layer(name)) for name in measured}
    probe = tf_keras.Model(model.inputs, values)
    ranges = [{name: (np.min(x), np.max(x)) for name, x in probe(batch, training=False).items()} for batch in batches]
    for name, variables in measured.items():
        low, high = np.mean([each[name] for each in ranges], axis=0)
        for pair in variables:
            pair["min_var"].assign(min(low, 0.0))
            pair["max_var"].assign(max(high, 0.0))


def _range_variables(wrapper: QuantizeWrapperV2) -> Iterator[dict]:
    for activation in wrapper._quantize_activations:
        for name in ("_pre_activation_vars", "_post_activation_vars"):
            if hasattr(activation, name):
                yield getattr(activation, name)
    if wrapper._output_quantizers:
        yield wrapper._output_quantizer_vars


def _before_softmax(layer: tf_keras.layers.Layer):
    """What is quantized of a layer in float32: its output, but of one with a softmax what goes into that."""
    if getattr(layer, "activation", None) is not tf_keras.activations.softmax:
        return layer.output
    changes = {"name": f"{layer.name}_before", "activation": "linear"}
    linear = type(layer).from_config({**layer.get_config(), **changes})
    before = linear(layer.input)
    linear.set_weights(layer.get_weights())
    return before


def _unwrapped(layer: tf_keras.layers.Layer, input_range: tuple[float, float]) -> Callable | None:
    """What a layer of tfmot's computes after the training, of layers of Keras 3; None of any other layer."""
    if isinstance(layer, QuantizeLayer):
        return lambda x, **_: FakeQuantization(*input_range, name=layer.name)(x)
    if not isinstance(layer, QuantizeWrapperV2):
        return None
    inner, activations = layer.layer, layer._quantize_activations

    def quantized(x, variables: dict, kind: str):
        low, high = (float(variables[key].numpy()) for key in ("min_var", "max_var"))
        return FakeQuantization(low, high, name=f"{inner.name}_{kind}")(x)

    def function(x, **_):
        own = bridge.counterpart(inner, **({"activation": "linear"} if activations else {}))
        x = own(x)
        if weights := _weights(layer):
            own.set_weights(weights)
        for activation in activations:
            if hasattr(activation, "_pre_activation_vars"):
                x = quantized(x, activation._pre_activation_vars, "before")
            name = getattr(activation.activation, "__name__", "linear")
            if name != "linear":
                x = keras.layers.Activation(name, name=f"{inner.name}_{name}")(x)
            if hasattr(activation, "_post_activation_vars"):
                x = quantized(x, activation._post_activation_vars, "after")
        return quantized(x, layer._output_quantizer_vars, "range") if layer._output_quantizers else x

    return function


def _weights(wrapper: QuantizeWrapperV2) -> list[np.ndarray]:
    """Of the layer inside, whose kernel tfmot has replaced by its rounded values."""
    inner = wrapper.layer
    if not wrapper._weight_vars:
        return inner.get_weights()
    kernels = [variable.numpy() for variable, *_ in wrapper._weight_vars]
    return [*kernels, inner.bias.numpy()] if inner.use_bias else kernels


def _axes(layer: keras.Layer) -> tuple[int, ...] | None:
    """Over which a kernel's largest weight is looked for: each filter of a convolution has a grid of its own."""
    return (0, 1, 2) if isinstance(layer, keras.layers.Conv2D) else None
