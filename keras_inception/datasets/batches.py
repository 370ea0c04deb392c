"""From pictures to batches: tf.data for training, seeded by epoch and picture, and for evaluation."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_inception.datasets.augmentation import Augmentation
from keras_inception.datasets.folder import Picture
from keras_inception.datasets.reading import read_picture

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_inception.preprocessing import Preprocessing


def steps_per_epoch(pictures: Sequence[Picture], batch_size: int) -> int:
    """Whole batches in an epoch; one, of all pictures, if there are fewer than `batch_size`."""
    return max(len(pictures) // batch_size, 1)


def training_batches(
    pictures: Sequence[Picture],
    preprocessing: "Preprocessing",
    *,
    batch_size: int,
    seed: int,
    first_epoch: int,
    epochs: int,
    augmentation: Augmentation,
) -> "tf.data.Dataset":
    """One dataset of all epochs from `first_epoch` to `epochs` - 1, `steps_per_epoch` batches each.

    The order of an epoch depends on `seed` and the epoch alone, and what is done to a picture on these and its place
    in `pictures`: a run that is resumed at an epoch sees what it would have seen.

    Args:
        pictures: what to train on; their order matters as said.
        preprocessing: gives the size and the normalisation.
        batch_size: pictures in a batch. If there are fewer, all of them are the batch.
        seed: any integer of 64 bits.
        first_epoch, epochs: counted from 0.
        augmentation: what is done to each picture.

    Returns:
        Batches of x, float32 (batch, height, width, 3), normalised, and y, int32 (batch,).

    Raises:
        ValueError: no pictures, or an argument is out of range.
    """
    import tensorflow as tf

    _check(pictures, batch_size)
    if not 0 <= first_epoch <= epochs:
        raise ValueError(f"`first_epoch` must be in [0, epochs]. Received: {first_epoch=}, {epochs=}")
    batch = min(batch_size, len(pictures))
    epoch_length = steps_per_epoch(pictures, batch_size) * batch
    last = tf.constant(len(pictures) - 1, tf.int64)
    paths, labels = _columns(pictures)
    plain = tf.constant(_decodable(pictures))

    def example(position):
        epoch = position // epoch_length
        epoch_seed = tf.stack([seed, epoch])
        index = tf.random.experimental.index_shuffle(position % epoch_length, epoch_seed, last)
        picture_seed = tf.random.fold_in(epoch_seed, index)
        picture = tf.cond(plain[index], lambda: _decode(paths[index]), lambda: _decode_by_pillow(paths[index]))
        x = preprocessing.normalize(
            augmentation.apply(picture, picture_seed, tf.constant(preprocessing.size), preprocessing)
        )
        return tf.ensure_shape(x, (*preprocessing.size, 3)), labels[index]

    positions = tf.data.Dataset.range(first_epoch * epoch_length, epochs * epoch_length)
    examples = positions.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(
    pictures: Sequence[Picture], preprocessing: "Preprocessing", batch_size: int
) -> "tf.data.Dataset":
    """The pictures in their order, each as `preprocessing` gives it: what prediction and a phone see.

    Returns:
        Batches of x, float32 (batch, height, width, 3), and y, int32 (batch,); the last may be smaller.

    Raises:
        ValueError: no pictures, or `batch_size` is below 1.
    """
    import tensorflow as tf

    _check(pictures, batch_size)

    def prepare(path: bytes):
        return preprocessing(read_picture(os.fsdecode(path)))

    def example(path, label):
        x = tf.numpy_function(prepare, [path], tf.float32, stateful=False)
        return tf.ensure_shape(x, (*preprocessing.size, 3)), label

    examples = tf.data.Dataset.from_tensor_slices(_columns(pictures))
    examples = examples.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _check(pictures: Sequence[Picture], batch_size: int) -> None:
    if not pictures:
        raise ValueError("`pictures` must hold at least one picture. Received: none")
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: {batch_size=}")


def _columns(pictures: Sequence[Picture]) -> "tuple[tf.Tensor, tf.Tensor]":
    """Paths, as the file system spells them, and labels."""
    import tensorflow as tf

    paths = tf.constant([os.fsencode(picture.path) for picture in pictures])
    return paths, tf.constant([picture.label for picture in pictures], tf.int32)


def _decodable(pictures: Sequence[Picture]) -> list[bool]:
    """Whether TensorFlow decodes each picture. Some that look plain it refuses, and one such would end the training."""
    import tensorflow as tf

    plain = [index for index, picture in enumerate(pictures) if picture.plain]
    if not plain:
        return [False] * len(pictures)

    paths = tf.constant([os.fsencode(pictures[index].path) for index in plain])
    indices = tf.data.Dataset.from_tensor_slices((plain, paths))
    heights = indices.map(lambda index, path: (index, tf.shape(_decode(path))[0]), num_parallel_calls=tf.data.AUTOTUNE)
    good = {index for index, _ in heights.ignore_errors().as_numpy_iterator()}
    return [index in good for index in range(len(pictures))]


def _decode(path: "tf.Tensor") -> "tf.Tensor":
    """uint8 RGB (height, width, 3) of a plain picture: `decode_jpeg` takes PNG too."""
    import tensorflow as tf

    return tf.io.decode_jpeg(tf.io.read_file(path), channels=3, dct_method="INTEGER_ACCURATE")


def _decode_by_pillow(path: "tf.Tensor") -> "tf.Tensor":
    """uint8 RGB (height, width, 3) of any picture."""
    import tensorflow as tf

    picture = tf.numpy_function(lambda name: read_picture(os.fsdecode(name)), [path], tf.uint8, stateful=False)
    return tf.ensure_shape(picture, (None, None, 3))
