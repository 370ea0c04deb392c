"""tf.data batches of images: for training, seeded by epoch and image, and for evaluation."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.datasets.augmentation import Augmentation
from keras_inception.datasets.examples import Examples

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_inception.preprocessing import Preprocessing

BATCH_SEED_OFFSET = 2**62  # minus the run's seed: keeps batch-level augmentation seeds apart from per-image seeds


def steps_per_epoch(examples: Examples, batch_size: int) -> int:
    """Return the number of full batches in an epoch, or 1 if there are fewer images than `batch_size`."""
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
    """Return one dataset for the epochs `first_epoch` to `epochs` - 1, with `steps_per_epoch` batches each.

    The order within an epoch depends only on `seed` and the epoch. The augmentation of an image depends only on these
    and its index in `examples`. A resumed run therefore sees what an uninterrupted one would have seen.

    Args:
        examples: training images, in the same order in every run.
        preprocessing: provides the size and the normalization.
        batch_size: images per batch. If there are fewer images, one batch holds all of them.
        seed: any 64-bit integer.
        first_epoch: first epoch of the dataset, counted from 0.
        epochs: the epoch to stop before, counted from 0.
        augmentation: random changes to each image.
        part: (r, n) selects the rows r::n of each batch, for one of n workers.

    Returns:
        Batches of x, normalized, float32 (batch, height, width, 3), and y, int32 (batch,).

    Raises:
        ValueError: there are no images, or an argument is out of range.
    """
    import tensorflow as tf

    from keras_inception.datasets import augmenting

    _check(examples, batch_size)
    if not 0 <= first_epoch <= epochs:
        raise ValueError(f"`first_epoch` must be in [0, epochs]. Received: {first_epoch=}, {epochs=}")
    batch = min(batch_size, len(examples))
    first, workers = part
    if batch % workers:
        raise ValueError(
            f"`batch_size`, or the number of images if it is smaller, must be a multiple of the {workers} workers. "
            f"Received: {batch_size=}, {len(examples)} images"
        )
    epoch_length = steps_per_epoch(examples, batch_size) * batch
    decode, labels = examples.decoder(), tf.constant(examples.labels)

    @tf.autograph.experimental.do_not_convert
    def example(position):
        epoch_seed = tf.stack([seed, position // epoch_length])
        index = tf.random.experimental.index_shuffle(position % epoch_length, epoch_seed, len(examples) - 1)
        picture_seed = tf.random.fold_in(epoch_seed, index)
        if preprocessing.fitting == "pad":
            image = decode(index, lambda shape: (tf.zeros_like(shape), shape))
            seen, place = augmenting.padded_box(augmentation, tf.shape(image), picture_seed, preprocessing)
            image = tf.slice(image, *seen)
        else:
            image = decode(index, lambda shape: augmenting.box(augmentation, shape, picture_seed, preprocessing))
            place = None
        x = augmenting.apply(augmentation, image, picture_seed, preprocessing.size, place)
        return preprocessing.normalize(tf.ensure_shape(x, (*preprocessing.size, 3))), labels[index]

    positions = tf.data.Dataset.range(first_epoch * epoch_length + first, epochs * epoch_length, workers)
    batches = positions.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return batches.batch(batch // workers, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def batch_mixing(
    augmentation: Augmentation, classes: int, seed: int, part: tuple[int, int] = (0, 1)
) -> "Callable[[tf.Tensor, tuple[tf.Tensor, tf.Tensor]], tuple[tf.Tensor, tf.Tensor]]":
    """Return the function that augments whole batches of `training_batches`, such as by mixing images.

    Args:
        augmentation: random changes to each batch.
        classes: number of classes.
        seed: seed of the run.
        part: as for `training_batches`.

    Returns:
        A function from the number of a step and its batch, images that are not normalized and class indices, to the
        changed images and their targets, one-hot or mixed, float32 (batch, classes).
    """
    import tensorflow as tf

    from keras_inception.datasets import augmenting

    stages = augmenting.batch_stages(augmentation)
    worker, workers = part

    def mixed(step, batch):
        images, y = batch
        drawn = tf.stack([BATCH_SEED_OFFSET - seed, step * workers + worker])
        return augmenting.apply_to_batch(stages, images, tf.one_hot(y, classes), drawn)

    return mixed


def first_batch(
    batches: "tf.data.Dataset", mixed: "Callable[[tf.Tensor, tuple], tuple[tf.Tensor, tf.Tensor]]", step: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first batch of `training_batches` after `batch_mixing`, without effects on other iterations.

    Args:
        batches: batches of images that are not normalized, and of class indices.
        mixed: the result of `batch_mixing`.
        step: number of the first batch.

    Returns:
        Images, float32 (batch, height, width, 3), 0 to 255, and targets, float32 (batch, classes).
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False  # as in training
    images, targets = next(iter(batches.take(1).enumerate(step).map(mixed).with_options(options)))
    return images.numpy(), targets.numpy()


def evaluation_batches(examples: Examples, preprocessing: "Preprocessing", batch_size: int) -> "tf.data.Dataset":
    """Return the images in order, preprocessed exactly as for prediction and on a phone.

    Returns:
        Batches of x, float32 (batch, height, width, channels), and y, int32 (batch,). The last batch may be smaller.

    Raises:
        ValueError: there are no images, or `batch_size` is below 1.
    """
    import tensorflow as tf

    _check(examples, batch_size)

    shape = (*preprocessing.size, preprocessing.mixing.shape[1])

    @tf.autograph.experimental.do_not_convert
    def example(index, label):
        x = tf.numpy_function(
            lambda number: preprocessing(examples.read(int(number))), [index], tf.float32, stateful=False
        )
        return tf.ensure_shape(x, shape), label

    numbered = tf.data.Dataset.from_tensor_slices((np.arange(len(examples)), examples.labels))
    prepared = numbered.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return prepared.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _check(examples: Examples, batch_size: int) -> None:
    if not len(examples):
        raise ValueError("`examples` must hold at least one image. Received: none")
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: {batch_size=}")
