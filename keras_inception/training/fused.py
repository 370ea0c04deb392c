"""Convolution, batch norm and AdamW by TensorFlow's faster kernels, for training speed.

Keras 3 spells batch norm and AdamW out in a dozen small operations each, every one a pass over memory. On a CPU these
are a good part of GoogLeNet's training step, and of the time that goes into building its graph. Of the rest, half is
the gradient of the kernels in bfloat16, for which TensorFlow's CPU kernel takes two to nine times a matrix product.
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


class FusedConv2D(keras.layers.Conv2D):
    """Keras' convolution, in bfloat16 as matrix products where that is faster.

    That is so for 1×1 kernels; and of larger ones for the gradient of the kernel, on maps so small that to copy them
    once for each of the kernel's places costs little.
    """

    def convolution_op(self, inputs, kernel):
        plain = (
            self.compute_dtype == "bfloat16"
            and set(self.strides) | set(self.dilation_rate) == {1}
            and self.groups == 1
            and self.padding == "same"
            and self.data_format == "channels_last"
        )
        if not plain:
            return super().convolution_op(inputs, kernel)
        kernel = keras.ops.cast(kernel, "bfloat16")
        if self.kernel_size == (1, 1):
            return pointwise(inputs, kernel)
        odd = all(side % 2 for side in self.kernel_size)
        small = None not in inputs.shape[1:3] and max(inputs.shape[1:3]) <= SMALL_MAP
        if odd and small and inputs.shape[3] >= MANY_CHANNELS:
            return convolution(inputs, kernel)
        return super().convolution_op(inputs, kernel)


SMALL_MAP, MANY_CHANNELS = 8, 64  # measured on an x86 processor with AMX, batches of 128


def pointwise(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolution of a 1×1 kernel: (batch, h, w, c) and (1, 1, c, d) -> (batch, h, w, d)."""
    channels, filters = kernel.shape[2:]
    product = tf.matmul(tf.reshape(x, (-1, channels)), tf.reshape(kernel, (channels, filters)))
    return tf.reshape(product, tf.concat([tf.shape(x)[:3], [filters]], 0))


@tf.custom_gradient
def convolution(x: tf.Tensor, kernel: tf.Tensor):
    """Convolution of stride 1, padded to the same size: (batch, h, w, c), kernel (i, j, c, d) -> (batch, h, w, d).

    i and j are odd.
    """
    same = {"strides": [1, 1, 1, 1], "padding": "SAME"}

    def gradients(upstream):
        to_x = tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(x), filter=kernel, out_backprop=upstream, **same)
        return to_x, kernel_gradient(x, upstream, kernel.shape)

    return tf.nn.conv2d(x, kernel, **same), gradients


def kernel_gradient(x: tf.Tensor, upstream: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Gradient of `convolution` to its kernel of that shape: one matrix product for each of the kernel's places."""
    rows, columns, channels, filters = shape
    size = tf.shape(x)
    height, width = size[1], size[2]
    padded = tf.pad(x, [(0, 0), (rows // 2,) * 2, (columns // 2,) * 2, (0, 0)])
    upstream = tf.reshape(upstream, (-1, filters))
    products = [
        tf.matmul(tf.reshape(padded[:, i : i + height, j : j + width], (-1, channels)), upstream, transpose_a=True)
        for i in range(rows)
        for j in range(columns)
    ]
    return tf.reshape(tf.stack(products), shape)


def fuse(model: keras.Model, *, synchronized: bool = False) -> keras.Model:
    """Make a functional model's plain convolutions and batch norms the fused ones, in place, and return it.

    The fused classes add no state, so that each layer only changes its class; a copy of the model would take seconds.

    Args:
        synchronized: the batch norms stay Keras' own and take the statistics of all replicas' pictures together.
    """
    for layer in model.layers:
        if type(layer) is keras.layers.Conv2D:
            layer.__class__ = FusedConv2D
        elif type(layer) is keras.layers.BatchNormalization:
            if synchronized:
                layer.synchronized = True
            elif _is_plain(layer):
                layer.__class__ = FusedBatchNormalization
    return model


def _is_plain(layer: keras.layers.BatchNormalization) -> bool:
    return layer.scale and layer.center and layer.input.ndim == 4 and layer.axis in (-1, 3) and not layer.synchronized


class FusedAdamW(keras.optimizers.AdamW):
    """Keras' AdamW, the same figures and the same state, by TensorFlow's fused kernel.

    Args:
        average_every: the average of the weights is brought up to date after so many steps, by as many steps' worth,
            which costs that much less; a slow average does not see the difference.
    """

    def __init__(self, *args, average_every: int = 1, **kwargs):
        super().__init__(*args, **kwargs)
        self.average_every = average_every

    # What all weights share is calculated once, which makes the graph smaller and quicker to build.
    def _apply_weight_decay(self, variables: Sequence[keras.Variable]) -> None:
        decay, rate = tf.constant(self.weight_decay, "float32"), tf.cast(self.learning_rate, "float32")
        for variable in variables:
            if self._use_weight_decay(variable):
                variable.value.assign_sub(variable.value * decay * rate)

    def _backend_update_step(
        self, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable], learning_rate
    ) -> None:
        shared = adam_terms(self, learning_rate)
        for gradient, variable in zip(gradients, variables, strict=True):
            index = self._get_variable_index(variable)
            m, v = self._momentums[index], self._velocities[index]
            apply_adam(_handle(variable), _handle(m), _handle(v), gradient, shared)

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


def adam_terms(optimizer, learning_rate) -> dict[str, tf.Tensor]:
    """What all weights share in a step of Adam, of Keras 3 or of tf_keras, by the names of `apply_adam`'s kernel."""
    step = tf.cast(optimizer.iterations + 1, "float32")
    return {
        "beta1_power": optimizer.beta_1**step,
        "beta2_power": optimizer.beta_2**step,
        "lr": tf.cast(learning_rate, "float32"),
        "beta1": tf.constant(optimizer.beta_1, "float32"),
        "beta2": tf.constant(optimizer.beta_2, "float32"),
        "epsilon": tf.constant(optimizer.epsilon, "float32"),
    }


def apply_adam(variable: tf.Tensor, m: tf.Tensor, v: tf.Tensor, gradient: tf.Tensor, shared: dict) -> None:
    """One step of Adam for one weight, given the handles of the variables and `adam_terms`."""
    tf.raw_ops.ResourceApplyAdam(var=variable, m=m, v=v, grad=tf.cast(gradient, "float32"), **shared)


def _handle(variable) -> tf.Tensor:
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
