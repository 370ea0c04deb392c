"""The variants of an exported file. To add one, add a `Variant` to `VARIANTS`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from keras_inception.preprocessing import Preprocessing

if TYPE_CHECKING:
    import tensorflow as tf

COMMON_REWRITES = ("space_to_depth_stem", "pool_after_projection")
FLOAT_REWRITES = (*COMMON_REWRITES, "lrn_for_half_precision")
# In float32, the delegate has its own average pooling, which is faster than a convolution.
INT8_REWRITES = (*COMMON_REWRITES, "average_pool_as_convolution")


# Types of the input and output of a calibrated variant.
TYPES = ("uint8", "int8", "float32")

# Scales of 8-bit weights: one for each channel; the same, but one for a whole dense layer; one for any whole layer.
# Older runtimes lack the first, or the first two.
BY_CHANNEL, DENSE_BY_LAYER, BY_LAYER = "channel", "dense_by_layer", "layer"


@dataclass(frozen=True)
class Variant:
    """A numeric format that networks are exported in.

    All fields are plain values, so that a variant can be sent to the converter's process as JSON.

    Attributes:
        name: name in `quantize`, in ``NAME_VARIANT.tflite`` and in the report.
        about: description of weights and arithmetic for the model card.
        min_agreement: default minimum share of images on which the file and Keras must predict the same class.
        client_tolerance: smallest value of `tolerance`, for shallow networks.
        rounding: how far scores may part because one multiplying operation runs in another kernel.
        compressed: whether the converter may shrink the weights.
        weight_type: type of the stored weights; None for the converter's choice.
        weight_scales: scales of 8-bit weights that are tried, in order: `BY_CHANNEL`, `DENSE_BY_LAYER` and `BY_LAYER`.
        half_precision: whether phones may compute the file in 16 bits, if that is safe.
        calibrated: whether activations are quantized too. This requires calibration images, or a network trained for
            it. Single layers can be kept in float32, and the error of each layer can be measured.
        input_type: one of `TYPES`. A uint8 input takes raw pixels, an int8 input raw pixels minus 128.
        output_type: one of `TYPES`.
        rewrites: names of the graph rewrites that make this variant faster on ARM and x86.
    """

    name: str
    about: str
    min_agreement: float
    client_tolerance: float
    rounding: float
    compressed: bool = True
    weight_type: str | None = None
    weight_scales: tuple[str, ...] = (BY_CHANNEL,)
    half_precision: bool = False
    calibrated: bool = False
    input_type: str = "float32"
    output_type: str = "float32"
    rewrites: tuple[str, ...] = FLOAT_REWRITES

    @property
    def takes_pixels(self) -> bool:
        """Whether the input takes raw pixels."""
        return self.input_type != "float32"

    def tolerance(self, operations: int) -> float:
        """Return how far a client's scores may be from the interpreter's: more, the deeper the network.

        Clients have kernels of other versions, which add products in another order or round halves to the other side.
        These errors are independent from operation to operation, so their squares add up.

        Args:
            operations: number of multiplying operations of the file (`tflite.operations.MULTIPLYING`).
        """
        return max(self.client_tolerance, self.rounding * operations**0.5)

    def configure(self, converter: "tf.lite.TFLiteConverter") -> None:
        """Configure the converter, apart from the calibration images."""
        import tensorflow as tf

        if self.compressed:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if self.weight_type:
            converter.target_spec.supported_types = [tf.dtypes.as_dtype(self.weight_type)]
        scales = self.weight_scales[0]
        converter._experimental_disable_per_channel_quantization_for_dense_layers = scales == DENSE_BY_LAYER
        converter._experimental_disable_per_channel = scales == BY_LAYER
        converter.inference_input_type = tf.dtypes.as_dtype(self.input_type)
        converter.inference_output_type = tf.dtypes.as_dtype(self.output_type)

    def alternatives(self) -> Iterator["Variant"]:
        """Yield the variant with its other weight scales, to try if the file with the first is refused."""
        for scales in self.weight_scales[1:]:
            yield replace(self, weight_scales=(scales,))

    def input(self, preprocessing: Preprocessing) -> Preprocessing:
        """Return the preprocessing that the file's input tensor expects. It is always RGB, as metadata requires.

        A uint8 input takes raw pixels, which the quantized tensor maps to ``(pixel - zero_point) * scale``. (An int8
        input is the same, with pixels and zero point lower by 128.) This equals the normalization if all channels share
        one mean and one standard deviation (to within half a pixel, since the zero point is an integer). Otherwise, the
        tensor stands for raw pixels, and the graph normalizes them.

        Args:
            preprocessing: preprocessing that the network expects.
        """
        mean, std = preprocessing.mean, preprocessing.std
        shared = len(set(mean)) == len(set(std)) == 1 and 0 <= mean[0] <= 255
        if self.takes_pixels and not shared:
            return preprocessing.without_normalization()
        if preprocessing.channels == "BGR":
            return preprocessing.replace(channels="RGB", mean=mean[::-1], std=std[::-1])
        return preprocessing.replace(channels="RGB")

    def described_input(self, expected: Preprocessing, quantization: tuple[float, int]) -> Preprocessing:
        """Return the preprocessing to describe a file's input with.

        Clients of an int8 input normalize and quantize. They get exactly ``pixel - 128`` if the normalization is that
        of the tensor's zero point, which is rounded, and scale.

        Args:
            expected: preprocessing that the input expects (`input`).
            quantization: (scale, zero point) of the input tensor.
        """
        if self.input_type != "int8":
            return expected
        scale, zero_point = quantization
        return expected.replace(mean=(zero_point + 128.0,) * 3, std=(1 / scale,) * 3)


# How much one operation may contribute to the difference of scores:
# - float32: a sum of a thousand products has a rounding error of about √1000 · 2⁻²⁴ ≈ 2⁻¹⁹ of its size, and a confident
#   softmax doubles it: a score moves by a quarter of the error of its logit, and logits reach 8.
# - dynamic: clients choose the range of the activations differently, so that values part by a step of 1/256.
# - int8: the arithmetic is the same, and only halves round differently, so that few values part by a step.
# Without depth: today's kernels part by 2e-6 in float32, and a uint8 output has steps of 1/256, one of which can be the
# rounding of the output itself.
FLOAT_ROUNDING = 2**-18
FLOAT32 = Variant("float32", "32-bit floats throughout.", 0.99, 1e-5, FLOAT_ROUNDING, compressed=False)

VARIANTS = {
    variant.name: variant
    for variant in (
        FLOAT32,
        Variant(
            *("float16", "16-bit float weights.", 0.99, 1e-5, FLOAT_ROUNDING),
            weight_type="float16",
            half_precision=True,
        ),
        Variant(
            *("dynamic", "8-bit weights; activations are quantized as the file runs.", 0.95, 0.03, 2**-8),
            weight_scales=(DENSE_BY_LAYER, BY_CHANNEL, BY_LAYER),
        ),
        Variant(
            *("int8", "8-bit weights and activations.", 0.95, 1.5 / 256, 2**-10),
            calibrated=True,
            input_type="uint8",
            output_type="uint8",
            rewrites=INT8_REWRITES,
        ),
    )
}
