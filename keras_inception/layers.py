"""The few layers that Keras lacks."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="keras_inception")
class LocalResponseNormalization(keras.layers.Layer):
    """Local response normalisation across channels (Krizhevsky et al. 2012, section 3.3).

    ``y[c] = x[c] / (bias + alpha * sum(x[c - depth_radius : c + depth_radius + 1] ** 2)) ** beta``,
    equal to ``tf.nn.local_response_normalization`` with the same arguments. Caffe divides its alpha by the
    window (``2 * depth_radius + 1``) and TensorFlow does not: Caffe's 1e-4 is 2e-5 here.

    The sum is a 1×1 convolution with a banded kernel, and beta = 0.75 is two square roots, because these are what
    TFLite's XNNPACK delegate runs; its builtin LRN, and a power, are left to the slow path.

    Input and output: (batch, height, width, channels), channels last, any range. Computed in float32 also
    under a mixed precision policy.

    Args:
        depth_radius: channels on either side that take part in the sum.
        bias: what is added to the sum, positive.
        alpha: factor of the sum.
        beta: exponent.
    """

    def __init__(self, depth_radius=2, bias=1.0, alpha=2e-5, beta=0.75, **kwargs):
        super().__init__(**kwargs)
        if depth_radius < 0:
            raise ValueError(f"`depth_radius` must be 0 or more. Received: depth_radius={depth_radius}")
        if bias <= 0:
            raise ValueError(f"`bias` must be positive. Received: bias={bias}")
        self.depth_radius = depth_radius
        self.bias = bias
        self.alpha = alpha
        self.beta = beta

    def build(self, input_shape):
        channels = input_shape[-1]
        distance = np.abs(np.subtract.outer(np.arange(channels), np.arange(channels)))
        band = np.where(distance <= self.depth_radius, self.alpha, 0.0)
        self._band = band[None, None].astype("float32")

    def call(self, inputs):
        x = ops.cast(inputs, "float32")
        scale = ops.conv(ops.square(x), self._band, padding="valid", data_format="channels_last") + self.bias
        if self.beta == 0.75:
            root = ops.sqrt(scale)
            y = x / (root * ops.sqrt(root))
        else:
            y = x / ops.power(scale, self.beta)
        return ops.cast(y, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"depth_radius": self.depth_radius, "bias": self.bias, "alpha": self.alpha, "beta": self.beta}
        return {**super().get_config(), **own}
