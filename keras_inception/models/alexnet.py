"""AlexNet in one tower: Krizhevsky, One weird trick for parallelizing convolutional neural networks, 1404.5997."""

import os
from collections.abc import Mapping
from typing import NamedTuple

import keras

from keras_inception.models.blocks import dense, flatten, max_pool
from keras_inception.models.factory import Options


class Convolution(NamedTuple):
    """A convolution with ReLU, and the 3×3/2 max pooling that follows, if one does."""

    filters: int
    size: int
    strides: int = 1
    padding: str | int = "same"
    pool: str | None = None


# 1404.5997, section 5, with the padding of torchvision.
CONVOLUTIONS = {
    "conv1": Convolution(64, 11, strides=4, padding=2, pool="pool1"),
    "conv2": Convolution(192, 5, pool="pool2"),
    "conv3": Convolution(384, 3),
    "conv4": Convolution(256, 3),
    "conv5": Convolution(256, 3, pool="pool5"),
}
MIN_SIZE = 63  # which leaves one pixel of pool5


def AlexNet(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    *,
    auxiliary: bool = False,
    dropout: float = 0.5,
    filters: Mapping[str, int] | None = None,
    skip_mismatch: bool = False,
    name: str = "alexnet",
) -> keras.Model:
    """AlexNet in the one-tower form of arXiv 1404.5997, as torchvision has it: without LRN and groups.

    Input: (batch, height, width, 3), known sides of 63 or more, 224×224 in torchvision, in the channel order and range
    that the preprocessing of the training or of the weights' publisher yields (`keras_inception.Preprocessing`).
    Output: (batch, classes). Stages are layers named ``conv1`` to ``conv5``, ``pool1``, ``pool2`` and ``pool5``,
    ``fc6`` and ``fc7``.

    Args:
        include_top: end in pooling to 6×6, whatever the map, two dense layers of 4096 and the classifier. Without, the
            output is that of ``pool5``, 6×6×256 of 224×224, and the sides of ``input_shape`` may be None.
        weights: None for random ones, ``"imagenet"`` for published ones, or the path of a file with the tensors of
            torchvision's alexnet, in any format that `keras_inception.weights.read_tensors` knows. The attribute
            ``preprocessing`` is then the publisher's. Tensors of a top that is not asked for are skipped.
        input_tensor: a Keras tensor to build on in place of a new input.
        input_shape: (height, width, 3); (224, 224, 3) if there is a top.
        pooling: of the last map when there is no top: None, ``"avg"`` or ``"max"``; gives (batch, 256).
        classes: number of classes.
        classifier_activation: None gives logits.
        auxiliary: must be False; the network has no auxiliary classifiers.
        dropout: rate before ``fc6`` and ``fc7``, in [0, 1).
        filters: of convolutions by name, where they are to be others than the paper's. A network that was slimmed
            (`keras_inception.compression.filter_pruning`) is this one with fewer.
        skip_mismatch: leave out tensors that are missing, left over or of another shape instead of raising.
        name: of the model.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: an argument is not one of the above, or the input is too small; or the file of weights is not
            understood, or does not fit.
        OSError: the file of weights cannot be read.
    """
    options = Options(
        include_top,
        weights,
        input_tensor,
        input_shape,
        pooling,
        classes,
        classifier_activation,
        auxiliary,
        dropout,
        skip_mismatch,
        name,
        filters,
    )
    options.refuse_auxiliary()
    checkpoint = options.read_weights("alexnet")
    inputs, x = options.image_input(224, MIN_SIZE, fixed=True)

    unit = options.unit()
    for key, c in CONVOLUTIONS.items():  # 55×55×64, 27×27×192, 13×13×384, 13×13×256, 13×13×256
        x = unit(x, c.filters, c.size, strides=c.strides, padding=c.padding, name=key)
        if c.pool:  # 27×27×64, 13×13×192, 6×6×256
            x = max_pool(x, padding="valid", name=c.pool)

    def top(x):
        x = flatten(x, 6, dropout=dropout, name="fc6")
        x = dense(x, 4096, name="fc6")
        x = dense(x, 4096, dropout=dropout, name="fc7")
        return keras.layers.Dense(classes, activation=classifier_activation, dtype="float32", name="predictions")(x)

    return options.model(inputs, x, checkpoint, top=top)
