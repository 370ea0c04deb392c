"""Train faster with TensorFlow's fused kernels for convolution, batch norm and AdamW.

Keras 3 builds batch norm and AdamW from a dozen small operations each, and each of them passes over memory. On a CPU
they take a good part of GoogLeNet's training step, and of the time to build its graph. Half of the rest is the gradient
of the convolution kernels in bfloat16, for which TensorFlow's CPU kernel takes two to nine times as long as a matrix
product.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Train Keras' batch norm with TensorFlow's fused kernel.

    Weights and inference are those of Keras. The one difference: the kernel updates the moving variance with the
    unbiased estimate.
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
    """Compute Keras' convolution in bfloat16 as matrix products where that is faster.

    It is faster for 1×1 kernels. For larger kernels only the gradient of the kernel is, on feature maps so small that
    copying them once per kernel position costs little.
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
    """Convolve with a 1×1 kernel: (batch, h, w, c), (1, 1, c, d) -> (batch, h, w, d)."""
    channels, filters = kernel.shape[2:]
    product = tf.matmul(tf.reshape(x, (-1, channels)), tf.reshape(kernel, (channels, filters)))
    return tf.reshape(product, tf.concat([tf.shape(x)[:3], [filters]], 0))


@tf.custom_gradient
def convolution(x: tf.Tensor, kernel: tf.Tensor):
    """Convolve with stride 1 and same padding: (batch, h, w, c), kernel (i, j, c, d) -> (batch, h, w, d).

    The kernel's sides i and j must be odd.
    """
    same = {"strides": [1, 1, 1, 1], "padding": "SAME"}

    def gradients(upstream):
        to_x = tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(x), filter=kernel, out_backprop=upstream, **same)
        return to_x, kernel_gradient(x, upstream, kernel.shape)

    return tf.nn.conv2d(x, kernel, **same), gradients


def kernel_gradient(x: tf.Tensor, upstream: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Return the gradient of `convolution` with respect to its kernel: one matrix product per kernel position.

    Args:
        x: the input, (batch, h, w, c).
        upstream: the gradient of the output, (batch, h, w, d).
        shape: the kernel's, (i, j, c, d).
    """
    rows, columns, channels, filters = shape
    _, height, width, _ = tf.unstack(tf.shape(x))
    padded = tf.pad(x, [(0, 0), (rows // 2,) * 2, (columns // 2,) * 2, (0, 0)])
    upstream = tf.reshape(upstream, (-1, filters))
    products = [
        tf.matmul(tf.reshape(padded[:, i : i + height, j : j + width], (-1, channels)), upstream, transpose_a=True)
        for i in range(rows)
        for j in range(columns)
    ]
    return tf.reshape(tf.stack(products), shape)


def fuse(model: keras.Model, *, synchronized: bool = False) -> keras.Model:
    """Turn a functional model's plain convolutions and batch norms into fused ones, in place, and return the model.

    The fused classes add no state, so each layer just changes its class; copying the model would take seconds.

    Args:
        model: the functional model.
        synchronized: keep Keras' own batch norms and let them take statistics over all replicas' images.
    """
    for layer in model.layers:
        if type(layer) is keras.layers.Conv2D:
            layer.__class__ = FusedConv2D
        elif type(layer) is keras.layers.BatchNormalization:
            if synchronized:
                layer.synchronized = True
            elif layer.scale and layer.center and layer.input.ndim == 4 and layer.axis in (-1, 3):
                layer.__class__ = FusedBatchNormalization
    return model


class FusedAdamW(keras.optimizers.AdamW):
    """Run Keras' AdamW with TensorFlow's fused kernel; the update and the state are the same.

    Args:
        *args: those of Keras' AdamW.
        average_every: steps between two updates of the weights' moving average, each of which moves it as far as that
            many steps would. It costs less, and for a slow average the difference is negligible.
        **kwargs: those of Keras' AdamW.
    """

    def __init__(self, *args, average_every: int = 1, **kwargs):
        super().__init__(*args, **kwargs)
        self.average_every = average_every

    # Terms that all weights share are computed once, for a smaller graph that is built faster.
    def _apply_weight_decay(self, variables: Sequence[keras.Variable]) -> None:
        decay, rate = tf.constant(self.weight_decay, "float32"), tf.cast(self.learning_rate, "float32")
        for variable in variables:
            if self._use_weight_decay(variable):
                variable.value.assign_sub(variable.value * decay * rate)

    def _backend_update_step(self, gradients: Sequence, variables: Sequence[keras.Variable], learning_rate) -> None:
        shared = adam_terms(self, learning_rate)
        for gradient, variable in zip(gradients, variables, strict=True):
            index = self._get_variable_index(variable)
            m, v = self._momentums[index], self._velocities[index]
            apply_adam(variable.value.handle, m.value.handle, v.value.handle, gradient, shared)

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
    """Return the terms of an Adam step that all weights share, by the argument names of `apply_adam`'s kernel.

    The optimizer may be of Keras 3 or of tf_keras.
    """
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
    """Apply one Adam step to one weight, given the handles of its variables and the result of `adam_terms`."""
    tf.raw_ops.ResourceApplyAdam(var=variable, m=m, v=v, grad=tf.cast(gradient, "float32"), **shared)
