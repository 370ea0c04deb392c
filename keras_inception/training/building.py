"""Build and compile the network that a recipe trains."""

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from keras_inception import registry
from keras_inception.graph import walk
from keras_inception.preprocessing import DEFAULT, GRAY, Preprocessing
from keras_inception.training.distribution import ALONE, Distribution
from keras_inception.training.fused import FusedAdamW, fuse
from keras_inception.training.recipe import Recipe, Size, sides
from keras_inception.training.schedules import Phase, Plan, learning_rate
from keras_inception.utils.files import MODEL
from keras_inception.utils.names import bare
from keras_inception.utils.suggestions import did_you_mean
from keras_inception.weights import Checkpoint, read_weights
from keras_inception.weights.checkpoint import run_of
from keras_inception.weights.publishers import is_published

Weights: TypeAlias = Checkpoint | Path | None

CROP = 0.875  # share of the image's sides to keep, if neither the recipe nor the weights say
CHANNELS = {"RGB": 3, GRAY: 1}
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
    """Return the input preprocessing: that of the initial weights, or a range of [-1, 1], with what the recipe sets."""
    is_of_keras = registry.is_of_keras(recipe.network or "")
    weights = recipe.weights
    own = network.preprocessing if is_of_keras or weights is not None else DEFAULT
    if weights is None or (is_of_keras and (is_published(weights) or not run_of(weights))):
        own = own.replace(crop=CROP)  # nobody says how much of an image to keep
    changes: dict[str, Any] = {"size": sides(recipe.size)}
    if recipe.fitting and recipe.fitting != _fitting(own):
        cropped = recipe.fitting == "crop"
        changes |= {"fitting": "box" if cropped else recipe.fitting, "crop": CROP if cropped else 1.0}
    if recipe.crop is not None:
        changes["crop"] = recipe.crop
    return own.replace(**changes).with_channels(network.input_shape[3])


def _fitting(own: Preprocessing) -> str:
    """Return what a recipe calls the fitting of a preprocessing."""
    return own.fitting if own.fitting in ("stretch", "pad") else "crop"


def initial_weights(recipe: Recipe, classes: int) -> Weights:
    """Read the recipe's weights, in the layout of the network in the file, with its preprocessing; None without any.

    Those of networks of keras.applications are read by Keras: their path is returned, or None if they are published.

    Raises:
        ValueError: the file is damaged, or its network has a layout that the recipe's network cannot be built in.
        OSError: the file cannot be read or downloaded.
    """
    if recipe.weights is None or recipe.network is None:
        return None
    if registry.is_of_keras(recipe.network):
        if is_published(recipe.weights):
            return None
        run = run_of(recipe.weights)
        return run / MODEL if run else Path(recipe.weights)
    transformed = {key: value for key, value in recipe.options.items() if key == "transform_input"}
    checkpoint = read_weights(recipe.weights, recipe.network, **transformed)
    if checkpoint.description is None:
        return checkpoint
    # Our own names are the same in all layouts.
    height, width = checkpoint.description.input_shape[:2] if checkpoint.description.input_shape else (None, None)
    size = (height, width) if height and width else sides(recipe.size)
    publisher = build(recipe, classes, size, "float32", checkpoint).publisher
    layouts = (checkpoint, *checkpoint.in_other_layouts())
    (found,) = [each for each in layouts if each.publisher == publisher]
    return dataclasses.replace(found, description=None)


def build(recipe: Recipe, classes: int, size: Size, precision: str, weights: Weights = None) -> keras.Model:
    """Build the recipe's network for inputs of `size`, under the dtype policy `precision`.

    Args:
        recipe: the recipe.
        classes: number of classes.
        size: side of the input, or (height, width).
        precision: Keras' dtype policy.
        weights: the initial weights. None: those that the recipe names, which are read.

    Raises:
        ValueError: the recipe names no network.
    """
    if recipe.network is None:
        raise ValueError("`network` must be named to train one. Received: network=None")
    arguments = {
        "input_shape": (*sides(size), CHANNELS[recipe.channels]),
        "classes": classes,
        "auxiliary": recipe.auxiliary and bool(registry.heads(recipe.network)),
        **recipe.options,
    }
    if recipe.dropout is not None:
        arguments["dropout"] = recipe.dropout
    if recipe.weights is not None:
        arguments |= {"weights": weights or recipe.weights, "skip_mismatch": True}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return registry.create(recipe.network, **arguments)
    finally:
        keras.config.set_dtype_policy(before)


def trainee(recipe: Recipe, classes: int, distribution: Distribution = ALONE, weights: Weights = None) -> keras.Model:
    """Build the network to train: at the recipe's training size and with the fastest kernels."""
    size = recipe.training_size or recipe.size
    return _fast(build(recipe, classes, size, recipe.precision, weights), distribution)


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


def resized(network: keras.Model, size: Size | None, copied: Callable | None = None) -> keras.Model:
    """Clone a functional network, but not its weights, for inputs of `size`, or its own if it is None."""
    _, *own, channels = network.input_shape
    image = keras.Input((*(sides(size) if size else own), channels), name=network.inputs[0].name)
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
            f"Received: training_size={_shown(target)}, size={_shown(source)}"
        )
    target.set_weights(source.get_weights())


def _shown(model: keras.Model) -> Size:
    height, width = model.input_shape[1:3]
    return height if height == width else (height, width)


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
    if bare(layer.name).startswith(("predictions", "aux")):
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
