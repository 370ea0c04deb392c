"""Apply an `Augmentation` in TensorFlow: choose the crop of an image, augment the image, then augment whole batches."""

import functools
import itertools
from collections.abc import Sequence

import keras
import tensorflow as tf

from keras_inception.datasets.augmentation import Augmentation
from keras_inception.preprocessing import PADDING, Preprocessing

CENTER = 127.5
FINENESS = 8  # pixels of a canvas per pixel of the input; TensorFlow counts a canvas' pixels in 32 bits
MIXED = ("bilinear", "area", "nearest", "bicubic")
# Standard deviations of ImageNet's colors along their principal axes, and these axes as columns. The method follows
# Krizhevsky et al. 2012, section 4.1. The numbers come from fb.resnet.torch.
DEVIATIONS = (0.2175, 0.0188, 0.0045)
AXES = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
# Keras layers, with the options that bound their random strength.
DISTORTIONS = (
    ("RandomRotation", {"factor": 0.08}),
    ("RandomShear", {"x_factor": 0.3, "y_factor": 0.3}),
    ("RandomTranslation", {"height_factor": 0.15, "width_factor": 0.15}),
    ("RandomSharpness", {"factor": 0.5, "value_range": (-CENTER, CENTER)}),
    ("RandomColorDegeneration", {"factor": 0.5, "value_range": (-CENTER, CENTER)}),
    ("RandomGaussianBlur", {"factor": 0.5, "value_range": (-CENTER, CENTER)}),
)


def box(
    augmentation: Augmentation, shape: tf.Tensor, seed: tf.Tensor, preprocessing: Preprocessing
) -> tuple[tf.Tensor, tf.Tensor]:
    """Choose a crop of an image. Return its begin and size, int32 (3,) each, as for `tf.slice`.

    Args:
        augmentation: how to crop.
        shape: shape of the image, int32 (3,).
        seed: integers, (2,); the same as for `apply`.
        preprocessing: provides the aspect ratio of the crop, and its position if there is no random crop. If images are
            stretched, so is the crop.
    """
    if preprocessing.fitting != "stretch":
        return _box(augmentation, shape, seed, preprocessing)
    canvas = _canvas(preprocessing)
    begin, extent = _box(augmentation, canvas, seed, preprocessing)
    sides = shape[:2]
    ratio = tf.cast(sides, tf.float32) / tf.cast(canvas[:2], tf.float32)
    return _whole_pixels(tf.cast(begin[:2], tf.float32) * ratio, tf.cast(extent[:2], tf.float32) * ratio, sides)


