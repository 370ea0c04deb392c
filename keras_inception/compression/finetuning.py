"""Trainings of what tensorflow-model-optimization makes of a network: pruned, clustered, quantized."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from keras_inception.compression import quantization
from keras_inception.compression import tf_keras_bridge as bridge
from keras_inception.exporting.rewrites import rewrite
from keras_inception.models.inference import inference_model
from keras_inception.training.building import make_variables
from keras_inception.training.distribution import Distribution
from keras_inception.training.fused import adam_terms, apply_adam
from keras_inception.training.methods import Continued
from keras_inception.training.recipe import Recipe
from keras_inception.training.schedules import Phase, Plan, learning_rate, once_per_graph

PRUNABLE = (tf_keras.layers.Conv2D, tf_keras.layers.Dense)
BATCH = 16
MOMENTUM = 0.9  # of batch norms' averages, which else lag behind in a training of a hundred steps
WRAPPED = re.compile("^(quant|prune_low_magnitude|cluster)_")  # what tfmot puts before the names of outputs


class Finetuning(Continued):
    """A network goes on learning in tf_keras, in float32."""

    def trainee(self, network: keras.Model, recipe: Recipe, classes: int, distribution: Distribution) -> Any:
        tf_keras.utils.set_random_seed(recipe.seed)
        trainee = self.wrapped(bridge.to_tf_keras(network), recipe)
        for layer in trainee.submodules:
            if isinstance(layer, tf_keras.layers.BatchNormalization):
                layer.momentum = min(layer.momentum, MOMENTUM)
        # Autograph takes seconds, for control flow that is not there.
        trainee.train_step = tf.autograph.experimental.do_not_convert(trainee.train_step)
        return trainee

    def wrapped(self, model: tf_keras.Model, recipe: Recipe) -> tf_keras.Model:
        """What is trained of it."""
        return model

    def begin_again(self, trainee: tf_keras.Model, network: keras.Model) -> None:
        raise ValueError("none of its checkpoints can be used: begin another run")

    def compile(
        self, trainee: tf_keras.Model, recipe: Recipe, span: Phase, plan: Plan, steps: int, distribution: Distribution
    ) -> None:
        heads = [name for name in trainee.output if name != "predictions"] if isinstance(trainee.output, dict) else []
        loss = partial(tf_keras.losses.CategoricalCrossentropy, label_smoothing=recipe.label_smoothing)
        top1 = tf_keras.metrics.CategoricalAccuracy(name="top1")
        trainee.compile(
            _optimizer(recipe, Rate(learning_rate(recipe, span, plan, steps))),
            loss={name: loss() for name in ("predictions", *heads)} if heads else loss(),
            loss_weights={"predictions": 1.0, **dict.fromkeys(heads, recipe.auxiliary_weight)} if heads else None,
            metrics={"predictions": [top1]} if heads else [top1],
        )
        make_variables(trainee)

    def callbacks(self, callbacks: Sequence[keras.callbacks.Callback]) -> Sequence:
        return [Adapted(callback) for callback in callbacks]

    def kept(self, trainee: tf_keras.Model, network: keras.Model) -> keras.Model:
        """`network` with the weights of the trainee's layers of the same names."""
        plain = self.unwrapped(trainee)
        for layer in network.layers:
            if layer.weights:
                layer.set_weights(plain.get_layer(layer.name).get_weights())
        return network

    def unwrapped(self, trainee: tf_keras.Model) -> tf_keras.Model:
        """The trainee as an ordinary network."""
        return trainee


