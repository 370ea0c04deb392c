"""A publisher's weights on their way into one of our networks."""

import logging
import os
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from keras_inception.weights.names import PUBLISHERS, listed

logger = logging.getLogger(__name__)

# What the layers of heads and tops begin with: a network may be built without them.
CLASSIFIERS = ("aux", "predictions")


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a file, by their publisher's names and in the publisher's layout.

    Attributes:
        path: of the file, for messages.
        family: the network that the weights are for, a key of `names.PUBLISHERS`.
        publisher: ``"torchvision"`` or ``"caffe"``.
        tensors: float32 arrays by name. Convolution kernels are (out, in, height, width), dense ones (out, in).
    """

    path: str | os.PathLike
    family: str
    publisher: str
    tensors: dict[str, np.ndarray]

    def check_option(self, argument: str, given, of_the_weights) -> None:
        """Raise ValueError if an argument of the network is `given`, not None, and is not what the weights need."""
        if given not in (None, of_the_weights):
            raise ValueError(
                f"`{argument}` must be {of_the_weights!r} with the {self.publisher} weights of {self.path}. "
                f"Received: {argument}={given!r}"
            )

    def load_into(self, model: keras.Model) -> None:
        """Set every variable of `model`, or none.

        Tensors of heads or of a top that `model` does not have are skipped, and logged.

        Raises:
            ValueError: a variable has no tensor, a tensor has no variable, or their shapes differ.
        """
        variables = {f"{layer.name}/{weight.name}": weight for layer in model.layers for weight in layer.weights}
        maps = _flattened_maps(model)
        ours = PUBLISHERS[self.family][self.publisher].ours
        values, left_over, skipped, misfits = {}, [], [], []
        for name, tensor in self.tensors.items():
            key = ours(name)
            if key in variables and key not in values:
                values[key] = _in_keras_layout(tensor, len(variables[key].shape), maps.get(key))
                if values[key].shape != tuple(variables[key].shape):
                    misfits.append(f"{name} {tensor.shape} for {key} {tuple(variables[key].shape)}")
            elif key and key not in variables and key.startswith(CLASSIFIERS):
                skipped.append(name)
            else:
                left_over.append(name)
        missing = [key for key in variables if key not in values]
        self._raise_on(missing, left_over, misfits)
        if skipped:
            logger.info("%s: skipped the tensors of heads or top not asked for: %s", self.path, listed(skipped))
        for key, value in values.items():
            variables[key].assign(value)

    def _raise_on(self, missing: list[str], left_over: list[str], misfits: list[str]) -> None:
        problems = {"missing": missing, "left over": left_over, "of another shape": misfits}
        found = "; ".join(f"{problem}: {listed(names)}" for problem, names in problems.items() if names)
        if found:
            raise ValueError(f"{self.path} does not fit the network. Tensors {found}")


def _flattened_maps(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Kernels of the dense layers that read a flattened map, with the (height, width, channels) of that map."""
    maps = {id(layer.output): layer.input.shape[1:] for layer in model.layers if isinstance(layer, layers.Flatten)}
    dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
    return {f"{layer.name}/kernel": maps[id(layer.input)] for layer in dense if id(layer.input) in maps}


def _in_keras_layout(tensor: np.ndarray, rank: int, flattened: tuple[int, ...] | None) -> np.ndarray:
    """A tensor in Keras' layout for a variable of `rank`, as far as its shape allows.

    Output channels go last: (out, in, height, width) -> (height, width, in, out) and (out, in) -> (in, out). If the
    input is a `flattened` map, its features come as channel, height, width and go to height, width, channel.
    """
    while tensor.ndim > rank and tensor.shape[0] == 1:  # old Caffe files write every blob with four axes
        tensor = tensor[0]
    if tensor.ndim == 2 and flattened:
        height, width, channels = flattened
        if tensor.shape[1] == height * width * channels:
            tensor = tensor.reshape(len(tensor), channels, height, width).transpose(2, 3, 1, 0)
            return tensor.reshape(height * width * channels, tensor.shape[-1])
    return tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T
