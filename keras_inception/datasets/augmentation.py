"""What training does to pictures so that no epoch sees the same ones."""

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
CENTRE = 127.5
INTERPOLATIONS = ("bilinear", "mixed")
MIXED = ("bilinear", "area", "nearest", "bicubic")
# Standard deviations of ImageNet's colours along their main axes, and these axes as columns: Krizhevsky et al. 2012,
# section 4.1, has the method; the figures are those of fb.resnet.torch.
DEVIATIONS = (0.2175, 0.0188, 0.0045)
AXES = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


@dataclass(frozen=True)
class Augmentation:
    """Random crop, flip and colours ("inception preprocessing"; 1409.4842, section 6, after 1312.5402).

    Attributes:
        area: range of the crop's share of the picture's area, in (0, 1]. (1, 1) is no random crop: the picture is
            fitted as `Preprocessing.fit` does.
        aspect: range of the crop's width / height in proportion to the network input's, positive.
        scale: range of the picture's shorter side, in units of the network input's, at which a crop of the input's size
            is taken anywhere (1409.1556, section 3.1; 1512.03385, section 3.4); None takes the crop by `area`.
        interpolation: ``"bilinear"``, or ``"mixed"``: by chance bilinear, area, nearest or bicubic, not antialiased
            (1409.4842, section 6).
        flip: mirror every other picture left to right, by chance.
        brightness: largest shift up or down, as a share of white, in [0, 1].
        contrast: largest share by which the distance to the mean colour is stretched or shrunk, in [0, 1].
        saturation: the same of colourfulness, in [0, 1].
        hue: largest turn of the hue, as a share of the colour wheel, in [0, 0.5].
        lighting: standard deviation of light along the main axes of ImageNet's colours, in [0, 1]; 0.1 in Krizhevsky
            et al. 2012.
        distortions: how many of `DISTORTIONS`, Keras' layers, a batch goes through, drawn anew for each (RandAugment,
            1909.13719, but that draws for each picture).
        erase: share of the pictures of which a part, 2 to 33 % of the area, is replaced by noise (random erasing,
            1708.04896), in [0, 1].
        mixup: alpha of the Beta distribution by which pictures and labels of a batch are mixed in pairs (1710.09412).
        cutmix: the same for a part of one picture that is set into another (1905.04899). With both, one by chance.

    Raises:
        ValueError: a field is not as above.
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
            raise ValueError(f"`scale` must be 1 or more, for the crop to fit in. Received: scale={self.scale}")
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
        """The one that changes nothing."""
        return cls(area=(1, 1), aspect=(1, 1), flip=False, brightness=0, contrast=0, saturation=0, hue=0)

    def to_dict(self) -> dict:
        """The fields, as JSON can hold them."""
        return dataclasses.asdict(self)

    def replace(self, **changes) -> "Augmentation":
        """A copy with other values for the named fields."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_dict(cls, values: Mapping) -> "Augmentation":
        """The inverse of `to_dict`; ValueError naming the fields if there are others."""
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
        """The crop to take of a picture: where it begins and how far it goes, int32 (3,) each, as `tf.slice` has them.

        Args:
            shape: of the picture, int32 (3,).
            seed: integers, (2,); the same ones as for `apply`.
            preprocessing: gives the shape of the crop, and its place where there is no random crop.
        """
        import tensorflow as tf

        own = tf.unstack(tf.random.split(seed, 6))[0]
        if self.scale:
            return self._scaled_box(shape, own, preprocessing)
        if self.area == (1, 1):
            return _centre(shape, preprocessing)
        return self._random_box(shape, own, preprocessing)

    def apply(self, picture: "tf.Tensor", seed: "tf.Tensor", size: "tf.Tensor") -> "tf.Tensor":
        """One picture as training sees it, not yet normalised.

        Args:
            picture: uint8 RGB (height, width, 3) of any size: what `box` left of it.
            seed: integers, (2,); the same ones give the same picture.
            size: height and width to give it, int32 (2,).

        Returns:
            float32 (*size, 3), 0 to 255.
        """
        import tensorflow as tf

        seeds = tf.unstack(tf.random.split(seed, 6))
        if self.interpolation == "mixed":
            picture = _resize_by_chance(picture, size, tf.random.fold_in(seed, 6))
        else:
            picture = _resize(picture, size)
        if self.flip:
            picture = tf.image.stateless_random_flip_left_right(picture, seeds[1])
        if any((self.brightness, self.contrast, self.saturation, self.hue, self.lighting)):
            picture = self._change_colours(picture / 255, seed, seeds) * 255
        return tf.clip_by_value(picture, 0, 255) if self.interpolation == "mixed" else picture

    def _change_colours(self, picture, seed, seeds):
        """Of a picture from 0 to 1."""
        import tensorflow as tf

        if self.brightness:
            picture = tf.image.stateless_random_brightness(picture, self.brightness, seeds[2])
        if self.contrast:
            picture = tf.image.stateless_random_contrast(picture, 1 - self.contrast, 1 + self.contrast, seeds[3])
        if self.saturation:
            picture = tf.image.stateless_random_saturation(picture, 1 - self.saturation, 1 + self.saturation, seeds[4])
        if self.hue:
            picture = tf.image.stateless_random_hue(picture, self.hue, seeds[5])
        if self.lighting:
            drawn = tf.random.stateless_normal((3,), tf.random.fold_in(seed, 7), stddev=self.lighting)
            picture += tf.linalg.matvec(AXES, drawn * DEVIATIONS)
        return tf.clip_by_value(picture, 0, 1)

    def batch_stages(self) -> "list[list[keras.Layer]]":
        """What `apply_to_batch` does to whole batches: of each list one of Keras' layers, drawn for each batch.

        To be called outside of tf.data's functions, for layers make variables.
        """
        import keras

        erasing = keras.layers.RandomErasing((self.erase, self.erase), value_range=(-CENTRE, CENTRE))
        mixing = [
            *([keras.layers.MixUp(self.mixup)] if self.mixup else []),
            *([keras.layers.CutMix(self.cutmix)] if self.cutmix else []),
        ]
        distorting = [getattr(keras.layers, name)(**options) for name, options in DISTORTIONS]
        stages = [*[distorting] * self.distortions, *([[erasing]] if self.erase else []), mixing]
        for layer in (layer for stage in stages for layer in stage):
            layer.backend.set_backend("tensorflow")  # whichever trains: they run in tf.data
        return [stage for stage in stages if stage]

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

    def _scaled_box(self, shape, seed, preprocessing):
        """A crop anywhere, as large as the input is in a picture whose shorter side has been scaled by chance."""
        import tensorflow as tf

        of_scale, of_place = tf.unstack(tf.random.split(seed, 2))
        scale = (
            tf.random.stateless_uniform((), of_scale, *self.scale) if self.scale[0] < self.scale[1] else self.scale[0]
        )
        largest = tf.reduce_min(tf.cast(shape[:2], tf.float32) / preprocessing.size)
        extent = tf.cast(tf.round(largest / scale * preprocessing.size), tf.int32)
        extent = tf.clip_by_value(extent, 1, shape[:2])
        left_over = tf.cast(shape[:2] - extent + 1, tf.float32)
        begin = tf.cast(tf.random.stateless_uniform((2,), of_place) * left_over, tf.int32)
        return tf.concat([begin, [0]], 0), tf.concat([extent, [3]], 0)


