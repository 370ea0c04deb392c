"""Build and compile the network that a recipe trains."""

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_inception import registry
from keras_inception.graph import walk
from keras_inception.preprocessing import DEFAULT, Preprocessing
from keras_inception.training.distribution import ALONE, Distribution
from keras_inception.training.fused import FusedAdamW, fuse
from keras_inception.training.recipe import Recipe
from keras_inception.training.schedules import Phase, Plan, learning_rate
from keras_inception.utils.suggestions import did_you_mean

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
# Arguments of the networks that recipe fields set or that training does not use.
RESERVED = {
    *("include_top", "weights", "input_tensor", "input_shape", "pooling", "classes", "classifier_activation"),
    *("auxiliary", "dropout", "skip_mismatch", "name"),
}


def resolved(recipe: Recipe) -> Recipe:
    """Check the recipe's options and fill in those that depend on the network and on this machine.

    Raises:
        ValueError: the network has no such option.
    """
    if recipe.network is None:
        return recipe.replace(precision=_precision(recipe.precision))
    factory = registry.factory(recipe.network)
    known = [name for name in inspect.signature(factory).parameters if name not in RESERVED]
    for name in recipe.options:
        if name not in known:
            allowed = ", ".join(known) or "none"
            hint = did_you_mean(name, known)
            raise ValueError(f"`options` of {recipe.network} may be {allowed}.{hint} Received: {name!r}")
    options = dict(recipe.options)
    if "normalization" in known and recipe.weights is None:
        options.setdefault("normalization", "batch_norm")
    return recipe.replace(options=options, precision=_precision(recipe.precision))


def preprocessing(recipe: Recipe, network: keras.Model) -> Preprocessing:
    """Return the input preprocessing: that of the recipe's pretrained weights or of keras.applications, or [-1, 1]."""
    size = (recipe.size, recipe.size)
    if recipe.network and registry.is_of_keras(recipe.network):
        return network.preprocessing.replace(size=size, crop=recipe.crop)
    if recipe.weights is None:
        return DEFAULT.replace(size=size, crop=recipe.crop)
    return network.preprocessing.replace(size=size)


def build(recipe: Recipe, classes: int, size: int, precision: str) -> keras.Model:
    """Build the recipe's network for `size` × `size` inputs, under the dtype policy `precision`.

    Raises:
        ValueError: the recipe names no network.
    """
    if recipe.network is None:
        raise ValueError("`network` must be named to train one. Received: network=None")
    arguments = {
        "input_shape": (size, size, 3),
        "classes": classes,
        "auxiliary": recipe.auxiliary and bool(registry.heads(recipe.network)),
        **recipe.options,
    }
    if recipe.dropout is not None:
        arguments["dropout"] = recipe.dropout
    if recipe.weights is not None:
        arguments |= {"weights": recipe.weights, "skip_mismatch": True}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return registry.create(recipe.network, **arguments)
    finally:
        keras.config.set_dtype_policy(before)


def trainee(recipe: Recipe, classes: int, distribution: Distribution = ALONE) -> keras.Model:
    """Build the network to train: at the recipe's training size and with the fastest kernels."""
    return _fast(build(recipe, classes, recipe.training_size or recipe.size, recipe.precision), distribution)


def trainee_of(network: keras.Model, recipe: Recipe, distribution: Distribution = ALONE) -> keras.Model:
    """Copy a network and its weights for training in the recipe's precision; dense and output layers keep theirs."""
    exact = {step.operation.name for step in walk(network).steps if set(step.outputs) & set(network.outputs)}

    def copied(layer: keras.Operation) -> keras.Operation:
        config = layer.get_config()
        if isinstance(layer, keras.Layer) and layer.name not in exact and not isinstance(layer, keras.layers.Dense):
            config["dtype"] = recipe.precision
        return type(layer).from_config(config)

    copy = resized(network, recipe.training_size or None, copied)
    copy_weights(network, copy)
    return _fast(copy, distribution)


def resized(network: keras.Model, size: int | None, copied: Callable | None = None) -> keras.Model:
    """Clone a functional network, but not its weights, for `size` × `size` inputs, or its own if it is None."""
    _, *sides, channels = network.input_shape
    image = keras.Input((*((size, size) if size else sides), channels), name=network.inputs[0].name)
    return keras.models.clone_model(network, input_tensors=image, clone_function=copied)


