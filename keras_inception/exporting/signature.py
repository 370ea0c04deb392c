"""The graph that is converted: one softmax output, and an input whose meaning a phone can be told."""

import os
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.preprocessing import Preprocessing

if TYPE_CHECKING:
    import keras


def probability_model(model: "keras.Model", preprocessing: Preprocessing) -> "keras.Model":
    """`inference_model` of a classifier, with a softmax added if it gives logits.

    Whether it does is seen from what it says of noise: outputs that are not negative and sum to 1 are probabilities,
    however the network came by them. Anything else is taken for logits, unless the last layer has an activation.

    Raises:
        ValueError: not a classifier of RGB pictures of the size in `preprocessing` into two classes or more; its
            outputs are neither probabilities nor logits, or not numbers.
    """
    import keras

    from keras_inception.models.inference import inference_model

    if keras.backend.backend() != "tensorflow":
        received = keras.backend.backend()
        raise ValueError(f"`KERAS_BACKEND` must be tensorflow, of which TFLite files are made. Received: {received}")
    model = inference_model(model)
    if len(model.inputs) != 1 or not _takes(model.inputs[0].shape, preprocessing.size):
        expected = "(batch, {}, {}, 3)".format(*preprocessing.size)
        shapes = [tuple(tensor.shape) for tensor in model.inputs]
        raise ValueError(f"`model` must take pictures, {expected}. Received: a model that takes {shapes}")
    if len(model.output.shape) != 2 or (model.output.shape[1] or 0) < 2:
        raise ValueError(
            f"`model` must give (batch, classes), two classes or more. Received: {tuple(model.output.shape)}"
        )
    noise = np.random.default_rng(0).integers(0, 256, (4, *preprocessing.size, 3))
    outputs = np.asarray(model(preprocessing.normalize(noise), training=False))
    if not np.isfinite(outputs).all():
        raise ValueError("`model` gives NaN or infinity on a picture of noise: its weights are broken")
    if (outputs >= 0).all() and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3):
        return model
    activation = getattr(model.operations[-1], "activation", keras.activations.linear)
    if activation is not keras.activations.linear:
        raise ValueError(f"`model` must end in softmax or in logits. Received: a model that ends in {activation}")
    return keras.Model(model.inputs[0], keras.layers.Softmax()(model.output), name=model.name)


def _takes(shape: tuple[int | None, ...], size: tuple[int, int]) -> bool:
    wanted = (None, *size, 3)
    return len(shape) == 4 and all(got in (None, want) for got, want in zip(shape, wanted, strict=True))


def is_trained_for_int8(model: "keras.Model") -> bool:
    """Whether a network has come of quantization-aware training, so that it is converted without calibration."""
    from keras_inception.layers import FakeQuantization

    return any(isinstance(layer, FakeQuantization) for layer in model.layers)


def input_of(preprocessing: Preprocessing, variant: str) -> Preprocessing:
    """What the input tensor of a file means: RGB pixels by ``(pixel - mean) / std``.

    Metadata cannot say BGR, so this is RGB for every network. A phone gives the uint8 input of an int8 file raw pixels.
    As a quantised tensor they mean ``(pixel - zero_point) * scale``, which is the normalisation if all channels share
    a mean and a deviation (up to half a pixel: a zero point is a whole number). If they do not, the input is the pixels
    themselves, and the normalisation goes into the graph.
    """
    mean, std = preprocessing.mean, preprocessing.std
    shared = len(set(mean)) == len(set(std)) == 1 and 0 <= mean[0] <= 255
    if variant == "int8" and not shared:
        return preprocessing.without_normalization()
    if preprocessing.channels == "BGR":
        return preprocessing.replace(channels="RGB", mean=mean[::-1], std=std[::-1])
    return preprocessing


def deployed(model: "keras.Model", preprocessing: Preprocessing, given: Preprocessing) -> "keras.Model":
    """`model`, which takes what `preprocessing` yields, as a graph that takes what `given` yields.

    Channel order, mean and deviation are one 1×1 convolution, which every delegate runs, and whose weights are
    quantised channel by channel. Pictures of another size are resized before it, bilinear. The input is named
    ``image``, the output ``probabilities``.
    """
    import keras

    from keras_inception.layers import FakeQuantization

    order = [2, 1, 0] if preprocessing.channels == "BGR" else [0, 1, 2]
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    kernel = np.zeros((3, 3))
    kernel[order, range(3)] = np.array(given.std)[order] / std
    bias = (np.array(given.mean)[order] - mean) / std
    image = x = keras.Input((*given.size, 3), name="image")
    if given.size != preprocessing.size:
        x = keras.ops.image.resize(x, preprocessing.size)  # the layer Resizing would have batch norm train
    if not (np.array_equal(kernel, np.eye(3)) and not bias.any()):
        normalization = keras.layers.Conv2D(3, 1, name="normalization")
        if is_trained_for_int8(model):
            ends = given.normalize(np.array([[[0.0] * 3, [255.0] * 3]], np.float32))
            x = FakeQuantization(ends.min(), ends.max(), name="pixels")(x)
        x = normalization(x)
        normalization.set_weights([kernel[None, None], bias])
    return keras.Model(image, {"probabilities": model(x)}, name=model.name)


def save(model: "keras.Model", folder: str | os.PathLike) -> None:
    """Write a `deployed` model as a SavedModel of batch 1 with one signature, ``serving_default``.

    Keras' own `export` traces the model eight times and walks through each layer's attributes, which takes longer than
    the conversion; here it is one function and its variables.
    """
    import tensorflow as tf

    height, width, channels = model.inputs[0].shape[1:]
    image = tf.TensorSpec((1, height, width, channels), tf.float32, name="image")
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    module.serve = tf.function(lambda image: model(image, training=False), input_signature=[image], autograph=False)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
