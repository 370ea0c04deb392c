"""Published weights: publishers, downloads, file readers, and loading into our networks.

The readers are imported on first use; `publishers` and `download` are cheap to import.
"""

from typing import TYPE_CHECKING

from keras_inception.utils import lazy

if TYPE_CHECKING:
    from keras_inception.weights.checkpoint import Checkpoint as Checkpoint
    from keras_inception.weights.checkpoint import read_weights as read_weights
    from keras_inception.weights.readers import read_tensors as read_tensors

_HOMES = {"Checkpoint": "checkpoint", "read_tensors": "readers", "read_weights": "checkpoint"}

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy.attach(__name__, _HOMES)