# By name, with their options; the strength of each is drawn within these.
DISTORTIONS = (
    ("RandomRotation", {"factor": 0.08}),
    ("RandomShear", {"x_factor": 0.3, "y_factor": 0.3}),
    ("RandomTranslation", {"height_factor": 0.15, "width_factor": 0.15}),
    ("RandomSharpness", {"factor": 0.5, "value_range": (-CENTRE, CENTRE)}),
    ("RandomColorDegeneration", {"factor": 0.5, "value_range": (-CENTRE, CENTRE)}),
    ("RandomGaussianBlur", {"factor": 0.5, "value_range": (-CENTRE, CENTRE)}),
)


def apply_to_batch(
    stages: "Sequence[Sequence[keras.Layer]]", pictures: "tf.Tensor", labels: "tf.Tensor", seed: "tf.Tensor"
) -> "tuple[tf.Tensor, tf.Tensor]":
    """A batch changed by `Augmentation.batch_stages`.

    Args:
        pictures: float32 (batch, height, width, 3), 0 to 255.
        labels: one-hot, float32 (batch, classes); where pictures are mixed, so are they.
        seed: integers, (2,); the same ones give the same batch.
    """
    import tensorflow as tf

    shapes = pictures.shape, labels.shape
    x = pictures - CENTRE  # what the layers leave empty is grey
    for place, stage in enumerate(stages):
        own = tf.random.fold_in(seed, place)
        drawn = tf.random.stateless_uniform((), own, 0, len(stage), tf.int32)
        branches = [functools.partial(_changed, layer, x, labels, own) for layer in stage]
        x, labels = tf.switch_case(drawn, branches)
    return tf.ensure_shape(x + CENTRE, shapes[0]), tf.ensure_shape(labels, shapes[1])


