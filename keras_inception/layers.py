"""Custom layers that Keras does not provide."""

import inspect

import keras
import numpy as np
from keras import ops


class _Layer(keras.layers.Layer):
    """Base layer that stores each argument in an attribute of the same name and preserves the input shape."""

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        _, *arguments, _ = inspect.signature(type(self).__init__).parameters
        return {**super().get_config(), **{name: getattr(self, name) for name in arguments}}


@keras.saving.register_keras_serializable(package="keras_inception")
class LocalResponseNormalization(_Layer):
    """Local response normalization across channels (Krizhevsky et al. 2012, section 3.3).

    ``y[c] = x[c] / (bias + alpha * sum(x[c - depth_radius : c + depth_radius + 1] ** 2)) ** beta``, which equals
    ``tf.nn.local_response_normalization`` with the same arguments. Caffe divides alpha by the window size
    (``2 * depth_radius + 1``), TensorFlow does not: Caffe's 1e-4 is 2e-5 here.

    The sum is computed as a 1×1 convolution with a banded kernel, and a beta of 0.75 as two square roots and a
    division. TFLite's XNNPACK delegate supports these operations, but neither TFLite's built-in LRN nor powers, which
    run on slow kernels. In an int8 file, the roots and the division run in float, as one block; the product of the
    resulting factor and x is int8 again.

    Input and output: (batch, height, width, channels), channels last, any range. Computed in float32 even under a
    mixed precision policy.

    Args:
        depth_radius: number of neighboring channels on each side that the sum includes.
        bias: positive offset added to the sum.
        alpha: scale factor of the sum.
        beta: exponent.
        builtin: on the TensorFlow backend, use TensorFlow's built-in operation, which converts to TFLite's.
        input_scale: x is multiplied by it before it is squared, and alpha is divided by its square, so that the result
            stays the same. A power of two below 1 keeps both within the range of half precision.

    Raises:
        ValueError: `depth_radius` is negative or `bias` is not positive.
    """

    def __init__(self, depth_radius=2, bias=1.0, alpha=2e-5, beta=0.75, builtin=False, input_scale=1.0, **kwargs):
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
        self.input_scale = input_scale

    def build(self, input_shape):
        channels = input_shape[-1]
        distance = np.abs(np.subtract.outer(np.arange(channels), np.arange(channels)))
        band = np.where(distance <= self.depth_radius, self.alpha / self.input_scale**2, 0.0)
        self._band = band[None, None].astype("float32")

    def call(self, inputs):
        x = ops.cast(inputs, "float32")
        if self.builtin and keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            y = tf.nn.local_response_normalization(x, self.depth_radius, self.bias, self.alpha, self.beta)
            return ops.cast(y, self.compute_dtype)
        scale = self.sums(x)
        power = ops.sqrt(ops.sqrt(scale)) / scale if self.beta == 0.75 else ops.power(scale, -self.beta)
        return ops.cast(x * power, self.compute_dtype)

    def sums(self, x):
        """Return ``bias + alpha * sum(x**2)`` over the neighbors of each channel, in the shape of x, float32."""
        scaled = x if self.input_scale == 1 else x * self.input_scale
        return ops.conv(ops.square(scaled), self._band, padding="valid", data_format="channels_last") + self.bias


@keras.saving.register_keras_serializable(package="keras_inception")
class ZeroPaddingShortcut(_Layer):
    """Parameter-free ResNet shortcut where the shape changes (1512.03385, section 3.3, option A).

    Maps (batch, h, w, c) to (batch, ceil(h / strides), ceil(w / strides), filters), channels last. Keeps every
    `strides`-th pixel and fills the new channels with zeros.

    Args:
        filters: number of output channels, at least c.
        strides: stride, at least 1.

    Raises:
        ValueError: an argument is out of range.
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
                f"`filters` must be {input_shape[-1]} or more, the channels of the input. Received: {self.filters}"
            )

    def call(self, inputs):
        x = inputs[:, :: self.strides, :: self.strides]
        return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.filters - inputs.shape[-1])))

    def compute_output_shape(self, input_shape):
        batch, *sides, _ = input_shape
        return (batch, *(side and -(-side // self.strides) for side in sides), self.filters)


@keras.saving.register_keras_serializable(package="keras_inception")
class CeilAveragePooling2D(_Layer):
    """Average pooling as in Caffe: windows start at the first pixel, and their number is rounded up.

    A window that extends past the bottom or right border averages only the pixels inside the map. On an even side,
    3×3/2 equals Keras' "same", which Keras 3.15 gets wrong on torch; on an odd side, "same" would start one pixel
    earlier.

    Maps (batch, h, w, c) to (batch, ceil((h - pool_size) / strides) + 1, ceil((w - pool_size) / strides) + 1, c),
    channels last.

    Args:
        pool_size: window size, at least `strides`.
        strides: stride, at least 1.

    Raises:
        ValueError: an argument is out of range.
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
        # Make room for one more window; "valid" ignores rows and columns that do not fill one.
        border = (0, self.strides - 1)
        x = ops.pad(x, ((0, 0), border, border, (0, 0)))
        return ops.average_pool(x, self.pool_size, self.strides, "valid", data_format="channels_last")

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(side and -((self.pool_size - side) // self.strides) + 1 for side in sides), channels)


@keras.saving.register_keras_serializable(package="keras_inception")
class SpaceToDepth(_Layer):
    """Moves blocks of pixels into channels: (batch, h, w, c) -> (batch, h / size, w / size, size * size * c).

    Channels last. The pixels of a block are in row-major order.

    Args:
        size: block size. Height and width must be multiples of it.
    """

    def __init__(self, size=2, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, inputs):
        if keras.backend.backend() == "tensorflow":  # one operation in TFLite
            import tensorflow as tf

            return tf.nn.space_to_depth(inputs, self.size)
        _, height, width, channels = inputs.shape
        rows, columns = height // self.size, width // self.size
        x = ops.reshape(inputs, (-1, rows, self.size, columns, self.size, channels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, rows, columns, self.size**2 * channels))

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(side and side // self.size for side in sides), self.size**2 * channels)


@keras.saving.register_keras_serializable(package="keras_inception", name="FixedMap")  # the name in saved models
class ConstantScale(_Layer):
    """Multiplies each position of a map by a constant: (batch, h, w, c) -> (batch, h, w, c).

    Args:
        values: h rows of w factors, the same for all channels.
    """

    def __init__(self, values, **kwargs):
        super().__init__(**kwargs)
        self.values = [list(map(float, row)) for row in values]

    def call(self, inputs):
        return inputs * ops.convert_to_tensor(np.array(self.values)[None, :, :, None], self.compute_dtype)


FixedMap = ConstantScale  # the name before version 0.2


@keras.saving.register_keras_serializable(package="keras_inception")
class FakeQuantization(_Layer):
    """Rounds values of any shape to 256 levels (8 bits) from `low` to `high`. Zero is one of the levels.

    TFLite's converter reads the quantization range from this layer, so it needs no calibration.

    Args:
        low: smallest value.
        high: largest value.
    """

    def __init__(self, low, high, **kwargs):
        super().__init__(**kwargs)
        self.low = float(low)
        self.high = float(high)

    def call(self, inputs):
        return keras.quantizers.fake_quant_with_min_max_vars(inputs, self.low, self.high)
