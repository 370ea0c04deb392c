"""Augmentation: random changes to training images, so that no two epochs see the same ones."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keras_inception.utils.suggestions import did_you_mean

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from keras_inception.preprocessing import Preprocessing

UPPER = {
    **{"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.5, "lighting": 1.0},
    **{"erase": 1.0, "mixup": 10.0, "cutmix": 10.0},
}
CENTER = 127.5
INTERPOLATIONS = ("bilinear", "mixed")
MIXED = ("bilinear", "area", "nearest", "bicubic")
# Standard deviations of ImageNet's colors along their principal axes, and these axes as columns. The method is that of
# Krizhevsky et al. 2012, section 4.1; the numbers are those of fb.resnet.torch.
DEVIATIONS = (0.2175, 0.0188, 0.0045)
AXES = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


@dataclass(frozen=True)
class Augmentation:
    """Random crop, flip and color changes ("inception preprocessing"; 1409.4842, section 6, after 1312.5402).

    Attributes:
        area: range of the crop's share of the image's area, in (0, 1]. (1, 1) disables the random crop: the image is
            fitted as by `Preprocessing.fit`.
        aspect: range of the crop's aspect ratio (width / height) relative to the network input's, positive.
        scale: range of the image's shorter side, in units of the network input's, from which a crop of the input's size
            is taken anywhere (1409.1556, section 3.1; 1512.03385, section 3.4). None crops by `area`.
        interpolation: ``"bilinear"``, or ``"mixed"``: one of bilinear, area, nearest and bicubic at random, without
            antialiasing (1409.4842, section 6).
        flip: mirror half of the images left to right, at random.
        brightness: largest shift up or down, as a share of white, in [0, 1].
        contrast: largest relative change of the distance to the mean color, in [0, 1].
        saturation: largest relative change of the saturation, in [0, 1].
        hue: largest rotation of the hue, as a share of the color wheel, in [0, 0.5].
        lighting: standard deviation of lighting noise along the principal axes of ImageNet's colors, in [0, 1]; 0.1 in
            Krizhevsky et al. 2012.
        distortions: number of `DISTORTIONS`, layers of Keras, applied to a batch and drawn anew for each batch
            (RandAugment, 1909.13719, which draws for each image).
        erase: share of the images in which a region, 2 to 33 % of the area, is replaced by noise (random erasing,
            1708.04896), in [0, 1].
        mixup: alpha of the Beta distribution by which pairs of images and labels in a batch are mixed (1710.09412).
        cutmix: alpha of CutMix, which pastes a region of one image into another (1905.04899). With both, one of the
            two is chosen at random.

    Raises:
        ValueError: a field is out of range.
    """

    area: tuple[float, float] = (0.35, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    scale: tuple[float, float] | None = None
    interpolation: str = "bilinear"
    flip: bool = True
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.02
    lighting: float = 0.0
    distortions: int = 0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        for field, upper in (("area", 1.0), ("aspect", math.inf), ("scale", math.inf)):
            value = getattr(self, field)
            if field == "scale" and value is None:
                continue
            if not _is_range(value) or not 0 < value[0] <= value[1] <= upper:
                allowed = "low and high, 0 < low <= high" + (f" <= {upper:g}" if upper < math.inf else "")
                raise ValueError(f"`{field}` must be two numbers, {allowed}. Received: {field}={value!r}")
            object.__setattr__(self, field, (float(value[0]), float(value[1])))
        if self.scale and self.scale[0] < 1:
            raise ValueError(f"`scale` must be at least 1 so that the crop fits. Received: scale={self.scale}")
        if self.interpolation not in INTERPOLATIONS:
            allowed = ", ".join(INTERPOLATIONS)
            raise ValueError(f"`interpolation` must be one of {allowed}. Received: {self.interpolation!r}")
        if (
            isinstance(self.distortions, bool)
            or not isinstance(self.distortions, int)
            or not 0 <= self.distortions <= 9
        ):
            raise ValueError(f"`distortions` must be a whole number, 0 to 9. Received: {self.distortions!r}")
        if not isinstance(self.flip, bool):
            raise ValueError(f"`flip` must be True or False. Received: flip={self.flip!r}")
        for field, upper in UPPER.items():
            value = getattr(self, field)
            if not _is_number(value) or not 0 <= value <= upper:
                raise ValueError(f"`{field}` must be in [0, {upper:g}]. Received: {field}={value!r}")
            object.__setattr__(self, field, float(value))

    @classmethod
    def none(cls) -> "Augmentation":
        """Return an augmentation that changes nothing."""
        return cls(area=(1, 1), aspect=(1, 1), flip=False, brightness=0, contrast=0, saturation=0, hue=0)

    def to_dict(self) -> dict:
        """Return the fields as JSON can hold them."""
        return dataclasses.asdict(self)

    def replace(self, **changes) -> "Augmentation":
        """Return a copy with the named fields changed."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_dict(cls, values: Mapping) -> "Augmentation":
        """Read what `to_dict` returned.

        Raises:
            ValueError: there are other fields, which the message names, or a value is out of range.
        """
        fields = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(map(str, set(values) - set(fields))) if isinstance(values, Mapping) else [str(values)]
        if unknown:
            hint = did_you_mean(unknown[0], fields)
            raise ValueError(
                f"`augmentation` must have the fields {', '.join(fields)}.{hint} Received: {values!r:.200}"
            )
        return cls(**values)

    def box(
        self, shape: "tf.Tensor", seed: "tf.Tensor", preprocessing: "Preprocessing"
    ) -> "tuple[tf.Tensor, tf.Tensor]":
        """Return the crop to take from an image: its begin and size, int32 (3,) each, as for `tf.slice`.

        Args:
            shape: shape of the image, int32 (3,).
            seed: integers, (2,); the same as for `apply`.
            preprocessing: gives the aspect ratio of the crop, and its place if there is no random crop.
        """
        import tensorflow as tf

        own = tf.unstack(tf.random.split(seed, 6))[0]
        if self.scale:
            return self._scaled_box(shape, own, preprocessing)
        if self.area == (1, 1):
            return _center_box(shape, preprocessing)
        return self._random_box(shape, own, preprocessing)

    def apply(self, image: "tf.Tensor", seed: "tf.Tensor", size: "tf.Tensor") -> "tf.Tensor":
        """Augment one image; the result is not yet normalized.

        Args:
            image: uint8 RGB (height, width, 3) of any size, cropped to `box`.
            seed: integers, (2,); the same seed gives the same result.
            size: (height, width) of the result, int32 (2,).

        Returns:
            float32 (*size, 3), 0 to 255.
        """
        import tensorflow as tf

        seeds = tf.unstack(tf.random.split(seed, 6))
        if self.interpolation == "mixed":
            image = _resize_by_chance(image, size, tf.random.fold_in(seed, 6))
        else:
            image = _resize(image, size)
        if self.flip:
            image = tf.image.stateless_random_flip_left_right(image, seeds[1])
        if any((self.brightness, self.contrast, self.saturation, self.hue, self.lighting)):
            image = self._change_colors(image / 255, seed, seeds) * 255
        return tf.clip_by_value(image, 0, 255) if self.interpolation == "mixed" else image

    def _change_colors(self, image, seed, seeds):
        """Change the colors of an image with values from 0 to 1."""
        import tensorflow as tf

        if self.brightness:
            image = tf.image.stateless_random_brightness(image, self.brightness, seeds[2])
        if self.contrast:
            image = tf.image.stateless_random_contrast(image, 1 - self.contrast, 1 + self.contrast, seeds[3])
        if self.saturation:
            image = tf.image.stateless_random_saturation(image, 1 - self.saturation, 1 + self.saturation, seeds[4])
        if self.hue:
            image = tf.image.stateless_random_hue(image, self.hue, seeds[5])
        if self.lighting:
            drawn = tf.random.stateless_normal((3,), tf.random.fold_in(seed, 7), stddev=self.lighting)
            image += tf.linalg.matvec(AXES, drawn * DEVIATIONS)
        return tf.clip_by_value(image, 0, 1)

    def batch_stages(self) -> "list[list[keras.Layer]]":
        """Return the stages of `apply_to_batch`: lists of Keras layers, of which one is drawn for each batch.

        Call it outside of tf.data's functions, since layers create variables.
        """
        import keras

        erasing = keras.layers.RandomErasing((self.erase, self.erase), value_range=(-CENTER, CENTER))
        mixing = [
            *([keras.layers.MixUp(self.mixup)] if self.mixup else []),
            *([keras.layers.CutMix(self.cutmix)] if self.cutmix else []),
        ]
        distorting = [getattr(keras.layers, name)(**options) for name, options in DISTORTIONS]
        stages = [*[distorting] * self.distortions, *([[erasing]] if self.erase else []), mixing]
        for layer in (layer for stage in stages for layer in stage):
            layer.backend.set_backend("tensorflow")  # whichever backend trains: the layers run in tf.data
        return [stage for stage in stages if stage]

    def _random_box(self, shape, seed, preprocessing):
        """Return the begin and size of a crop; the whole image if no such crop fits."""
        import tensorflow as tf

        height, width = preprocessing.size
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            shape,
            tf.zeros((1, 0, 4)),
            seed,
            min_object_covered=0.0,
            aspect_ratio_range=[ratio * width / height for ratio in self.aspect],
            area_range=self.area,
            use_image_if_no_bounding_boxes=True,
        )
        return begin, extent

    def _scaled_box(self, shape, seed, preprocessing):
        """Return a crop anywhere, as large as the input is in an image whose shorter side has a random scale."""
        import tensorflow as tf

        scale_seed, place_seed = tf.unstack(tf.random.split(seed, 2))
        scale = (
            tf.random.stateless_uniform((), scale_seed, *self.scale) if self.scale[0] < self.scale[1] else self.scale[0]
        )
        largest = tf.reduce_min(tf.cast(shape[:2], tf.float32) / preprocessing.size)
        extent = tf.cast(tf.round(largest / scale * preprocessing.size), tf.int32)
        extent = tf.clip_by_value(extent, 1, shape[:2])
        left_over = tf.cast(shape[:2] - extent + 1, tf.float32)
        begin = tf.cast(tf.random.stateless_uniform((2,), place_seed) * left_over, tf.int32)
        return tf.concat([begin, [0]], 0), tf.concat([extent, [3]], 0)


