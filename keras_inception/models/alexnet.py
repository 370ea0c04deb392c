"""AlexNet in one tower: Krizhevsky, One weird trick for parallelizing convolutional neural networks, 1404.5997."""

from typing import NamedTuple, Unpack

import keras

from keras_inception.models.blocks import dense, flatten, max_pool
from keras_inception.models.factory import Builder, Common, network


class Convolution(NamedTuple):
    """A convolution with ReLU, and the name of the 3×3/2 max pooling that follows, if any."""

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
MIN_SIZE = 63  # leaves one pixel of pool5


@network("alexnet")
def AlexNet(net: Builder, *, dropout: float = 0.5, **common: Unpack[Common]) -> keras.Model:
    """Build AlexNet in the one-tower form of arXiv 1404.5997, as in torchvision: no LRN and no groups.

    Input: 224×224 in torchvision; 63×63 or larger, of known size with a top. Stages are layers named ``conv1`` to
    ``conv5``, ``pool1``, ``pool2`` and ``pool5``, ``fc6`` and ``fc7``.

    The top average-pools any map to 6×6, followed by two dense layers of 4096 units, each after dropout, and the
    classifier. Without a top, the output is that of ``pool5``, 6×6×256 for 224×224.

    Weights: torchvision's alexnet.
    """
    x = net.input(MIN_SIZE, fixed=True)
    conv_block = net.conv_block()
    for key, c in CONVOLUTIONS.items():  # 55×55×64, 27×27×192, 13×13×384, 13×13×256, 13×13×256
        x = conv_block(x, c.filters, c.size, strides=c.strides, padding=c.padding, name=key)
        if c.pool:  # 27×27×64, 13×13×192, 6×6×256
            x = max_pool(x, padding="valid", name=c.pool)

    def top(x):
        x = flatten(x, 6, dropout=net.dropout, name="fc6")
        x = dense(x, 4096, name="fc6")
        x = dense(x, 4096, dropout=net.dropout, name="fc7")
        return keras.layers.Dense(
            net.classes, activation=net.classifier_activation, dtype="float32", name="predictions"
        )(x)

    return net.finish(x, top=top)
