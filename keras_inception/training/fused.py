"""Batch norm and AdamW by TensorFlow's fused kernels, for training speed.

Keras 3 spells both out in a dozen small operations each, every one a pass over memory. On a CPU these are a good part
of GoogLeNet's training step, and of the time that goes into building its graph.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch norm, trained by TensorFlow's fused kernel.

    The weights and the inference are Keras' own. The one difference is that the kernel takes the moving variance from
    the unbiased estimate.
    """

    def call(self, inputs, training=None, mask=None):
        if not training or not self.trainable:
            return super().call(inputs, training=training, mask=mask)
        normalized, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            tf.cast(inputs, self.compute_dtype),
            scale=tf.cast(self.gamma, "float32"),
            offset=tf.cast(self.beta, "float32"),
            epsilon=self.epsilon,
            is_training=True,
        )
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return normalized


def fuse_batch_norm(model: keras.Model) -> keras.Model:
    """A copy of a functional model, weights included, whose plain batch norms are fused ones."""
    copy = keras.models.clone_model(model, clone_function=_fused)
    copy.set_weights(model.get_weights())
    return copy


def _fused(layer: keras.layers.Layer) -> keras.layers.Layer:
    plain = (
        type(layer) is keras.layers.BatchNormalization
        and layer.scale
        and layer.center
        and layer.input.ndim == 4
        and layer.axis in (-1, 3)
        and not layer.synchronized
    )
    return (FusedBatchNormalization if plain else type(layer)).from_config(layer.get_config())


class FusedAdamW(keras.optimizers.AdamW):
    """Keras' AdamW, the same figures and the same state, by TensorFlow's fused kernel.

    Args:
        average_every: the average of the weights is brought up to date after so many steps, by as many steps' worth,
            which costs that much less; a slow average does not see the difference.
    """

    def __init__(self, *args, average_every: int = 1, **kwargs):
        super().__init__(*args, **kwargs)
        self.average_every = average_every

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, "float32")
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=tf.cast(learning_rate, "float32"),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, "float32"),
        )

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[keras.Variable]) -> None:
        if not self.use_ema:
            return

        def update():
            first = tf.equal(self.iterations, 0)
            share = tf.where(first, 1.0, 1 - self.ema_momentum**self.average_every)
            for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
                average.assign_add(share * (variable - average))
            return True

        tf.cond(tf.equal(self.iterations % self.average_every, 0), update, lambda: False)


def _handle(variable) -> tf.Tensor:
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