# Keras layers with their options, which bound the random strength.
DISTORTIONS = (
    ("RandomRotation", {"factor": 0.08}),
    ("RandomShear", {"x_factor": 0.3, "y_factor": 0.3}),
    ("RandomTranslation", {"height_factor": 0.15, "width_factor": 0.15}),
    ("RandomSharpness", {"factor": 0.5, "value_range": (-CENTER, CENTER)}),
    ("RandomColorDegeneration", {"factor": 0.5, "value_range": (-CENTER, CENTER)}),
    ("RandomGaussianBlur", {"factor": 0.5, "value_range": (-CENTER, CENTER)}),
)


def apply_to_batch(
    stages: "Sequence[Sequence[keras.Layer]]", images: "tf.Tensor", labels: "tf.Tensor", seed: "tf.Tensor"
) -> "tuple[tf.Tensor, tf.Tensor]":
    """Apply the stages of `Augmentation.batch_stages` to a batch.

    Args:
        stages: what `batch_stages` returned.
        images: float32 (batch, height, width, 3), 0 to 255.
        labels: one-hot, float32 (batch, classes); they are mixed like the images.
        seed: integers, (2,); the same seed gives the same result.
    """
    import tensorflow as tf

    shapes = images.shape, labels.shape
    x = images - CENTER  # the layers fill empty areas with 0, which is then gray
    for place, stage in enumerate(stages):
        own = tf.random.fold_in(seed, place)
        drawn = tf.random.stateless_uniform((), own, 0, len(stage), tf.int32)
        branches = [functools.partial(_changed, layer, x, labels, own) for layer in stage]
        x, labels = tf.switch_case(drawn, branches)
    return tf.ensure_shape(x + CENTER, shapes[0]), tf.ensure_shape(labels, shapes[1])


