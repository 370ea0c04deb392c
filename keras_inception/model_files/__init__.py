"""Open model files of any origin, without running code from them.

`load` opens a ``.keras`` file, an ``.h5`` file of Keras 3, Keras 2 or tf_keras, or a SavedModel folder as a
`keras.Model`. Before a library sees a file, it is searched for anything that would run code: Lambdas and unknown
classes in a Keras file (`configurations`), file and Python operations in a SavedModel (`operations`).
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from keras_inception.model_files.custom_objects import check_custom_objects as check_custom_objects
from keras_inception.model_files.custom_objects import current, given
from keras_inception.model_files.kinds import KERAS_3, SAVED_MODEL, kind_of
from keras_inception.model_files.kinds import check_exists as check_exists
from keras_inception.model_files.kinds import check_runnable as check_runnable
from keras_inception.model_files.kinds import check_source as check_source
from keras_inception.model_files.kinds import is_model_file as is_model_file
from keras_inception.model_files.kinds import is_saved_model as is_saved_model

if TYPE_CHECKING:
    import keras


def load(path: str | os.PathLike, custom_objects: str | os.PathLike | None = None) -> "keras.Model":
    """Open a model file as a Keras 3 model that is not compiled.

    An ``.h5`` file that Keras 3 cannot open is opened by tf_keras and rebuilt in Keras 3. A SavedModel becomes a
    functional model of one layer, as does a tf_keras model that cannot be rebuilt.

    Args:
        path: a ``.keras`` or ``.h5`` file, or a SavedModel folder.
        custom_objects: Python file with the classes and functions that the model file needs. It is run. The model
            file's Lambdas are then run too.

    Raises:
        ValueError: `path` is not a model that can be opened, or holds weights alone; it would run code; or the file of
            `custom_objects` cannot be run.
        FileNotFoundError: `path` or `custom_objects` does not exist.
    """
    path = Path(path)
    check_source(path)
    check_custom_objects(custom_objects)
    if (kind := kind_of(path)) == SAVED_MODEL:
        from keras_inception.model_files.saved_models import open_saved_model

        return open_saved_model(path)
    from keras_inception.model_files.keras_files import open_keras_file

    with given(custom_objects):
        return open_keras_file(path, kind == KERAS_3, current())


def is_one_layer(model: "keras.Model") -> bool:
    """Return True if `load` could not open a model layer by layer, because it is a SavedModel, for example."""
    from keras_inception.model_files.tensorflow_layer import TensorFlowLayer

    return any(isinstance(layer, TensorFlowLayer) for layer in model.layers)
