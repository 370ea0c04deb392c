"""The graph to convert: the scores of the classes, and an input that metadata can describe."""

import os
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.preprocessing import Preprocessing

if TYPE_CHECKING:
    import keras


def is_trained_for_int8(model: "keras.Model") -> bool:
    """Return True if a network went through quantization-aware training and so needs no calibration."""
    from keras_inception.layers import FakeQuantization

    return any(isinstance(layer, FakeQuantization) for layer in model.layers)


def deployed(model: "keras.Model", preprocessing: Preprocessing, input_preprocessing: Preprocessing) -> "keras.Model":
    """Wrap a model that expects `preprocessing` in a graph that expects `input_preprocessing`.

    Channels, mean and standard deviation become one 1×1 convolution, which every delegate runs and whose weights
    are quantized per channel. If the sizes differ, images are first resized (bilinear). The input is named ``image``,
    the output ``probabilities``.
    """
    import keras

    from keras_inception.layers import FakeQuantization

    mixing = preprocessing.mixing.astype(float)  # (3, channels)
    mean, std = (np.array(values)[: mixing.shape[1]] for values in (preprocessing.mean, preprocessing.std))
    kernel = mixing * np.array(input_preprocessing.std)[:, None] / std
    bias = (input_preprocessing.mean @ mixing - mean) / std
    image = x = keras.Input((*input_preprocessing.size, 3), name="image")
    if input_preprocessing.size != preprocessing.size:
        x = keras.ops.image.resize(x, preprocessing.size)  # a Resizing layer would make batch norm train
    if bias.any() or not np.array_equal(kernel, np.eye(3)):
        normalization = keras.layers.Conv2D(mixing.shape[1], 1, name="normalization")
        if is_trained_for_int8(model):
            ends = input_preprocessing.normalize(np.array([[[0.0] * 3, [255.0] * 3]], np.float32))
            x = FakeQuantization(ends.min(), ends.max(), name="pixels")(x)
        x = normalization(x)
        normalization.set_weights([kernel[None, None], bias])
    return keras.Model(image, {"probabilities": model(x)}, name=model.name)


def save(model: "keras.Model", folder: str | os.PathLike) -> None:
    """Write a `deployed` model as a SavedModel of batch 1 with one signature, ``serving_default``.

    Keras' own `export` traces the model eight times and walks through each layer's attributes, which takes longer than
    the conversion. This function traces the model once and stores its variables.
    """
    import tensorflow as tf

    image = tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32, name="image")
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    module.serve = tf.function(lambda image: model(image, training=False), input_signature=[image], autograph=False)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
