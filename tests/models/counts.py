"""What a model's weights and layers add up to, counted apart from `keras_inception.analysis`."""

import numpy as np
from keras import layers


def macs(model):
    """Multiply-adds of the convolution and dense layers, a kernel at every position of its output."""
    kernels = [layer for layer in model.layers if isinstance(layer, (layers.Conv2D, layers.Dense))]
    return sum(int(np.prod(layer.output.shape[1:-1]) * np.prod(layer.kernel.shape)) for layer in kernels)


def trainable(model):
    """Number of parameters that training changes."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
