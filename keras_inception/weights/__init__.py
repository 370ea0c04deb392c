"""Other people's weights: readers of their files, and the maps from their names to ours."""

import os

from keras_inception.weights.checkpoint import Checkpoint
from keras_inception.weights.names import publisher_of
from keras_inception.weights.readers import read_tensors

__all__ = ["Checkpoint", "read_weights"]


def read_weights(path: str | os.PathLike, family: str) -> Checkpoint:
    """Read a file of weights and tell by its tensors' names who published them.

    Args:
        path: a file of a kind that `read_tensors` knows, by its content.
        family: the network that the weights are meant for, a key of `names.PUBLISHERS`.

    Raises:
        ValueError: the file is damaged or of an unknown kind, a weight is not finite, or no publisher of the family
            names its tensors so.
        OSError: the file cannot be read.
    """
    tensors = read_tensors(path)
    try:
        publisher = publisher_of(tensors, family)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Checkpoint(path, family, publisher, tensors)
