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

    The sum is a 1×1 convolution with a banded kernel, and beta = 0.75 is two square roots and a division, because these
    are what TFLite's XNNPACK delegate runs; its builtin LRN, and a power, are left to the slow path. In an int8 file
    roots and division are float, in one stretch: the factor comes first, and its product with x is in 8 bits again.

    Input and output: (batch, height, width, channels), channels last, any range. Computed in float32 also
    under a mixed precision policy.

    Args:
        depth_radius: channels on either side that take part in the sum.
        bias: what is added to the sum, positive.
        alpha: factor of the sum.
        beta: exponent.
        builtin: on TensorFlow, be its own operation, which becomes TFLite's.
    """

    def __init__(self, depth_radius=2, bias=1.0, alpha=2e-5, beta=0.75, builtin=False, **kwargs):
        super().__init__(**kwargs)
        if depth_radius < 0:
            raise ValueError(f"`depth_radius` must be 0 or more. Received: depth_radius={depth_radius}")
        if bias <= 0:
            raise ValueError(f"`bias` must be positive. Received: bias={bias}")
        self.depth_radius = depth_radius
        self.bias = bias
        self.alpha = alpha
        self.beta = beta
        self.builtin = builtin

    def build(self, input_shape):
        channels = input_shape[-1]
        distance = np.abs(np.subtract.outer(np.arange(channels), np.arange(channels)))
        band = np.where(distance <= self.depth_radius, self.alpha, 0.0)
        self._band = band[None, None].astype("float32")

    def call(self, inputs):
        x = ops.cast(inputs, "float32")
        if self.builtin and keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            y = tf.nn.local_response_normalization(x, self.depth_radius, self.bias, self.alpha, self.beta)
            return ops.cast(y, self.compute_dtype)
        scale = ops.conv(ops.square(x), self._band, padding="valid", data_format="channels_last") + self.bias
        power = ops.sqrt(ops.sqrt(scale)) / scale if self.beta == 0.75 else ops.power(scale, -self.beta)
        return ops.cast(x * power, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"depth_radius": self.depth_radius, "bias": self.bias, "alpha": self.alpha, "beta": self.beta}
        return {**super().get_config(), **own, "builtin": self.builtin}


@keras.saving.register_keras_serializable(package="keras_inception")
class ZeroPaddingShortcut(keras.layers.Layer):
    """A residual network's shortcut without parameters where the shape changes (1512.03385, section 3.3, option A).

    (batch, h, w, c) -> (batch, ceil(h / strides), ceil(w / strides), filters), channels last: every pixel in `strides`,
    and zeros for the channels from c on.

    Args:
        filters: channels of the output, c or more.
        strides: 1 or more.

    Raises:
        ValueError: an argument is not as above.
    """

    def __init__(self, filters, strides=2, **kwargs):
        super().__init__(**kwargs)
        if strides < 1:
            raise ValueError(f"`strides` must be 1 or more. Received: strides={strides}")
        self.filters = filters
        self.strides = strides

    def build(self, input_shape):
        if input_shape[-1] > self.filters:
            raise ValueError(
                f"`filters` must be {input_shape[-1]} or more, as many as come in. Received: filters={self.filters}"
            )

    def call(self, inputs):
        x = inputs[:, :: self.strides, :: self.strides]
        return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.filters - inputs.shape[-1])))

    def compute_output_shape(self, input_shape):
        batch, *sides, _ = input_shape
        return (batch, *(side and -(-side // self.strides) for side in sides), self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}


@keras.saving.register_keras_serializable(package="keras_inception")
class CeilAveragePooling2D(keras.layers.Layer):
    """Average pooling as Caffe has it: windows from the first pixel on, their number rounded up.

    A window that goes over the lower or right border is the average of what it sees of the map. On an even side, 3×3/2
    is Keras' "same", which Keras 3.15 gets wrong on torch; on an odd one "same" would start a pixel earlier.

    (batch, h, w, c) -> (batch, ceil((h - pool_size) / strides) + 1, ceil((w - pool_size) / strides) + 1, c), channels
    last.

    Args:
        pool_size: side of a window, `strides` or more.
        strides: 1 or more.

    Raises:
        ValueError: an argument is not as above.
    """

    def __init__(self, pool_size=3, strides=2, **kwargs):
        super().__init__(**kwargs)
        if not 1 <= strides <= pool_size:
            raise ValueError(f"`strides` must be from 1 to `pool_size`, {pool_size}. Received: strides={strides}")
        self.pool_size = pool_size
        self.strides = strides

    def call(self, inputs):
        inside = ops.ones_like(inputs[:1, :, :, :1])
        return self._pool(inputs) / self._pool(inside)

    def _pool(self, x):
        # The rows and columns that a window more would need, and that "valid" leaves out if there is none.
        border = (0, self.strides - 1)
        x = ops.pad(x, ((0, 0), border, border, (0, 0)))
        return ops.average_pool(x, self.pool_size, self.strides, "valid", data_format="channels_last")

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(side and -((self.pool_size - side) // self.strides) + 1 for side in sides), channels)

    def get_config(self):
        return {**super().get_config(), "pool_size": self.pool_size, "strides": self.strides}


@keras.saving.register_keras_serializable(package="keras_inception")
class SpaceToDepth(keras.layers.Layer):
    """Blocks of pixels as channels: (batch, h, w, c) -> (batch, h / size, w / size, size * size * c), channels last.

    Of each block first the upper row, from left to right. The sides must be multiples of `size`.
    """

    def __init__(self, size=2, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, inputs):
        if keras.backend.backend() == "tensorflow":  # one operation of TFLite
            import tensorflow as tf

            return tf.nn.space_to_depth(inputs, self.size)
        _, height, width, channels = inputs.shape
        rows, columns = height // self.size, width // self.size
        x = ops.reshape(inputs, (-1, rows, self.size, columns, self.size, channels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, rows, columns, self.size**2 * channels))

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(side and side // self.size for side in sides), self.size**2 * channels)

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(package="keras_inception")
class FixedMap(keras.layers.Layer):
    """A map times another that is given: (batch, h, w, c) -> (batch, h, w, c).

    Args:
        values: h rows of w numbers each, for all channels.
    """

    def __init__(self, values, **kwargs):
        super().__init__(**kwargs)
        self.values = [list(map(float, row)) for row in values]

    def call(self, inputs):
        return inputs * ops.convert_to_tensor(np.array(self.values)[None, :, :, None], self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "values": self.values}


@keras.saving.register_keras_serializable(package="keras_inception")
class FakeQuantization(keras.layers.Layer):
    """Values as 8 bits can hold them: 256 steps from `low` to `high`, of which one is zero. Shapes stay.

    TFLite's converter takes the range from it, and needs no calibration.
    """

    def __init__(self, low, high, **kwargs):
        super().__init__(**kwargs)
        self.low = float(low)
        self.high = float(high)

    def call(self, inputs):
        return keras.quantizers.fake_quant_with_min_max_vars(inputs, self.low, self.high)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "low": self.low, "high": self.high}
