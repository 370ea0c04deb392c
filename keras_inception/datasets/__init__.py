"""From folders of pictures to tf.data, and the bundled pictograms."""

from keras_inception.datasets.augmentation import Augmentation
from keras_inception.datasets.batches import evaluation_batches, steps_per_epoch, training_batches
from keras_inception.datasets.bundled import pictograms
from keras_inception.datasets.folder import Picture, Skipped, Splits, list_pictures, open_folder, open_labelled
from keras_inception.datasets.reading import read_picture

__all__ = [
    "Augmentation",
    "Picture",
    "Skipped",
    "Splits",
    "evaluation_batches",
    "list_pictures",
    "open_folder",
    "open_labelled",
    "pictograms",
    "read_picture",
    "steps_per_epoch",
    "training_batches",
]