def _changed(layer: "keras.Layer", x: "tf.Tensor", labels: "tf.Tensor", seed: "tf.Tensor"):
    change = layer.get_random_transformation({"images": x, "labels": labels}, seed=_generator(seed))
    return layer.transform_images(x, change), layer.transform_labels(labels, change)


def _generator(seed: "tf.Tensor") -> "keras.random.SeedGenerator":
    """Return a seed generator for Keras' layers that depends on `seed` alone, however often it was used before."""
    import keras
    import tensorflow as tf

    drawn = itertools.count(1)

    class Generator(keras.random.SeedGenerator):
        def __init__(self):
            pass  # no state of its own

        def next(self, ordered=True):
            return tf.random.fold_in(seed, next(drawn))

    return Generator()


def _resize_by_chance(image, size, seed):
    import tensorflow as tf

    drawn = tf.random.stateless_uniform((), seed, 0, len(MIXED), tf.int32)
    pixels = tf.cast(image, tf.float32)
    resized = tf.switch_case(drawn, [lambda method=method: tf.image.resize(pixels, size, method) for method in MIXED])
    return tf.ensure_shape(resized, (None, None, 3))


def _resize(image, size):
    """Resize bilinearly, antialiased only when shrinking; when growing it changes nothing and takes twice the time."""
    import tensorflow as tf

    return tf.cond(
        tf.reduce_any(tf.shape(image)[:2] > size),
        lambda: _resize_antialiased(image, size),
        lambda: tf.image.resize(image, size),
    )


