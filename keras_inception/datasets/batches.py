"""From pictures to batches: tf.data for training, seeded by epoch and picture, and for evaluation."""

from typing import TYPE_CHECKING

import numpy as np

from keras_inception.datasets.augmentation import Augmentation
from keras_inception.datasets.examples import Examples

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_inception.preprocessing import Preprocessing


def steps_per_epoch(examples: Examples, batch_size: int) -> int:
    """Whole batches in an epoch; one, of all pictures, if there are fewer than `batch_size`."""
    return max(len(examples) // batch_size, 1)


def training_batches(
    examples: Examples,
    preprocessing: "Preprocessing",
    *,
    batch_size: int,
    seed: int,
    first_epoch: int,
    epochs: int,
    augmentation: Augmentation,
    part: tuple[int, int] = (0, 1),
) -> "tf.data.Dataset":
    """One dataset of all epochs from `first_epoch` to `epochs` - 1, `steps_per_epoch` batches each.

    The order of an epoch depends on `seed` and the epoch alone, and what is done to a picture on these and its place
    in `examples`: a run that is resumed at an epoch sees what it would have seen.

    Args:
        examples: what to train on; their order matters as said.
        preprocessing: gives the size and the normalisation.
        batch_size: pictures in a batch. If there are fewer, all of them are the batch.
        seed: any integer of 64 bits.
        first_epoch, epochs: counted from 0.
        augmentation: what is done to each picture.
        part: (r, n) gives the rows r::n of each batch, for one of n workers.

    Returns:
        Batches of x, float32 (batch, height, width, 3), normalised, and y, int32 (batch,).

    Raises:
        ValueError: no pictures, or an argument is out of range.
    """
    import tensorflow as tf

    _check(examples, batch_size)
    if not 0 <= first_epoch <= epochs:
        raise ValueError(f"`first_epoch` must be in [0, epochs]. Received: {first_epoch=}, {epochs=}")
    batch = min(batch_size, len(examples))
    first, workers = part
    if batch % workers:
        raise ValueError(
            f"`batch_size`, or all pictures if they are fewer, must be a multiple of the {workers} workers. "
            f"Received: {batch_size=}, {len(examples)} pictures"
        )
    epoch_length = steps_per_epoch(examples, batch_size) * batch
    last = tf.constant(len(examples) - 1, tf.int64)
    decode, labels = examples.decoder(), tf.constant(examples.labels)
    size = tf.constant(preprocessing.size)

    @tf.autograph.experimental.do_not_convert
    def example(position):
        epoch = position // epoch_length
        epoch_seed = tf.stack([seed, epoch])
        index = tf.random.experimental.index_shuffle(position % epoch_length, epoch_seed, last)
        picture_seed = tf.random.fold_in(epoch_seed, index)
        picture = decode(index, lambda shape: augmentation.box(shape, picture_seed, preprocessing))
        x = tf.ensure_shape(augmentation.apply(picture, picture_seed, size), (*preprocessing.size, 3))
        return preprocessing.normalize(x), labels[index]

    positions = tf.data.Dataset.range(first_epoch * epoch_length + first, epochs * epoch_length, workers)
    batches = positions.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.batch(batch // workers, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(examples: Examples, preprocessing: "Preprocessing", batch_size: int) -> "tf.data.Dataset":
    """The pictures in their order, each as `preprocessing` gives it: what prediction and a phone see.

    Returns:
        Batches of x, float32 (batch, height, width, 3), and y, int32 (batch,); the last may be smaller.

    Raises:
        ValueError: no pictures, or `batch_size` is below 1.
    """
    import tensorflow as tf

    _check(examples, batch_size)

    def prepare(index):
        return preprocessing(examples.read(int(index)))

    @tf.autograph.experimental.do_not_convert
    def example(index, label):
        x = tf.numpy_function(prepare, [index], tf.float32, stateful=False)
        return tf.ensure_shape(x, (*preprocessing.size, 3)), label

    numbered = tf.data.Dataset.from_tensor_slices((np.arange(len(examples)), examples.labels))
    prepared = numbered.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return prepared.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _check(examples: Examples, batch_size: int) -> None:
    if not len(examples):
        raise ValueError("`examples` must hold at least one picture. Received: none")
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: {batch_size=}")
