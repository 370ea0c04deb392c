"""A TensorFlow function as one Keras layer."""

from collections.abc import Callable, Sequence
from typing import Any

import keras


class TensorFlowLayer(keras.layers.Layer):
    """Call a TensorFlow function for inference; its variables are the layer's weights, which cannot be trained.

    It stands for a model of another library. It cannot be cloned or saved to a .keras file.

    Args:
        function: takes and returns tensors, or structures of tensors.
        variables: the function's TensorFlow variables, which are shared.
        owner: TensorFlow object that must live as long as the function, such as a loaded SavedModel.
        name: name of the layer.
    """

    def __init__(self, function: Callable, variables: Sequence, owner: Any = None, name: str | None = None):
        super().__init__(trainable=False, autocast=False, name=name)
        self._function = function
        self._owner = owner
        self._shared = [
            keras.Variable(x, shape=x.shape, dtype=x.dtype.name, trainable=False, name=x.name.replace("/", "_"))
            for x in variables
        ]
        self.built = True

    def call(self, inputs):
        """Call the function."""
        return self._function(inputs)
