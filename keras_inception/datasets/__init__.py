"""Labeled images, from folders, shards or named datasets, as tf.data batches; and the bundled pictograms."""

from typing import TYPE_CHECKING

from keras_inception.utils import lazy

if TYPE_CHECKING:
    from keras_inception.datasets.augmentation import Augmentation as Augmentation
    from keras_inception.datasets.batches import evaluation_batches as evaluation_batches
    from keras_inception.datasets.batches import steps_per_epoch as steps_per_epoch
    from keras_inception.datasets.batches import training_batches as training_batches
    from keras_inception.datasets.bundled import pictograms as pictograms
    from keras_inception.datasets.examples import Arrays as Arrays
    from keras_inception.datasets.examples import Examples as Examples
    from keras_inception.datasets.examples import Files as Files
    from keras_inception.datasets.folder import list_pictures as list_pictures
    from keras_inception.datasets.reading import read_picture as read_picture
    from keras_inception.datasets.records import Records as Records
    from keras_inception.datasets.sources import Exclude as Exclude
    from keras_inception.datasets.sources import located as located
    from keras_inception.datasets.sources import open_data as open_data
    from keras_inception.datasets.sources import open_folder as open_folder
    from keras_inception.datasets.sources import open_labelled as open_labelled
    from keras_inception.datasets.sources import open_table as open_table
    from keras_inception.datasets.sources import open_validation as open_validation
    from keras_inception.datasets.sources import recorded as recorded
    from keras_inception.datasets.sources import survey as survey
    from keras_inception.datasets.splits import Skipped as Skipped
    from keras_inception.datasets.splits import Splits as Splits
    from keras_inception.datasets.writing import write_shards as write_shards

_HOMES = {
    "Arrays": "examples",
    "Augmentation": "augmentation",
    "Examples": "examples",
    "Exclude": "sources",
    "Files": "examples",
    "Records": "records",
    "Skipped": "splits",
    "Splits": "splits",
    "evaluation_batches": "batches",
    "list_pictures": "folder",
    "located": "sources",
    "open_data": "sources",
    "open_folder": "sources",
    "open_labelled": "sources",
    "open_table": "sources",
    "open_validation": "sources",
    "pictograms": "bundled",
    "read_picture": "reading",
    "recorded": "sources",
    "steps_per_epoch": "batches",
    "survey": "sources",
    "training_batches": "batches",
    "write_shards": "writing",
}

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy.attach(__name__, _HOMES)
