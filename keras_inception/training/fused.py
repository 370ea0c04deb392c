"""Batch norm in one kernel, for training speed."""

import keras
import tensorflow as tf


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch norm, trained by TensorFlow's fused kernel.

    Keras spells the statistics out in a dozen operations, each a pass over the map, which on a CPU is a good part of
    GoogLeNet's training step. The weights and the inference are Keras' own. The one difference is that the kernel takes
    the moving variance from the unbiased estimate.
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
