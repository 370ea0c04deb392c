"""Network in Network: Lin et al., arXiv 1312.4400."""

import itertools
from typing import NamedTuple, Unpack

import keras
from keras import layers

from keras_inception.models.blocks import average_pool, conv, max_pool
from keras_inception.models.factory import Builder, Common, network
from keras_inception.utils.checks import check_one_of


class Mlpconv(NamedTuple):
    """A convolution and 1×1 convolutions, each with ReLU, and optional 3×3/2 pooling and dropout (section 3.1).

    Attributes:
        filters: filter counts of the convolution and of the 1×1 convolutions. In the last mlpconv, the last 1×1
            convolution, with one feature map per class, belongs to the top.
        pool: ``"max"`` or ``"average"``.
    """

    filters: tuple[int, ...]
    size: int
    strides: int = 1
    padding: str = "same"
    pool: str | None = None
    dropout: bool = False


class Form(NamedTuple):
    """One of the paper's two networks, with its default and minimum input sizes."""

    size: int
    min_size: int
    layers: tuple[Mlpconv, ...]


# Section 4.2 and the authors' Caffe models, nin_cifar10 and nin_imagenet.
CIFAR = (
    Mlpconv((192, 160, 96), 5, pool="max", dropout=True),  # 16×16×96
    Mlpconv((192, 192, 192), 5, pool="average", dropout=True),  # 8×8×192
    Mlpconv((192, 192), 3),  # 8×8×192
)
IMAGENET = (
    Mlpconv((96, 96, 96), 11, strides=4, padding="valid", pool="max"),  # 54×54, 27×27×96
    Mlpconv((256, 256, 256), 5, pool="max"),  # 13×13×256
    Mlpconv((384, 384, 384), 3, pool="max", dropout=True),  # 6×6×384
    Mlpconv((1024, 1024), 3),  # 6×6×1024
)
FORMS = {"cifar": Form(32, 8, CIFAR), "imagenet": Form(224, 39, IMAGENET)}  # 39 leaves one pixel of pool3
POOLS = {"max": max_pool, "average": average_pool}


@network("network_in_network")
def NetworkInNetwork(
    net: Builder, *, form: str | None = None, dropout: float = 0.5, **common: Unpack[Common]
) -> keras.Model:
    """Build Network in Network, Lin et al., arXiv 1312.4400. It has no dense layers.

    Input: 224×224 in the ImageNet form (39×39 or larger), 32×32 in the CIFAR form (8×8 or larger).
    Stages are layers named as in the authors' Caffe models: ``conv1``, ``cccp1``, ``cccp2``, ``pool1``, ``conv2`` and
    so on, where ``cccp`` is a 1×1 convolution; the last of these is ``predictions_conv``.

    The top is a 1×1 convolution with one feature map per class (section 3.2), ReLU, global average pooling and softmax.
    Without a top, the output is the preceding map, 6×6×1024 for 224×224 or 8×8×192 for 32×32. Dropout follows the first
    two poolings ("cifar") or the third one ("imagenet").

    Weights: the authors' nin_imagenet and nin_cifar10 for Caffe. The latter has 10 classes and was trained on whitened
    images (global contrast normalization and ZCA, section 4.2), which no per-channel normalization can express: its
    ``preprocessing`` leaves the pixels unchanged, and whitening is up to the caller.

    Options:
        form: ``"imagenet"``, four mlpconv layers, or ``"cifar"``, three. None follows `weights`; without weights it is
            ``"imagenet"``.
    """
    check_one_of("form", form, (None, *FORMS))
    form = net.follow("form", form, tensor="conv4/kernel", present="imagenet", absent="cifar")
    layout = FORMS[form or "imagenet"]
    x = net.input(layout.min_size, size=layout.size)
    conv_block = net.conv_block()

    numbers = itertools.count(1)
    for index, layer in enumerate(layout.layers, 1):
        first, *others = layer.filters
        x = conv_block(x, first, layer.size, strides=layer.strides, padding=layer.padding, name=f"conv{index}")
        for width in others:
            x = conv_block(x, width, 1, name=f"cccp{next(numbers)}")
        if layer.pool:
            x = POOLS[layer.pool](x, strides=2, padding="ceil", name=f"pool{index}")
        if layer.dropout:
            x = layers.Dropout(net.dropout, name=f"pool{index}_dropout")(x)

    def top(x):
        x = conv(x, net.classes, 1, name="predictions_conv")
        x = layers.GlobalAveragePooling2D(dtype="float32", name="global_pool")(x)
        return layers.Activation(net.classifier_activation or "linear", dtype="float32", name="predictions")(x)

    return net.finish(x, top=top)
