"""Training methods that use tensorflow-model-optimization: weight pruning, clustering, quantization-aware training."""

import re
from collections.abc import Callable, Collection, Sequence
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
from keras_inception.training import building
from keras_inception.training.distribution import Distribution
from keras_inception.training.fused import adam_terms, apply_adam
from keras_inception.training.methods import Continued
from keras_inception.training.recipe import Recipe
from keras_inception.training.schedules import Phase, Plan, learning_rate, once_per_graph
from keras_inception.utils.names import bare

PRUNABLE = (tf_keras.layers.Conv2D, tf_keras.layers.Dense)


def check_network(network: keras.Model, quantize: bool) -> None:
    """Raise ValueError if a layer, which the message names, cannot be trained in tf_keras, or not for int8."""
    model = bridge.to_tf_keras(rewrite(network) if quantize else network)
    for layer in model.layers if quantize else ():
        quantization.annotated_layer(layer)


class Finetuning(Continued):
    """Train an existing network in tf_keras, in float32.

    Attributes:
        unwrapped: function that removes the wrappers from the layers of a trained model.
    """

    unwrapped: Callable[[tf_keras.Model], tf_keras.Model]

    def trainee(self, network: keras.Model, recipe: Recipe, classes: int, distribution: Distribution) -> Any:
        """Return the network in tf_keras, wrapped for training."""
        tf_keras.utils.set_random_seed(recipe.seed)
        trainee = self.wrapped(bridge.to_tf_keras(network))
        for layer in trainee.submodules:
            if isinstance(layer, tf_keras.layers.BatchNormalization):
                layer.momentum = min(layer.momentum, 0.9)  # a longer average lags in so short a training
        # Autograph takes seconds, and there is no control flow to convert.
        trainee.train_step = tf.autograph.experimental.do_not_convert(trainee.train_step)
        return trainee

    def wrapped(self, model: tf_keras.Model) -> tf_keras.Model:
        """Return a model for training that shares the layers and their weights, each layer wrapped by `layer`."""
        return tf_keras.models.clone_model(model, clone_function=self.layer)

    def layer(self, layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        """Wrap a layer for pruning or clustering, or return it unchanged."""
        return layer

    def begin_again(self, trainee: tf_keras.Model, network: keras.Model) -> None:
        """Raise ValueError: the wrappers hold state that only checkpoints have."""
        raise ValueError("none of its checkpoints can be used: start another run")

    def compile(
        self, trainee: tf_keras.Model, recipe: Recipe, phase: Phase, plan: Plan, steps: int, distribution: Distribution
    ) -> None:
        """Compile the trainee with the recipe's optimizer and losses in tf_keras."""
        rate = Rate(learning_rate(recipe, phase, plan, steps))
        optimizer = building.optimizer_from(tf_keras.optimizers, recipe, FusedAdamW, learning_rate=rate)
        building.compile_with(tf_keras, trainee, recipe, optimizer)
        building.make_variables(trainee)

    def callbacks(self, callbacks: Sequence[keras.callbacks.Callback]) -> Sequence:
        """Adapt Keras 3 callbacks to tf_keras."""
        return [CallbackAdapter(callback) for callback in callbacks]

    def recalibrated(self, trainee: tf_keras.Model, network: keras.Model) -> Collection[str]:
        """Return no batch norms: their averages are short, and training for int8 has folded them."""
        return ()

    def kept(self, trainee: tf_keras.Model, network: keras.Model) -> keras.Model:
        """Copy the trainee's weights into `network`, matching layers by name, and return it."""
        plain = self.unwrapped(trainee)
        for layer in network.layers:
            if layer.weights:
                layer.set_weights(plain.get_layer(layer.name).get_weights())
        return network


class Pruning(Finetuning):
    """Prune weights of convolutions and dense layers by magnitude.

    Args:
        *continued: arguments of `Continued`.
        sparsity: final share of zeros in each layer's weights, in (0, 1); or ``"2:4"``, which keeps the two
            largest-magnitude weights of every four along the input channels, from the first step on.
        schedule: ``"polynomial"`` reaches the share after half of the training, by the schedule of Zhu and Gupta
            (1710.01878); ``"constant"`` prunes to it at once.
        layers: names of the layers to prune; None prunes all convolutions and dense layers.
    """

    unwrapped = staticmethod(tfmot.sparsity.keras.strip_pruning)

    def __init__(
        self, *continued, sparsity: float | str, schedule: str = "polynomial", layers: Sequence[str] | None = None
    ):
        super().__init__(*continued)
        self.layers = layers
        self.pattern = (2, 4) if sparsity == "2:4" else None
        if self.pattern or schedule == "constant":
            share = 0.5 if self.pattern else sparsity
            self.schedule = tfmot.sparsity.keras.ConstantSparsity(share, begin_step=0, frequency=1)
        else:
            self.schedule = PolynomialSparsity(float(sparsity))

    def layer(self, layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        """Wrap a layer if its weights are to be pruned."""
        named = self.layers is None or {layer.name, bare(layer.name)} & {*self.layers}
        if type(layer) not in PRUNABLE or not named:
            return layer
        if self.pattern and layer.kernel.shape[-2] % 4:
            return layer
        return tfmot.sparsity.keras.prune_low_magnitude(layer, self.schedule, sparsity_m_by_n=self.pattern)

    def compile(
        self, trainee: tf_keras.Model, recipe: Recipe, phase: Phase, plan: Plan, steps: int, distribution: Distribution
    ) -> None:
        """Fit the pruning schedule to the number of training steps, then compile the trainee."""
        if isinstance(self.schedule, PolynomialSparsity):
            self.schedule.steps = plan.steps(phase, steps)
            self.schedule.frequency = max(1, min(10, steps // 4))
        super().compile(trainee, recipe, phase, plan, steps, distribution)

    def callbacks(self, callbacks: Sequence[keras.callbacks.Callback]) -> Sequence:
        """Adapt the callbacks and add the one that counts pruning steps."""
        return [tfmot.sparsity.keras.UpdatePruningStep(), *super().callbacks(callbacks)]


class PolynomialSparsity(tfmot.sparsity.keras.PruningSchedule):
    """Raise the sparsity over the first half of the training, even if its length changes (1710.01878, equation 1).

    Args:
        sparsity: the final share of zeros.

    Attributes:
        steps: number of steps in the whole training; a variable if the recipe has a time limit.
        frequency: number of steps between updates of the pruning masks.
    """

    def __init__(self, sparsity: float):
        self.sparsity = sparsity
        self.steps: float | keras.Variable = 1.0
        self.frequency = 1

    def __call__(self, step):
        """Return whether to update the masks at a step, and the share of zeros."""
        done = tf.minimum(tf.cast(step, tf.float32) / (keras.ops.convert_to_tensor(self.steps) / 2), 1.0)
        return tf.equal(step % self.frequency, 0), self.sparsity * (1 - (1 - done) ** 3)

    def get_config(self):
        """Return the configuration in the form that tfmot requires."""
        return {"class_name": type(self).__name__, "config": {"sparsity": self.sparsity}}


class Clustering(Finetuning):
    """Cluster the weights of convolutions and dense layers. Zeros stay zero.

    Args:
        *continued: arguments of `Continued`.
        clusters: number of distinct weights in each layer, 2 or more.
    """

    unwrapped = staticmethod(tfmot.clustering.keras.strip_clustering)

    def __init__(self, *continued, clusters: int):
        super().__init__(*continued)
        self.clusters = clusters

    def layer(self, layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        """Wrap a layer if its weights are to be clustered."""
        if type(layer) not in PRUNABLE or np.prod(layer.kernel.shape) <= self.clusters:
            return layer
        return tfmot.clustering.keras.cluster_weights(layer, self.clusters, preserve_sparsity=True)


class Quantization(Finetuning):
    """Train with simulated 8-bit rounding (`quantization.quantize_aware`). The resulting network is for int8 only.

    Args:
        *continued: arguments of `Continued`.
        images: inputs that initialize the activation ranges, (n, height, width, 3).
        preserve: ``"sparsity"`` or ``"clusters"`` if the network has already been pruned or clustered.
    """

    def __init__(self, *continued, images: np.ndarray, preserve: str | None = None):
        super().__init__(*continued)
        self.images = images
        self.preserve = preserve

    def trainee(self, network: keras.Model, recipe: Recipe, classes: int, distribution: Distribution) -> Any:
        """Return the rewritten network in tf_keras, wrapped for training."""
        # Apply the rewrites of an export first: the operations that they add need ranges too.
        return super().trainee(rewrite(network), recipe, classes, distribution)

    def wrapped(self, model: tf_keras.Model) -> tf_keras.Model:
        """Return a copy of the model that rounds its weights and activations to 8 bits."""
        batches = [self.images[start : start + 16] for start in range(0, len(self.images), 16)]
        return quantization.quantize_aware(model, batches, preserve=self.preserve)

    def kept(self, trainee: tf_keras.Model, network: keras.Model) -> keras.Model:
        """Return the trained network in Keras 3, for int8."""
        ends = self._preprocessing.normalize(np.array([[[0.0] * 3, [255.0] * 3]], np.float32))
        return inference_model(quantization.quantized(trainee, (float(ends.min()), float(ends.max()))))


class FusedAdamW(tf_keras.optimizers.AdamW):
    """tf_keras AdamW on TensorFlow's fused kernel (`training.fused`), with the same results and state."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._shared = once_per_graph(lambda: adam_terms(self, self.learning_rate))

    def update_step(self, gradient, variable):
        """Update one variable with the fused kernel."""
        index = self._index_dict[self._var_key(variable)]
        m, v = self._momentums[index], self._velocities[index]
        apply_adam(variable.handle, m.handle, v.handle, gradient, self._shared())


class Rate(tf_keras.optimizers.schedules.LearningRateSchedule):
    """Adapt a Keras 3 learning rate, a number or a schedule, to tf_keras."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        """Return the learning rate at a step."""
        return self.rate(step) if callable(self.rate) else tf.constant(self.rate)


class CallbackAdapter(tf_keras.callbacks.LambdaCallback):
    """Forward the events of `fit` in tf_keras to a Keras 3 callback."""

    def __init__(self, callback: keras.callbacks.Callback):
        super().__init__(
            callback.on_epoch_begin,
            on_train_begin=callback.on_train_begin,
            on_train_batch_end=callback.on_train_batch_end,
        )
        self.callback = callback

    def set_model(self, model: tf_keras.Model):
        """Forward the model."""
        super().set_model(model)
        self.callback.set_model(model)

    def on_epoch_end(self, epoch, logs=None):
        """Forward the event, with tfmot's prefixes removed from the output names."""
        for name in list(logs or {}):
            logs[re.sub("^(quant|prune_low_magnitude|cluster)_", "", name)] = logs.pop(name)
        self.callback.on_epoch_end(epoch, logs)
