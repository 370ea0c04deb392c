"""Derive models from a network: one for float32 inference, or one that outputs feature maps."""

from collections.abc import Sequence

import keras

from keras_inception.graph import check_functional, is_functional
from keras_inception.utils.names import by_any_name
from keras_inception.utils.suggestions import did_you_mean


def inference_model(model: keras.Model, output_name: str | None = None) -> keras.Model:
    """Return a float32 copy of a classifier that outputs only the predictions.

    Auxiliary classifiers are removed, and a model built under mixed precision becomes convertible to TFLite. The
    weights are copied, and `model` is not modified.

    Args:
        model: any functional or sequential Keras model.
        output_name: name of the output to keep (`without_heads`). Default: the only one, or ``predictions``.

    Raises:
        ValueError: the model is not functional, or has no such output.
    """
    trunk = without_heads(model, output_name)
    copy = keras.models.clone_model(trunk, clone_function=_in_float32)
    copy.set_weights(trunk.get_weights())
    for layer in copy._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it keeps what it computes with beside its weights
    return copy


def without_heads(model: keras.Model, output_name: str | None = None) -> keras.Model:
    """Return a model with one output that shares the layers and weights of `model`.

    Args:
        model: a functional model.
        output_name: name of the output: its key if the outputs are a dict, else the name of the layer that computes it
            (`output_names`). Default: the only output, or the one named ``predictions``.

    Raises:
        ValueError: the model is not functional, or has no such output.
    """
    inputs = _inputs(model)
    named = output_names(model)
    if output_name is None and len(model.outputs) > 1 and "predictions" not in named:
        raise ValueError(
            f"`output_name` must name one of the outputs of {model.name}, {', '.join(named)}, of which none is called "
            "predictions. Received: none"
        )
    if output_name is not None and output_name not in named:
        hint = did_you_mean(output_name, named)
        raise ValueError(
            f"`output_name` must be one of the outputs of {model.name}, {', '.join(named)}.{hint} "
            f"Received: {output_name!r}"
        )
    output = model.outputs[0] if len(model.outputs) == 1 else named[output_name or "predictions"]
    return keras.Model(inputs, output, name=model.name)


def output_names(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """Return the outputs of a functional model by name, as `without_heads` takes them.

    Outputs of one layer are numbered from 1, and the outputs of a nested model have their names in it.
    """
    structure = getattr(model, "_outputs_struct", None)
    if isinstance(structure, dict):
        return {"/".join(map(str, path)): x for path, x in keras.tree.flatten_with_path(structure)}
    names = [_output_name(x) for x in model.outputs]
    numbers = [
        f"_{names[: index + 1].count(name)}" if names.count(name) > 1 else "" for index, name in enumerate(names)
    ]
    return {name + number: x for name, number, x in zip(names, numbers, model.outputs, strict=True)}


def _output_name(x: keras.KerasTensor) -> str:
    operation, _, index = x._keras_history
    if is_functional(operation) and len(operation.outputs) > 1:
        return next(name for name, own in output_names(operation).items() if own is operation.outputs[index])
    return operation.name


def features(model: keras.Model, stages: Sequence[str]) -> keras.Model:
    """Return a model that outputs the feature maps of given stages and shares the layers and weights of `model`.

    ``features(GoogLeNet(), ["inception_3b", "inception_4e"])`` outputs a dict with these two keys.

    Args:
        model: a functional Keras model.
        stages: names of layers, with or without that of the network. The name of a convolution selects the output of
            its batch norm and ReLU. Layers that no stage needs, such as the classifier, are dropped.

    Raises:
        ValueError: `model` is not functional, or has no such layer.
    """
    inputs = _inputs(model)
    layers = {layer.name: layer for layer in model.layers}
    known = {name: layers[full] for name, full in by_any_name(layers).items()}
    if not stages:
        raise ValueError("`stages` must name at least one layer. Received: none")
    for stage in stages:
        if stage not in known:
            hint = did_you_mean(stage, known)
            raise ValueError(f"`stages` must be layers of {model.name}.{hint} Received: {stage!r}")
    ends = {stage: known.get(f"{stage}_relu") or known.get(f"{stage}_bn") or known[stage] for stage in stages}
    return keras.Model(inputs, {stage: layer.output for stage, layer in ends.items()}, name=f"{model.name}_features")


def _inputs(model: keras.Model) -> keras.KerasTensor | list[keras.KerasTensor]:
    """Return the input or inputs of a functional model; raise ValueError for any other model."""
    check_functional(model)
    return model.inputs if len(model.inputs) > 1 else model.inputs[0]


def _in_float32(layer: keras.layers.Layer) -> keras.layers.Layer:
    return layer.__class__.from_config(_with_float32(layer.get_config()))


def _with_float32(config):
    """Return a layer's configuration with all floating-point policies set to float32, including nested layers."""
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