def _fast(model: keras.Model, distribution: Distribution) -> keras.Model:
    """Switch to the fused kernels if the backend is TensorFlow."""
    return fuse(model, synchronized=distribution.is_replicated) if ON_TENSORFLOW else model


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy weights between two networks of the same recipe. Raise ValueError if their shapes differ."""
    shapes = [[weight.shape for weight in model.weights] for model in (source, target)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "`training_size` must give the auxiliary heads feature maps of the same size as `size` does. "
            f"Received: training_size={target.input_shape[1]}, size={source.input_shape[1]}"
        )
    target.set_weights(source.get_weights())


def compile_for(
    model: keras.Model, recipe: Recipe, phase: Phase, plan: Plan, steps: int, distribution: Distribution = ALONE
) -> None:
    """Compile a network for a phase of `steps` steps per epoch, with a new optimizer."""
    for layer in model.layers if recipe.network else ():  # another's network keeps its frozen batch norms
        layer.trainable = _is_trained(layer, recipe, phase)
    chosen = optimizer(recipe, phase, plan, steps, distribution)
    compile_with(keras, model, recipe, chosen, jit_compile=_xla(recipe.xla))
    if ON_TENSORFLOW and not distribution.is_replicated:  # otherwise Keras creates them
        make_variables(model)


def _is_trained(layer: keras.Layer, recipe: Recipe, phase: Phase) -> bool:
    """Return whether a layer is trained in a phase: the classifiers always, the rest unless it is frozen."""
    if layer.name.startswith(("predictions", "aux")):
        return True
    is_frozen_norm = recipe.freeze_batch_norm and isinstance(layer, keras.layers.BatchNormalization)
    return not phase.frozen and not is_frozen_norm


def compile_with(library: ModuleType, model: Any, recipe: Recipe, optimizer: Any, **options) -> None:
    """Compile a model of `library`, Keras 3 or tf_keras, with the recipe's losses and top-1 accuracy.

    Losses of auxiliary heads are weighted by `auxiliary_weight`. The accuracy is that of the main output.
    """
    heads = [name for name in model.output if name != "predictions"] if isinstance(model.output, dict) else []
    loss = library.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    metrics: Any = [library.metrics.CategoricalAccuracy(name="top1")]
    weights = None
    if heads:
        weights = {"predictions": 1.0, **dict.fromkeys(heads, recipe.auxiliary_weight)}
        loss, metrics = dict.fromkeys(weights, loss), {"predictions": metrics}
    model.compile(optimizer, loss=loss, loss_weights=weights, metrics=metrics, **options)


def make_variables(model: Any) -> None:
    """Create the variables of a compiled model's optimizer, losses and metrics, in Keras 3 or tf_keras.

    Otherwise the first step would create them while tracing, and TensorFlow would trace that step twice.
    """
    model.optimizer.build(model.trainable_variables)
    outputs = tf.nest.map_structure(lambda output: tf.zeros([1, *output.shape[1:]]), model.output)
    model.compute_loss(None, outputs, outputs, None)
    model.compute_metrics(None, outputs, outputs, None)
    model.reset_metrics()


def optimizer(
    recipe: Recipe, phase: Phase, plan: Plan, steps: int, distribution: Distribution = ALONE
) -> keras.optimizers.Optimizer:
    """Return the recipe's optimizer for a phase with this many steps per epoch."""
    scales_loss = recipe.precision == "mixed_float16"
    total = (phase.last - phase.first) * steps / recipe.accumulate  # weight updates
    # The average starts at the initial weights, so its window must be short enough to forget them.
    momentum = max(0.0, min(recipe.ema, 1 - 10 / total))
    arguments = {
        "learning_rate": learning_rate(recipe, phase, plan, steps),
        "use_ema": recipe.ema > 0,
        "ema_momentum": momentum ** (1 / recipe.accumulate),  # Keras updates the average at every step
        "gradient_accumulation_steps": recipe.accumulate if recipe.accumulate > 1 else None,
    }
    adamw: Callable = keras.optimizers.AdamW
    if ON_TENSORFLOW and not distribution.is_replicated and recipe.accumulate == 1 and not scales_loss:
        adamw = partial(FusedAdamW, average_every=max(1, min(8, int(total) // 100)))
    chosen = optimizer_from(keras.optimizers, recipe, adamw, **arguments)
    # Keras adds loss scaling by itself only if the model's own policy is float16. Here only the layers' policies are.
    return keras.optimizers.LossScaleOptimizer(chosen) if scales_loss else chosen


def optimizer_from(library: ModuleType, recipe: Recipe, adamw: Callable, **arguments) -> Any:
    """Return the recipe's optimizer from `library`, ``keras.optimizers`` or ``tf_keras.optimizers``.

    Args:
        library: the module that provides SGD and RMSprop.
        recipe: the recipe.
        adamw: creates the optimizer if the recipe selects AdamW.
        **arguments: optimizer arguments that the recipe alone does not determine, such as `learning_rate`.
    """
    arguments |= {"weight_decay": recipe.weight_decay, "global_clipnorm": recipe.clip_norm or None}
    if recipe.optimizer == "sgd":
        return library.SGD(momentum=recipe.momentum, nesterov=recipe.nesterov, **arguments)
    if recipe.epsilon is not None:
        arguments["epsilon"] = recipe.epsilon
    if recipe.optimizer == "rmsprop":
        return library.RMSprop(rho=recipe.rho, momentum=recipe.momentum, **arguments)
    return adamw(**arguments)


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return the image weight of each class, (classes,): the inverse class frequency, with a mean of 1 over images."""
    return len(labels) / (classes * np.maximum(np.bincount(labels, minlength=classes), 1))


def _xla(requested: str) -> bool | str:
    """Return `jit_compile` for Keras: "auto" on a GPU or another backend, where Keras' own choice is good."""
    if not ON_TENSORFLOW or (requested == "auto" and tf.config.list_physical_devices("GPU")):
        return "auto"
    return requested == "on"


def _precision(requested: str) -> str:
    """Resolve "auto": mixed_bfloat16 if TensorFlow's CPU multiplies bfloat16 matrices natively, else float32."""
    if requested != "auto":
        return requested
    processor = Path("/proc/cpuinfo")  # on Linux only
    flags = processor.read_text(encoding="utf-8").split() if ON_TENSORFLOW and processor.is_file() else ()
    return "mixed_bfloat16" if {"amx_bf16", "avx512_bf16"} & set(flags) else "float32"
