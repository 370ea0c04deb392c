"""A network as it is used: one output, float32; or the maps of some stages."""

import difflib
from collections.abc import Sequence

import keras


def inference_model(model: keras.Model) -> keras.Model:
    """A functional classifier cut to its predictions: without auxiliary heads, float32 throughout.

    Works on any functional or sequential Keras model with one output, or with an output named ``predictions``. The
    weights are copied and `model` is left as it is. A model made under mixed precision becomes one that TFLite can
    convert.

    Raises:
        ValueError: the model is not functional, or has several outputs and none named ``predictions``.
    """
    trunk = without_heads(model)
    copy = keras.models.clone_model(trunk, clone_function=_in_float32)
    copy.set_weights(trunk.get_weights())
    return copy


def without_heads(model: keras.Model) -> keras.Model:
    """The same as `inference_model`, but made of the very layers of `model`, so that it goes on learning with it."""
    inputs = _inputs(model)
    if len(model.outputs) == 1:
        output = model.outputs[0]
    elif isinstance(model.output, dict) and "predictions" in model.output:
        output = model.output["predictions"]
    else:
        received = list(model.output) if isinstance(model.output, dict) else f"{len(model.outputs)} outputs"
        raise ValueError(f"`model` must have one output, or one named 'predictions'. Received: {received}")
    return keras.Model(inputs, output, name=model.name)


def features(model: keras.Model, stages: Sequence[str]) -> keras.Model:
    """The maps of the named stages as one model, made of the very layers of `model`.

    ``features(GoogLeNet(), ["inception_3b", "inception_4e"])`` gives a dict of these two names. A stage is any layer;
    where a convolution's name is given, it is what follows its batch norm and ReLU. Layers that no stage needs, the
    classifier say, are left out.

    Raises:
        ValueError: `model` is not functional, or has no such layer.
    """
    inputs = _inputs(model)
    known = {layer.name: layer for layer in model.layers}
    if not stages:
        raise ValueError("`stages` must name at least one layer. Received: none")
    for stage in stages:
        if stage not in known:
            near = difflib.get_close_matches(stage, known, n=3)
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            raise ValueError(f"`stages` must be layers of {model.name}.{hint} Received: {stage!r}")
    ends = {stage: known.get(f"{stage}_relu") or known.get(f"{stage}_bn") or known[stage] for stage in stages}
    return keras.Model(inputs, {stage: layer.output for stage, layer in ends.items()}, name=f"{model.name}_features")


def _inputs(model: keras.Model) -> keras.KerasTensor | list[keras.KerasTensor]:
    """The input of a functional model, or the list of them; ValueError if it is not functional."""
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise ValueError(f"`model` must be a functional Keras model. Received: {type(model).__name__}")
    return model.inputs if len(model.inputs) > 1 else model.inputs[0]


def _in_float32(layer: keras.layers.Layer) -> keras.layers.Layer:
    return layer.__class__.from_config(_with_float32(layer.get_config()))


def _with_float32(config):
    """A layer's configuration with every floating-point policy in it replaced, those of layers inside layers too."""
    if isinstance(config, dict):
        return {
            key: "float32" if key == "dtype" and _is_float_policy(value) else _with_float32(value)
            for key, value in config.items()
        }
    if isinstance(config, list):
        return [_with_float32(item) for item in config]
    return config


def _is_float_policy(value) -> bool:
    name = value["config"].get("name", "") if isinstance(value, dict) and "config" in value else value
    return isinstance(name, str) and "float" in name
