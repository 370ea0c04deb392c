"""Datasets of tensorflow-datasets, which downloads and prepares them. They are read like other TFRecord files."""

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_inception.datasets.examples import Arrays, Examples
from keras_inception.datasets.records import Keys, find_records
from keras_inception.datasets.splits import SPLIT_NAMES, Found, Progress
from keras_inception.utils.suggestions import did_you_mean

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder, DatasetInfo


def find_tfds(name: str, *, strict: bool = False, progress: Progress | None = None) -> Found:
    """Open a dataset for image classification; download and prepare it first if necessary.

    Args:
        name: name in tensorflow-datasets, such as ``stl10`` or ``NAME/config:version``. The dataset is stored in the
            folder of the environment variable TFDS_DATA_DIR, or in ``~/tensorflow_datasets``.
        strict: as for `find_shards`.
        progress: as for `find_shards`.

    Raises:
        ValueError: tensorflow-datasets is not installed or does not know the name, or the dataset does not map an image
            to a class.
        OSError: the dataset cannot be downloaded.
    """
    builder = _builder(name)
    keys = _keys(name, builder.info)
    try:
        builder.download_and_prepare()
    except Exception as error:  # downloads can raise anything, and AssertionError if a manual download is needed
        raise OSError(f"tfds:{name} cannot be prepared: {' '.join(str(error).split())[:500]}") from error
    names = dict(enumerate(builder.info.features[keys.label].names))
    known = {split: SPLIT_NAMES[split.lower()] for split in builder.info.splits if split.lower() in SPLIT_NAMES}
    where = f"tfds:{name}"
    if not known:
        raise ValueError(f"{where} must have a split named train. Received: {', '.join(builder.info.splits)}")
    if builder.info.file_format.value != "tfrecord":
        in_memory = {ours: _in_memory(builder, theirs, keys) for theirs, ours in known.items()}
        return Found(where, tuple(names.values()), in_memory)
    splits = {ours: list(map(os.fspath, builder.info.splits[theirs].filepaths)) for theirs, ours in known.items()}
    return find_records(splits, keys, names, where, strict, progress)


def _builder(name: str) -> "DatasetBuilder":
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise ValueError(
            f"tfds:{name} requires tensorflow-datasets: install keras-inception[tfds], or tensorflow-datasets itself"
        ) from None
    try:
        return tfds.builder(name)
    except tfds.core.DatasetNotFoundError:
        near = did_you_mean(name, tfds.list_builders())
        raise ValueError(f"tensorflow-datasets has no dataset of that name.{near} Received: tfds:{name}") from None


def _keys(name: str, info: "DatasetInfo") -> Keys:
    """Return the names of the features that hold the image and its class."""
    import tensorflow_datasets as tfds

    features = info.features if isinstance(info.features, tfds.features.FeaturesDict) else {}
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    supervised: Any = info.supervised_keys  # may be nested
    if supervised and supervised[0] in images and supervised[-1] in labels:
        images, labels = [supervised[0]], [supervised[-1]]
    if len(images) != 1 or len(labels) != 1 or features[images[0]].np_dtype != np.uint8:
        raise ValueError(
            f"tfds:{name} must have one 8-bit image and one class label for each example. "
            f"Received: {', '.join(features) or info.features}"
        )
    return Keys(images[0], labels[0], None, None)


def _in_memory(builder: "DatasetBuilder", split: str, keys: Keys) -> Examples:
    """Read a split that was prepared in a format other than TFRecord, with tensorflow-datasets itself."""
    try:
        rows = list(builder.as_data_source(split=split))
    except NotImplementedError as error:
        raise ValueError(f"tfds:{builder.info.full_name} must be prepared as TFRecord: {error}") from None
    pictures = np.empty(len(rows), object)
    pictures[:] = [row[keys.image] for row in rows]
    return Arrays(
        labels=np.array([row[keys.label] for row in rows], np.int32),
        keys=np.array([f"{number:08}" for number in range(len(rows))], object),
        pictures=pictures,
        source=f"tfds:{builder.info.full_name} {split}",
    )
