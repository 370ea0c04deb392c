"""ResNet and its plain counterpart: He et al., Deep Residual Learning for Image Recognition, arXiv 1512.03385."""

from typing import Unpack

import keras
from keras import KerasTensor, layers

from keras_inception.layers import ZeroPaddingShortcut
from keras_inception.models.blocks import BatchNorm, ConvBlock, max_pool
from keras_inception.models.factory import Builder, Common, network
from keras_inception.utils.checks import check_one_of
from keras_inception.weights.publishers.resnet import BLOCKS

# Table 1 of the paper, 34 layers: filters per stage. `BLOCKS` has the number of blocks.
FILTERS = {"conv2": 64, "conv3": 128, "conv4": 256, "conv5": 512}
MIN_SIZE = 32


def basic_block(
    x: KerasTensor, filters: int, *, strides: int, conv_block: ConvBlock, shortcut: str | None, name: str
) -> KerasTensor:
    """Add two 3×3 convolutions and a shortcut past them (1512.03385, Fig. 5 left).

    (batch, h, w, c) -> (batch, h / strides, w / strides, filters), rounded up.

    Args:
        x: the feature map to build on.
        filters: number of filters of both convolutions.
        strides: strides of the first convolution and of the shortcut.
        conv_block: makes the convolutions.
        shortcut: where the shape changes, ``"A"`` pads the channels with zeros and ``"B"`` projects with a 1×1
            convolution (section 3.3); elsewhere both are the identity. None builds a plain block without a shortcut.
        name: name of the block's output. Its layers are ``{name}_1``, ``{name}_2`` and ``{name}_shortcut``.

    Raises:
        ValueError: the convolutions and the shortcut have different numbers of output channels.
    """
    y = conv_block(x, filters, 3, strides=strides, name=f"{name}_1")
    y = conv_block(y, filters, 3, relu=False, name=f"{name}_2")
    if shortcut:
        if strides > 1 or x.shape[-1] != y.shape[-1]:
            if shortcut == "A":
                x = ZeroPaddingShortcut(y.shape[-1], strides, name=f"{name}_shortcut")(x)
            else:
                x = conv_block(x, filters, 1, strides=strides, relu=False, name=f"{name}_shortcut")
        if x.shape[-1] != y.shape[-1]:
            raise ValueError(
                f"`filters` of {name}_2 must be {x.shape[-1]}, the channels of the shortcut that its output is added "
                f"to. Received: {y.shape[-1]}"
            )
        y = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=name)(y)


@network("resnet34")
def ResNet34(
    net: Builder, *, shortcut: str | None = None, dropout: float = 0.0, **common: Unpack[Common]
) -> keras.Model:
    """Build ResNet-34, He et al., arXiv 1512.03385, Table 1.

    Convolutions and pooling with stride 2 are zero-padded on every side, as in torchvision and keras.applications, and
    batch norm has torchvision's epsilon of 1e-5.

    Input: 224×224 in the paper; 32×32 or larger. Stages are layers named ``conv1``, ``pool1`` and, after
    the paper's conv2_x to conv5_x, the blocks ``conv2_1`` to ``conv5_3``. The convolutions of a block are
    ``conv2_1_1`` and ``conv2_1_2`` and, where the shape changes, ``conv3_1_shortcut``.

    The top is global average pooling, dropout (none in the paper, section 3.4) and the classifier. Without a top, the
    output is that of ``conv5_3``, 7×7×512 for 224×224.

    Weights: resnet34 of torchvision and of timm.

    Options:
        shortcut: where the shape changes, ``"B"`` projects with 1×1 convolutions and ``"A"`` fills the new channels
            with zeros, without parameters (section 3.3). None follows `weights`; without weights it is ``"B"``, as in
            torchvision.
    """
    check_one_of("shortcut", shortcut, (None, "A", "B"))
    shortcut = net.follow("shortcut", shortcut, tensor="conv3_1_shortcut/kernel", present="B", absent="A")
    return _of_34_layers(net, shortcut or "B")


@network("plain34")
def Plain34(net: Builder, *, dropout: float = 0.0, **common: Unpack[Common]) -> keras.Model:
    """Build Plain-34, the paper's baseline for ResNet-34 (1512.03385, Fig. 3 middle): `ResNet34` without shortcuts.

    Sizes, layer names and the top are the same as in `ResNet34`.

    Weights: none are published. ``weights`` is None or the path of a file saved from this network.
    """
    return _of_34_layers(net, None)


def _of_34_layers(net: Builder, shortcut: str | None) -> keras.Model:
    x = net.input(MIN_SIZE)
    conv_block = net.conv_block(padding="symmetric", batch_norm=BatchNorm(epsilon=1e-5))

    x = conv_block(x, 64, 7, strides=2, name="conv1")  # 112×112×64
    x = max_pool(x, padding="symmetric", name="pool1")  # 56×56×64
    for (stage, filters), count in zip(FILTERS.items(), BLOCKS, strict=True):
        for number in range(1, count + 1):  # 56×56×64, 28×28×128, 14×14×256, 7×7×512
            strides = 2 if number == 1 and stage != "conv2" else 1
            name = f"{stage}_{number}"
            x = basic_block(x, filters, strides=strides, conv_block=conv_block, shortcut=shortcut, name=name)
    return net.finish(x)
