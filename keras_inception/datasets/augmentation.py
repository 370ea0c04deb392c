"""What training does to pictures so that no epoch sees the same ones."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from keras_inception.preprocessing import Preprocessing

UPPER = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.5, "erase": 1.0, "mixup": 10.0, "cutmix": 10.0}


@dataclass(frozen=True)
class Augmentation:
    """Random crop, flip and colours ("inception preprocessing"; 1409.4842, section 6, after 1312.5402).

    Attributes:
        area: range of the crop's share of the picture's area, in (0, 1]. (1, 1) is no random crop: the picture is
            fitted as `Preprocessing.fit` does.
        aspect: range of the crop's width / height in proportion to the network input's, positive.
        flip: mirror every other picture left to right, by chance.
        brightness: largest shift up or down, as a share of white, in [0, 1].
        contrast: largest share by which the distance to the mean colour is stretched or shrunk, in [0, 1].
        saturation: the same of colourfulness, in [0, 1].
        hue: largest turn of the hue, as a share of the colour wheel, in [0, 0.5].
        erase: share of the pictures of which a part, 2 to 33 % of the area, is replaced by noise (random erasing,
            1708.04896), in [0, 1].
        mixup: alpha of the Beta distribution by which pictures and labels of a batch are mixed in pairs (1710.09412).
        cutmix: the same for a part of one picture that is set into another (1905.04899).

    Raises:
        ValueError: a field is not as above.
    """

    area: tuple[float, float] = (0.35, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.02
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        for field, upper in (("area", 1.0), ("aspect", math.inf)):
            value = getattr(self, field)
            if not _is_range(value) or not 0 < value[0] <= value[1] <= upper:
                allowed = "low and high, 0 < low <= high" + (f" <= {upper:g}" if upper < math.inf else "")
                raise ValueError(f"`{field}` must be two numbers, {allowed}. Received: {field}={value!r}")
            object.__setattr__(self, field, (float(value[0]), float(value[1])))
        if not isinstance(self.flip, bool):
            raise ValueError(f"`flip` must be True or False. Received: flip={self.flip!r}")
        for field, upper in UPPER.items():
            value = getattr(self, field)
            if not _is_number(value) or not 0 <= value <= upper:
                raise ValueError(f"`{field}` must be in [0, {upper:g}]. Received: {field}={value!r}")
            object.__setattr__(self, field, float(value))

    @classmethod
    def none(cls) -> "Augmentation":
        """The one that changes nothing."""
        return cls(area=(1, 1), aspect=(1, 1), flip=False, brightness=0, contrast=0, saturation=0, hue=0)

    def to_dict(self) -> dict:
        """The fields, as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping) -> "Augmentation":
        """The inverse of `to_dict`; ValueError naming the fields if there are others."""
        fields = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(values, Mapping) or set(values) - set(fields):
            raise ValueError(f"`augmentation` must have the fields {', '.join(fields)}. Received: {values!r:.200}")
        return cls(**values)

    def apply(
        self, picture: "tf.Tensor", seed: "tf.Tensor", size: "tf.Tensor", preprocessing: "Preprocessing"
    ) -> "tf.Tensor":
        """One picture as training sees it, not yet normalised.

        Args:
            picture: uint8 RGB (height, width, 3) of any size.
            seed: integers, (2,); the same ones give the same picture.
            size: height and width to give it, int32 (2,).
            preprocessing: whose geometry holds where there is no random crop.

        Returns:
            float32 (*size, 3), 0 to 255.
        """
        import tensorflow as tf

        seeds = tf.unstack(tf.random.split(seed, 6))
        if self.area == (1, 1):
            begin, extent = _centre(tf.shape(picture), preprocessing)
        else:
            begin, extent = self._random_box(tf.shape(picture), seeds[0], preprocessing)
        picture = tf.ensure_shape(tf.slice(picture, begin, extent), (None, None, 3))
        picture = _resize(tf.cast(picture, tf.float32), size) / 255
        if self.flip:
            picture = tf.image.stateless_random_flip_left_right(picture, seeds[1])
        if self.brightness:
            picture = tf.image.stateless_random_brightness(picture, self.brightness, seeds[2])
        if self.contrast:
            picture = tf.image.stateless_random_contrast(picture, 1 - self.contrast, 1 + self.contrast, seeds[3])
        if self.saturation:
            picture = tf.image.stateless_random_saturation(picture, 1 - self.saturation, 1 + self.saturation, seeds[4])
        if self.hue:
            picture = tf.image.stateless_random_hue(picture, self.hue, seeds[5])
        return tf.clip_by_value(picture, 0, 1) * 255

    def batch_layers(self) -> "list[keras.Layer]":
        """Keras' layers that change whole batches, for `apply_to_batch`. To be built outside tf.data's functions."""
        import keras

        chosen = {
            keras.layers.RandomErasing: (self.erase, {"factor": (self.erase, self.erase), "value_range": (-1, 1)}),
            keras.layers.MixUp: (self.mixup, {"alpha": self.mixup}),
            keras.layers.CutMix: (self.cutmix, {"factor": self.cutmix}),
        }
        layers = [layer(**arguments) for layer, (wanted, arguments) in chosen.items() if wanted]
        for layer in layers:
            layer.backend.set_backend("tensorflow")  # whichever trains: they run in tf.data
        return layers

    def _random_box(self, shape, seed, preprocessing):
        """Where a crop begins and how far it goes; the whole picture if no such crop fits into it."""
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


def apply_to_batch(
    layers: "Sequence[keras.Layer]", x: "tf.Tensor", y: "tf.Tensor", seed: "tf.Tensor"
) -> "tuple[tf.Tensor, tf.Tensor]":
    """Pictures, normalised, and one-hot labels, changed by `Augmentation.batch_layers` as `seed`, (2,), has it."""
    for layer, generator in zip(layers, _generators(seed), strict=False):
        change = layer.get_random_transformation({"images": x, "labels": y}, seed=generator)
        x, y = layer.transform_images(x, change), layer.transform_labels(y, change)
    return x, y


def _generators(seed: "tf.Tensor") -> "Iterator[keras.random.SeedGenerator]":
    """What Keras' layers draw from, but so that it depends on `seed` alone, however often it was drawn before."""
    import keras
    import tensorflow as tf

    drawn = itertools.count()

    class Generator(keras.random.SeedGenerator):
        def __init__(self):
            pass  # no state of its own

        def next(self, ordered=True):
            return tf.random.fold_in(seed, next(drawn))

    while True:
        yield Generator()


def _resize(picture, size):
    """Bilinear; antialiased where it shrinks, which where it grows would change nothing and take twice the time."""
    import tensorflow as tf

    return tf.cond(
        tf.reduce_any(tf.shape(picture)[:2] > size),
        lambda: tf.image.resize(picture, size, antialias=True),
        lambda: tf.image.resize(picture, size),
    )


def _centre(shape, preprocessing):
    """Where the crop of `Preprocessing.fit` begins and how far it goes, in whole pixels."""
    import tensorflow as tf

    sides = tf.cast(shape[:2], tf.float32)
    scale = preprocessing.crop * tf.reduce_min(sides / preprocessing.size)
    extent = tf.maximum(tf.cast(tf.round(scale * preprocessing.size), tf.int32), 1)
    return tf.concat([(shape[:2] - extent) // 2, [0]], 0), tf.concat([extent, [3]], 0)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_range(value) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_number, value))
