"""Test images, and parameters and multiply-adds counted independently of `keras_inception.analysis`."""

import numpy as np
from keras import layers


def image(height, width, batch=1):
    """Return noise as a batch of normalized images: (batch, height, width, 3)."""
    return np.random.default_rng(0).normal(size=(batch, height, width, 3)).astype(np.float32)


def tensors(model):
    """Return a model's weights by our names."""
    return {f"{layer.name}/{weight.name}": np.asarray(weight) for layer in model.layers for weight in layer.weights}


def macs(model):
    """Count the multiply-adds of the convolution and dense layers: each kernel, times its output positions."""
    kernels = [layer for layer in model.layers if isinstance(layer, (layers.Conv2D, layers.Dense))]
    return sum(int(np.prod(layer.output.shape[1:-1]) * np.prod(layer.kernel.shape)) for layer in kernels)


def trainable(model):
    """Return the number of trainable parameters."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
