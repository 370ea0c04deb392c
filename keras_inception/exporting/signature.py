"""The graph to convert: one softmax output, and an input that metadata can describe."""

import os
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.preprocessing import Preprocessing

if TYPE_CHECKING:
    import keras


def probability_model(model: "keras.Model", preprocessing: Preprocessing) -> "keras.Model":
    """Return the `inference_model` of a classifier, with a softmax added if it ends in logits.

    The outputs on noise tell probabilities from logits. Nonnegative outputs that sum to 1 are probabilities, whichever
    layers computed them. All others count as logits, unless the last layer has an activation.

    Raises:
        ValueError: the model does not classify RGB images of the size in `preprocessing` into two or more classes; its
            outputs are neither probabilities nor logits, or not finite; or the backend of Keras is not TensorFlow.
    """
    import keras

    from keras_inception.models.inference import inference_model

    if (received := keras.backend.backend()) != "tensorflow":
        raise ValueError(f"`KERAS_BACKEND` must be tensorflow to make TFLite files. Received: {received}")
    model = inference_model(model)
    if len(model.inputs) != 1 or not _takes(model.inputs[0].shape, preprocessing.size):
        expected = "(batch, {}, {}, 3)".format(*preprocessing.size)
        shapes = [tuple(tensor.shape) for tensor in model.inputs]
        raise ValueError(f"`model` must take images, {expected}. Received: a model that takes {shapes}")
    if len(model.output.shape) != 2 or (model.output.shape[1] or 0) < 2:
        raise ValueError(
            f"`model` must give (batch, classes), two classes or more. Received: {tuple(model.output.shape)}"
        )
    noise = np.random.default_rng(0).integers(0, 256, (4, *preprocessing.size, 3))
    outputs = np.asarray(model(preprocessing.normalize(noise), training=False))
    if not np.isfinite(outputs).all():
        raise ValueError("`model` gives NaN or infinity on an image of noise: its weights are broken")
    if (outputs >= 0).all() and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3):
        return model
    activation = getattr(model.operations[-1], "activation", keras.activations.linear)
    if activation is not keras.activations.linear:
        raise ValueError(f"`model` must end in softmax or logits. Received: a model that ends in {activation}")
    return keras.Model(model.inputs[0], keras.layers.Softmax()(model.output), name=model.name)


def _takes(shape: tuple[int | None, ...], size: tuple[int, int]) -> bool:
    wanted = (None, *size, 3)
    return len(shape) == 4 and all(got in (None, want) for got, want in zip(shape, wanted, strict=True))


def is_trained_for_int8(model: "keras.Model") -> bool:
    """Return True if a network went through quantization-aware training and so needs no calibration."""
    from keras_inception.layers import FakeQuantization

    return any(isinstance(layer, FakeQuantization) for layer in model.layers)


def deployed(model: "keras.Model", preprocessing: Preprocessing, input_preprocessing: Preprocessing) -> "keras.Model":
    """Wrap a model that expects `preprocessing` in a graph that expects `input_preprocessing`.

    Channel order, mean and standard deviation become one 1×1 convolution, which every delegate runs and whose weights
    are quantized per channel. If the sizes differ, images are first resized (bilinear). The input is named ``image``,
    the output ``probabilities``.
    """
    import keras

    from keras_inception.layers import FakeQuantization

    order = [2, 1, 0] if preprocessing.channels == "BGR" else [0, 1, 2]
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    kernel = np.zeros((3, 3))
    kernel[order, range(3)] = np.array(input_preprocessing.std)[order] / std
    bias = (np.array(input_preprocessing.mean)[order] - mean) / std
    image = x = keras.Input((*input_preprocessing.size, 3), name="image")
    if input_preprocessing.size != preprocessing.size:
        x = keras.ops.image.resize(x, preprocessing.size)  # a Resizing layer would make batch norm train
    if bias.any() or not np.array_equal(kernel, np.eye(3)):
        normalization = keras.layers.Conv2D(3, 1, name="normalization")
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