def _resize_antialiased(image, size):
    """Return what `tf.image.resize(…, antialias=True)` does, bit for bit, in a third of the time.

    That goes pixel by pixel, three values at a time. Here a pixel is a whole row and then, after a transpose, a whole
    column.
    """
    import tensorflow as tf

    height, width = tf.unstack(size)
    on_its_side = tf.transpose(_resize_rows(image, height), (1, 0, 2))
    return tf.transpose(_resize_rows(on_its_side, width), (1, 0, 2))


def _resize_rows(image, height):
    """Resize (h, w, channels) to (height, w, channels), as an image of one row whose pixels are the rows."""
    import tensorflow as tf

    rows, columns, channels = tf.unstack(tf.shape(image))
    resized = tf.raw_ops.ScaleAndTranslate(
        images=tf.reshape(image, (1, 1, rows, columns * channels)),
        size=[1, height],
        scale=[1.0, tf.cast(height, tf.float32) / tf.cast(rows, tf.float32)],
        translation=[0.0, 0.0],
        kernel_type="triangle",
        antialias=True,
    )
    return tf.reshape(resized, (height, columns, channels))


def _center_box(shape, preprocessing):
    """Return the begin and size of the crop of `Preprocessing.fit`, in whole pixels."""
    import tensorflow as tf

    sides = tf.cast(shape[:2], tf.float32)
    scale = preprocessing.crop * tf.reduce_min(sides / preprocessing.size)
    extent = tf.maximum(tf.cast(tf.round(scale * preprocessing.size), tf.int32), 1)
    return tf.concat([(shape[:2] - extent) // 2, [0]], 0), tf.concat([extent, [3]], 0)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_range(value) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_number, value))