def padded_box(
    augmentation: Augmentation, shape: tf.Tensor, seed: tf.Tensor, preprocessing: Preprocessing
) -> tuple[tuple[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Choose a crop of an image on a ground of the input's aspect ratio. The arguments are those of `box`.

    Returns:
        Begin and size of the crop's part that shows the image, as for `box`; and begin and size of this part in the
        input, in pixels, int32 (2,) each.
    """
    canvas, size = _canvas(preprocessing), tf.constant(preprocessing.size, tf.float32)
    begin, extent = (tf.cast(each[:2], tf.float32) for each in _box(augmentation, canvas, seed, preprocessing))
    whole, sides = tf.cast(canvas[:2], tf.float32), tf.cast(shape[:2], tf.float32)
    ratio = tf.reduce_max(sides / whole)  # pixels of the image per pixel of the canvas
    around = (whole - sides / ratio) / 2
    first = tf.maximum(begin, around)
    length = tf.minimum(begin + extent, whole - around) - first
    seen = _whole_pixels((first - around) * ratio, length * ratio, shape[:2])
    place = tf.clip_by_value(
        tf.cast(tf.round((first - begin) / extent * size), tf.int32), 0, [side - 1 for side in preprocessing.size]
    )
    inner = tf.cast(tf.round(length / extent * size), tf.int32)
    return seen, (place, tf.clip_by_value(inner, 1, preprocessing.size - place))


def _canvas(preprocessing: Preprocessing) -> tf.Tensor:
    """Return the shape of an imagined image of the input's aspect ratio, on which a crop can be chosen."""
    return tf.constant([*(FINENESS * side for side in preprocessing.size), 3], tf.int32)


def _whole_pixels(begin: tf.Tensor, extent: tf.Tensor, sides: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return begin and size of a crop as for `tf.slice`, at least one pixel within an image of these sides."""
    first = tf.clip_by_value(tf.cast(tf.floor(begin), tf.int32), 0, sides - 1)
    length = tf.clip_by_value(tf.cast(tf.round(extent), tf.int32), 1, sides - first)
    return tf.concat([first, [0]], 0), tf.concat([length, [3]], 0)


def _box(
    augmentation: Augmentation, shape: tf.Tensor, seed: tf.Tensor, preprocessing: Preprocessing
) -> tuple[tf.Tensor, tf.Tensor]:
    """Choose a crop of about the input's aspect ratio."""
    size, sides = preprocessing.size, shape[:2]
    own = tf.random.split(seed, 6)[0]
    largest = tf.reduce_min(tf.cast(sides, tf.float32) / size)
    if augmentation.scale:
        scale_seed, place_seed = tf.unstack(tf.random.split(own, 2))
        scale = largest / tf.random.stateless_uniform((), scale_seed, *augmentation.scale)
        extent = tf.clip_by_value(tf.cast(tf.round(scale * size), tf.int32), 1, sides)
        left_over = tf.cast(sides - extent + 1, tf.float32)
        begin = tf.cast(tf.random.stateless_uniform((2,), place_seed) * left_over, tf.int32)
    elif augmentation.area == (1, 1):  # as `Preprocessing.fit`, in whole pixels
        extent = tf.maximum(tf.cast(tf.round(preprocessing.crop * largest * size), tf.int32), 1)
        begin = (sides - extent) // 2
    else:
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            shape,
            tf.zeros((1, 0, 4)),
            own,
            min_object_covered=0.0,
            aspect_ratio_range=[ratio * size[1] / size[0] for ratio in augmentation.aspect],
            area_range=augmentation.area,
            use_image_if_no_bounding_boxes=True,
        )
        return begin, extent  # the whole image if no such crop fits
    return tf.concat([begin, [0]], 0), tf.concat([extent, [3]], 0)


def apply(
    augmentation: Augmentation,
    image: tf.Tensor,
    seed: tf.Tensor,
    size: tuple[int, int],
    place: tuple[tf.Tensor, tf.Tensor] | None = None,
) -> tf.Tensor:
    """Augment one image; the result is not yet normalized.

    Args:
        augmentation: the random changes.
        image: uint8 RGB (height, width, 3) of any size, cropped to `box`.
        seed: integers, (2,); the same seed gives the same result.
        size: (height, width) of the result.
        place: begin and size of the image in the result (`padded_box`); None fills it.

    Returns:
        float32 (*size, 3), 0 to 255.
    """
    _, flip_seed, *color_seeds = tf.unstack(tf.random.split(seed, 6))
    mixed = augmentation.interpolation == "mixed"
    inner = place[1] if place else size
    image = _resize_by_chance(image, inner, tf.random.fold_in(seed, 6)) if mixed else _resize(image, inner)
    if place:
        before, after = place[0], size - place[0] - place[1]
        image = tf.pad(
            image, [*zip(tf.unstack(before), tf.unstack(after), strict=True), (0, 0)], constant_values=PADDING
        )
    if augmentation.flip:
        image = tf.image.stateless_random_flip_left_right(image, flip_seed)
    if any(getattr(augmentation, field) for field in ("brightness", "contrast", "saturation", "hue", "lighting")):
        image = _change_colors(augmentation, image / 255, [*color_seeds, tf.random.fold_in(seed, 7)]) * 255
    return tf.clip_by_value(image, 0, 255) if mixed else image


def _change_colors(augmentation, image, seeds):
    """Change the colors of an image with values in [0, 1], with one seed for each of the five changes."""
    if augmentation.brightness:
        image = tf.image.stateless_random_brightness(image, augmentation.brightness, seeds[0])
    if contrast := augmentation.contrast:
        image = tf.image.stateless_random_contrast(image, 1 - contrast, 1 + contrast, seeds[1])
    if saturation := augmentation.saturation:
        image = tf.image.stateless_random_saturation(image, 1 - saturation, 1 + saturation, seeds[2])
    if augmentation.hue:
        image = tf.image.stateless_random_hue(image, augmentation.hue, seeds[3])
    if augmentation.lighting:
        drawn = tf.random.stateless_normal((3,), seeds[4], stddev=augmentation.lighting)
        image += tf.linalg.matvec(AXES, drawn * DEVIATIONS)
    return tf.clip_by_value(image, 0, 1)


def _resize_by_chance(image, size, seed):
    """Resize with a random method out of `MIXED`, without antialiasing."""
    drawn = tf.random.stateless_uniform((), seed, 0, len(MIXED), tf.int32)
    pixels = tf.cast(image, tf.float32)
    resized = tf.switch_case(drawn, [lambda method=method: tf.image.resize(pixels, size, method) for method in MIXED])
    return tf.ensure_shape(resized, (None, None, 3))


def _resize(image, size):
    """Resize bilinearly. Antialias only to shrink: to enlarge, it changes nothing and takes twice as long."""
    shrinks = tf.reduce_any(tf.shape(image)[:2] > size)
    return tf.cond(shrinks, lambda: _resize_antialiased(image, size), lambda: tf.image.resize(image, size))


def _resize_antialiased(image, size):
    """Match `tf.image.resize(…, antialias=True)` bit for bit, in a third of the time.

    TensorFlow's kernel works pixel by pixel, three values at a time. Here a pixel is a whole row and then, after a
    transpose, a whole column.
    """
    height, width = tf.unstack(size)
    on_its_side = tf.transpose(_resize_rows(image, height), (1, 0, 2))
    return tf.transpose(_resize_rows(on_its_side, width), (1, 0, 2))


def _resize_rows(image, height):
    """Resize (h, w, channels) to (height, w, channels), as a one-row image whose pixels are the rows."""
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


def batch_stages(augmentation: Augmentation) -> list[list[keras.Layer]]:
    """Return the stages of `apply_to_batch`: lists of Keras layers, of which one is drawn for each batch.

    Call this outside of tf.data functions, since layers create variables.
    """
    erasing = keras.layers.RandomErasing((augmentation.erase, augmentation.erase), value_range=(-CENTER, CENTER))
    kinds = ((keras.layers.MixUp, augmentation.mixup), (keras.layers.CutMix, augmentation.cutmix))
    mixing = [layer(alpha) for layer, alpha in kinds if alpha]
    distorting = [getattr(keras.layers, name)(**options) for name, options in DISTORTIONS]
    stages = [*[distorting] * augmentation.distortions, [erasing] if augmentation.erase else [], mixing]
    for layer in itertools.chain(*stages):
        layer.backend.set_backend("tensorflow")  # they run in tf.data, whichever backend trains
    return [stage for stage in stages if stage]


def apply_to_batch(
    stages: Sequence[Sequence[keras.Layer]], images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Apply the stages of `batch_stages` to a batch.

    Args:
        stages: the result of `batch_stages`.
        images: float32 (batch, height, width, 3), 0 to 255.
        labels: one-hot, float32 (batch, classes). They are mixed like the images.
        seed: integers, (2,); the same seed gives the same result.

    Returns:
        The augmented images and labels, with the same shapes and types.
    """
    shapes = images.shape, labels.shape
    x = images - CENTER  # makes 0, with which the layers fill empty areas, gray
    for place, stage in enumerate(stages):
        own = tf.random.fold_in(seed, place)
        drawn = tf.random.stateless_uniform((), own, 0, len(stage), tf.int32)
        branches = [functools.partial(_changed, layer, x, labels, own) for layer in stage]
        x, labels = tf.switch_case(drawn, branches)
    return tf.ensure_shape(x + CENTER, shapes[0]), tf.ensure_shape(labels, shapes[1])


def _changed(layer: keras.Layer, x: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    change = layer.get_random_transformation({"images": x, "labels": labels}, seed=_Seeds(seed))
    return layer.transform_images(x, change), layer.transform_labels(labels, change)


class _Seeds(keras.random.SeedGenerator):
    """Seeds for Keras' layers that depend on one seed alone, regardless of earlier draws."""

    def __init__(self, seed: tf.Tensor):  # omits the state of Keras' generator
        self.seeds = (tf.random.fold_in(seed, number) for number in itertools.count(1))

    def next(self, ordered=True):
        return next(self.seeds)