def _changed(layer: "keras.Layer", x: "tf.Tensor", labels: "tf.Tensor", seed: "tf.Tensor"):
    change = layer.get_random_transformation({"images": x, "labels": labels}, seed=_generator(seed))
    return layer.transform_images(x, change), layer.transform_labels(labels, change)


def _generator(seed: "tf.Tensor") -> "keras.random.SeedGenerator":
    """What Keras' layers draw from, but so that it depends on `seed` alone, however often it was drawn before."""
    import keras
    import tensorflow as tf

    drawn = itertools.count(1)

    class Generator(keras.random.SeedGenerator):
        def __init__(self):
            pass  # no state of its own

        def next(self, ordered=True):
            return tf.random.fold_in(seed, next(drawn))

    return Generator()


def _resize_by_chance(picture, size, seed):
    import tensorflow as tf

    drawn = tf.random.stateless_uniform((), seed, 0, len(MIXED), tf.int32)
    pixels = tf.cast(picture, tf.float32)
    resized = tf.switch_case(drawn, [lambda method=method: tf.image.resize(pixels, size, method) for method in MIXED])
    return tf.ensure_shape(resized, (None, None, 3))


def _resize(picture, size):
    """Bilinear; antialiased where it shrinks, which where it grows would change nothing and take twice the time."""
    import tensorflow as tf

    return tf.cond(
        tf.reduce_any(tf.shape(picture)[:2] > size),
        lambda: _resize_antialiased(picture, size),
        lambda: tf.image.resize(picture, size),
    )


def _resize_antialiased(picture, size):
    """What `tf.image.resize(…, antialias=True)` gives, bit for bit, in a third of the time.

    That goes pixel by pixel, three values at a time; here a pixel is a whole row, and then, the picture on its side, a
    whole column.
    """
    import tensorflow as tf

    height, width = tf.unstack(size)
    on_its_side = tf.transpose(_resize_rows(picture, height), (1, 0, 2))
    return tf.transpose(_resize_rows(on_its_side, width), (1, 0, 2))


def _resize_rows(picture, height):
    """(h, w, channels) -> (height, w, channels), as a picture of one row whose pixels are the rows."""
    import tensorflow as tf

    rows, columns, channels = tf.unstack(tf.shape(picture))
    resized = tf.raw_ops.ScaleAndTranslate(
        images=tf.reshape(picture, (1, 1, rows, columns * channels)),
        size=[1, height],
        scale=[1.0, tf.cast(height, tf.float32) / tf.cast(rows, tf.float32)],
        translation=[0.0, 0.0],
        kernel_type="triangle",
        antialias=True,
    )
    return tf.reshape(resized, (height, columns, channels))


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