class Pruning(Finetuning):
    """Weights become zero, the smallest first, in convolutions and dense layers.

    Args:
        sparsity: share of a layer's weights that are zero in the end, in (0, 1); or ``"2:4"``: of every four input
            channels' weights the two larger ones stay, from the beginning.
        schedule: ``"polynomial"`` gets there after half of the training, by the schedule of Zhu and Gupta
            (1710.01878), ``"constant"`` at once.
        layers: names of those to prune; None is all that can be.
    """

    def __init__(
        self,
        *continued,
        sparsity: float | str,
        schedule: str = "polynomial",
        layers: Sequence[str] | None = None,
        **options,
    ):
        super().__init__(*continued, **options)
        self.layers = layers
        self.by_fours = sparsity == "2:4"
        if self.by_fours or schedule == "constant":
            share = 0.5 if self.by_fours else sparsity
            self.schedule = tfmot.sparsity.keras.ConstantSparsity(share, begin_step=0, frequency=1)
        else:
            self.schedule = Gradually(float(sparsity))

    def wrapped(self, model: tf_keras.Model, recipe: Recipe) -> tf_keras.Model:
        def pruned(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
            if type(layer) not in PRUNABLE or not (self.layers is None or layer.name in self.layers):
                return layer
            if not self.by_fours:
                return tfmot.sparsity.keras.prune_low_magnitude(layer, self.schedule)
            if layer.kernel.shape[-2] % 4:
                return layer
            return tfmot.sparsity.keras.prune_low_magnitude(layer, self.schedule, sparsity_m_by_n=(2, 4))

        return tf_keras.models.clone_model(model, clone_function=pruned)  # of the very layers, weights and all

    def compile(
        self, trainee: tf_keras.Model, recipe: Recipe, span: Phase, plan: Plan, steps: int, distribution: Distribution
    ) -> None:
        if isinstance(self.schedule, Gradually):
            self.schedule.steps = plan.steps(span, steps)
            self.schedule.frequency = max(1, min(10, steps // 4))
        super().compile(trainee, recipe, span, plan, steps, distribution)

    def callbacks(self, callbacks: Sequence[keras.callbacks.Callback]) -> Sequence:
        return [tfmot.sparsity.keras.UpdatePruningStep(), *super().callbacks(callbacks)]

    def unwrapped(self, trainee: tf_keras.Model) -> tf_keras.Model:
        return tfmot.sparsity.keras.strip_pruning(trainee)


class Gradually(tfmot.sparsity.keras.PruningSchedule):
    """More and more until the middle of a training, which may come to be planned shorter (1710.01878, equation 1).

    Attributes:
        steps: of the whole training; a variable if they are planned by the clock.
        frequency: in how many steps the weights that stay are chosen once.
    """

    def __init__(self, sparsity: float):
        self.sparsity = sparsity
        self.steps: float | keras.Variable = 1.0
        self.frequency = 1

    def __call__(self, step):
        done = tf.minimum(tf.cast(step, tf.float32) / (keras.ops.convert_to_tensor(self.steps) / 2), 1.0)
        return tf.equal(step % self.frequency, 0), self.sparsity * (1 - (1 - done) ** 3)

    def get_config(self):
        return {"class_name": type(self).__name__, "config": {"sparsity": self.sparsity}}


class Clustering(Finetuning):
    """The weights of a layer take so many values, in convolutions and dense layers; zeros stay zeros.

    Args:
        clusters: number of the values, 2 or more.
    """

    def __init__(self, *continued, clusters: int, **options):
        super().__init__(*continued, **options)
        self.clusters = clusters

    def wrapped(self, model: tf_keras.Model, recipe: Recipe) -> tf_keras.Model:
        clustering = tfmot.clustering.keras

        def clustered(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
            if type(layer) not in PRUNABLE or np.prod(layer.kernel.shape) <= self.clusters:
                return layer
            return clustering.cluster_weights(
                layer,
                number_of_clusters=self.clusters,
                cluster_centroids_init=clustering.CentroidInitialization.KMEANS_PLUS_PLUS,
                preserve_sparsity=True,
            )

        return tf_keras.models.clone_model(model, clone_function=clustered)

    def unwrapped(self, trainee: tf_keras.Model) -> tf_keras.Model:
        return tfmot.clustering.keras.strip_clustering(trainee)


class Quantization(Finetuning):
    """The network learns to do with 8 bits: `quantization.quantize_aware`. What is kept is for int8 alone.

    Args:
        preserve: ``"sparsity"`` or ``"clusters"``, if the run's network has been made so before.
        pictures: inputs that the ranges begin with, (n, height, width, 3).
    """

    def __init__(self, *continued, pictures: np.ndarray, preserve: str | None = None, **options):
        super().__init__(*continued, **options)
        self.pictures = pictures
        self.preserve = preserve

    def trainee(self, network: keras.Model, recipe: Recipe, classes: int, distribution: Distribution) -> Any:
        # The export's rewrites go before it: the operations that they bring need ranges too.
        return super().trainee(rewrite(network), recipe, classes, distribution)

    def wrapped(self, model: tf_keras.Model, recipe: Recipe) -> tf_keras.Model:
        batches = [self.pictures[start : start + BATCH] for start in range(0, len(self.pictures), BATCH)]
        return quantization.quantize_aware(model, batches, preserve=self.preserve)

    def kept(self, trainee: tf_keras.Model, network: keras.Model) -> keras.Model:
        ends = self._preprocessing.normalize(np.array([[[0.0] * 3, [255.0] * 3]], np.float32))
        return inference_model(quantization.quantized(trainee, (float(ends.min()), float(ends.max()))))


class FusedAdamW(tf_keras.optimizers.AdamW):
    """AdamW of tf_keras, the same figures and the same state, by TensorFlow's fused kernel (`training.fused`)."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._shared = once_per_graph(lambda: adam_terms(self, self.learning_rate))

    def update_step(self, gradient, variable):
        index = self._index_dict[self._var_key(variable)]
        m, v = self._momentums[index], self._velocities[index]
        apply_adam(variable.handle, m.handle, v.handle, gradient, self._shared())


class Rate(tf_keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate of Keras 3, a number or by steps, as tf_keras takes it."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate(step) if callable(self.rate) else tf.constant(self.rate)

    def get_config(self):
        raise NotImplementedError


class Adapted(tf_keras.callbacks.Callback):
    """A callback of Keras 3 in `fit` of tf_keras."""

    def __init__(self, callback: keras.callbacks.Callback):
        super().__init__()
        self.callback = callback

    def set_model(self, model: tf_keras.Model):
        super().set_model(model)
        self.callback.set_model(model)

    def on_train_begin(self, logs=None):
        self.callback.on_train_begin(logs)

    def on_epoch_begin(self, epoch, logs=None):
        self.callback.on_epoch_begin(epoch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self.callback.on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        for name in list(logs or {}):
            logs[WRAPPED.sub("", name)] = logs.pop(name)
        self.callback.on_epoch_end(epoch, logs)


def _optimizer(recipe: Recipe, rate: Rate) -> tf_keras.optimizers.Optimizer:
    """The recipe's optimizer, without averages."""
    arguments: dict[str, Any] = {
        "learning_rate": rate,
        "weight_decay": recipe.weight_decay or None,
        "global_clipnorm": recipe.clip_norm or None,
    }
    if recipe.optimizer == "sgd":
        return tf_keras.optimizers.SGD(momentum=recipe.momentum, nesterov=recipe.nesterov, **arguments)
    epsilon = {} if recipe.epsilon is None else {"epsilon": recipe.epsilon}
    if recipe.optimizer == "rmsprop":
        return tf_keras.optimizers.RMSprop(rho=recipe.rho, momentum=recipe.momentum, **epsilon, **arguments)
    return FusedAdamW(**epsilon, **arguments)
