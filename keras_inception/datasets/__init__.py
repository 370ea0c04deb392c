"""Labeled images, from folders, shards or named datasets, as tf.data batches; and the bundled pictograms."""

from keras_inception.datasets.augmentation import Augmentation
from keras_inception.datasets.batches import evaluation_batches, steps_per_epoch, training_batches
from keras_inception.datasets.bundled import pictograms
from keras_inception.datasets.examples import Arrays, Examples, Files
from keras_inception.datasets.folder import list_pictures
from keras_inception.datasets.reading import read_picture
from keras_inception.datasets.records import Records
from keras_inception.datasets.sources import (
    Exclude,
    located,
    open_data,
    open_folder,
    open_labelled,
    open_table,
    open_validation,
    recorded,
    survey,
)
from keras_inception.datasets.splits import Skipped, Splits
from keras_inception.datasets.writing import write_shards

__all__ = ["Arrays", "Augmentation", "Examples", "Exclude", "Files", "Records", "Skipped", "Splits"]
__all__ += ["list_pictures", "located", "open_data", "open_folder", "open_labelled", "open_table", "open_validation"]
__all__ += ["pictograms", "read_picture", "recorded"]
__all__ += ["evaluation_batches", "steps_per_epoch", "survey", "training_batches", "write_shards"]
