"""Train faster with TensorFlow's fused kernels for convolution, batch norm and AdamW.

Keras 3 builds batch norm and AdamW from a dozen small operations each, and each operation is a pass over memory. On a
CPU they account for a large part of GoogLeNet's step time and of the time to build its graph. Half of the remaining
step time goes into the gradient of the convolution kernels in bfloat16, for which TensorFlow's CPU kernel takes two to
nine times as long as a matrix product.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch norm, trained with TensorFlow's fused kernel.

    Weights and inference match Keras. The only difference is that the moving variance is updated with the unbiased
    estimate.
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
    """Keras' convolution, computed in bfloat16 as matrix products where that is faster.

    This is the case for 1×1 kernels. For larger kernels, only the kernel gradient is faster, on feature maps so small
    that copying them once per kernel position is cheap.
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


SMALL_MAP, MANY_CHANNELS = 8, 64  # measured on an x86 CPU with AMX at batch size 128


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
        upstream: the gradient with respect to the output, (batch, h, w, d).
        shape: the shape of the kernel, (i, j, c, d).
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
    """Replace a functional model's convolutions and batch norms with fused ones, in place. Return the model.

    The fused classes add no state, so it is enough to change each layer's class. Copying the model would take seconds.

    Args:
        model: the functional model.
        synchronized: keep Keras' own batch norms and synchronize their statistics across replicas.
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
    """Keras' AdamW with TensorFlow's fused kernel. Updates and state match Keras.

    Args:
        *args: as for `keras.optimizers.AdamW`.
        average_every: steps between updates of the weights' moving average. Each update moves the average as far as
            that many steps would. This costs less, and the difference is negligible for a slow average.
        **kwargs: as for `keras.optimizers.AdamW`.
    """

    def __init__(self, *args, average_every: int = 1, **kwargs):
        super().__init__(*args, **kwargs)
        self.average_every = average_every

    # Compute the terms that all weights share only once: the graph is smaller and builds faster.
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
    """Return the terms of an Adam step that all weights share, keyed by argument of ``ResourceApplyAdam``.

    The optimizer may come from Keras 3 or tf_keras.
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
