"""VGG: Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, arXiv 1409.1556."""

from typing import Unpack

import keras
import numpy as np
from keras import KerasTensor

from keras_inception.models.blocks import BatchNorm, dense, flatten, max_pool
from keras_inception.models.factory import Builder, Common, network
from keras_inception.utils.checks import check_one_of
from keras_inception.weights import Checkpoint
from keras_inception.weights.publishers.vgg import CONVOLUTIONS

# Table 1 of the paper: filters of the 3×3 convolutions in each block. `CONVOLUTIONS` has their number.
FILTERS = (64, 128, 256, 512, 512)
MIN_SIZE = 32
# torchvision's, not in the paper. Its convolutions keep their biases.
BATCH_NORM = BatchNorm(epsilon=1e-5, bias=True)


@network("vgg16")
def VGG16(
    net: Builder, *, normalization: str | None = None, dropout: float = 0.5, **common: Unpack[Common]
) -> keras.Model:
    """Build VGG-16, Simonyan and Zisserman, arXiv 1409.1556, Table 1, column D.

    Input: 224×224 in the paper; 32×32 or larger, of known size with a top. Stages are layers named as in
    keras.applications: ``block1_conv1`` and so on, ``block1_pool`` to ``block5_pool``, ``fc1`` and ``fc2``.

    The top is two dense layers of 4096 units and the classifier. They read a 7×7 map; a map of another size is first
    average-pooled to 7×7, as in torchvision. Without a top, the output is that of ``block5_pool``, 7×7×512 for 224×224.
    Dropout precedes ``fc2`` and the classifier: 0.5 in the paper (section 3.1), none in keras.applications.

    Weights: torchvision's vgg16 and vgg16_bn, and VGG16 of keras.applications. If the latter are for another input size
        and their ``fc1`` fits the map without pooling, the map is not pooled.

    Options:
        normalization: ``"batch_norm"`` adds batch norm after every convolution, as in torchvision's vgg16_bn. None
            follows `weights`; without weights there is none.
    """
    return _vgg(net, normalization)


@network("vgg19")
def VGG19(
    net: Builder, *, normalization: str | None = None, dropout: float = 0.5, **common: Unpack[Common]
) -> keras.Model:
    """Build VGG-19, Simonyan and Zisserman, arXiv 1409.1556, Table 1, column E.

    This is `VGG16` with a fourth convolution in blocks 3 to 5; names, sizes and the top are the same.

    Weights: torchvision's vgg19 and vgg19_bn, and VGG19 of keras.applications.

    Options:
        normalization: ``"batch_norm"`` adds batch norm after every convolution, as in torchvision's vgg19_bn. None
            follows `weights`; without weights there is none.
    """
    return _vgg(net, normalization)


def _vgg(net: Builder, normalization: str | None) -> keras.Model:
    check_one_of("normalization", normalization, (None, "batch_norm"))
    tensor = "block1_conv1_bn/beta"
    normalization = net.follow("normalization", normalization, tensor=tensor, present="batch_norm", absent=None)
    x = net.input(MIN_SIZE, fixed=True)
    conv_block = net.conv_block(batch_norm=BATCH_NORM if normalization else None)

    for block, (filters, count) in enumerate(zip(FILTERS, CONVOLUTIONS[net.key], strict=True), 1):
        for number in range(1, count + 1):
            x = conv_block(x, filters, 3, name=f"block{block}_conv{number}")
        # 112×112×64, 56×56×128, 28×28×256, 14×14×512, 7×7×512
        x = max_pool(x, 2, padding="valid", name=f"block{block}_pool")

    def top(x):
        x = flatten(x, None if _fits(net.checkpoint, x) else 7, name="fc1")
        x = dense(x, 4096, name="fc1")
        x = dense(x, 4096, dropout=net.dropout, name="fc2")
        return net.classifier(x)

    return net.finish(x, top=top)


def _fits(checkpoint: Checkpoint | None, x: KerasTensor) -> bool:
    """Return whether the weights have an ``fc1`` in Keras' layout that fits the map without pooling."""
    kernel = checkpoint.tensors.get("fc1/kernel") if checkpoint else None
    return kernel is not None and kernel.shape[:1] == (np.prod(x.shape[1:]),)
