"""The networks, one file per family."""

from keras_inception.models.googlenet import GoogLeNet

__all__ = ["GoogLeNet"]
