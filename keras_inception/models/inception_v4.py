"""Inception v4 and Inception-ResNet v2: Szegedy et al., arXiv 1602.07261.

The paper is "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning".
"""

from typing import NamedTuple, Unpack

import keras
from keras import KerasTensor, layers

from keras_inception.models import blocks
from keras_inception.models.blocks import GRID, Branches, Conv, ConvBlock, Pool, Split, fork, projected, reduced
from keras_inception.models.factory import Builder, Common, network
from keras_inception.models.inception_v3 import batch_norm_of, inception_a, stem

MIN_SIZE = 75  # the last grid reduction then turns 3×3 into 1×1

INCEPTION_A: Branches = [  # Fig. 4
    [Conv("1x1", 96)],
    reduced("3x3", 64, (96, 3)),
    reduced("double_3x3", 64, (96, 3), (96, 3)),
    projected("average", 96),
]
INCEPTION_B: Branches = [  # Fig. 5
    [Conv("1x1", 384)],
    reduced("7x7", 192, (224, (1, 7)), (256, (7, 1))),
    reduced("double_7x7", 192, (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))),
    projected("average", 128),
]
INCEPTION_C: Branches = [  # Fig. 6
    [Conv("1x1", 256)],
    [Conv("3x3_reduce", 384), fork("3x3", 256)],
    [*reduced("double_3x3", 384, (448, (3, 1)), (512, (1, 3))), fork("double_3x3_3", 256)],
    projected("average", 256),
]
V4_MODULES: dict[str, Branches] = {
    "mixed_3a": [[Pool("max", **GRID)], [Conv("3x3", 96, 3, **GRID)]],  # 73×73×160
    "mixed_4a": [
        reduced("3x3", 64, (96, 3), padding="valid"),
        reduced("7x7", 64, (64, (1, 7)), (64, (7, 1)), (96, 3), padding="valid"),
    ],  # 71×71×192
    "mixed_5a": [[Conv("3x3", 192, 3, **GRID)], [Pool("max", **GRID)]],  # 35×35×384
    **dict.fromkeys(("mixed_5b", "mixed_5c", "mixed_5d", "mixed_5e"), INCEPTION_A),
    "mixed_6a": blocks.grid_reduction(192, 224, 256, 384),  # 17×17×1024
    **dict.fromkeys((f"mixed_6{letter}" for letter in "bcdefgh"), INCEPTION_B),
    "mixed_7a": [  # Fig. 8
        reduced("3x3", 192, (192, 3), **GRID),
        reduced("7x7", 256, (256, (1, 7)), (320, (7, 1)), (320, 3), **GRID),
        [Pool("max", **GRID)],
    ],  # 8×8×1536
    **dict.fromkeys(("mixed_7b", "mixed_7c", "mixed_7d"), INCEPTION_C),
}


class Residual(NamedTuple):
    """A block whose branches, scaled down, are added to its input (section 3.3)."""

    branches: Branches
    scale: float
    relu: bool = True


BLOCK35 = [  # Fig. 16
    [Conv("1x1", 32)],
    reduced("3x3", 32, (32, 3)),
    reduced("double_3x3", 32, (48, 3), (64, 3)),
]
BLOCK17 = [[Conv("1x1", 192)], reduced("7x7", 128, (160, (1, 7)), (192, (7, 1)))]  # Fig. 17
BLOCK8 = [[Conv("1x1", 192)], reduced("3x3", 192, (224, (1, 3)), (256, (3, 1)))]  # Fig. 19
# As published, which differs slightly from the paper: the stem and the first module are v3's.
RESNET_MODULES: dict[str, Branches | Residual] = {
    "mixed_5b": inception_a(96, "5x5", 64),  # 35×35×320
    **{f"block35_{i}": Residual(BLOCK35, 0.17) for i in range(1, 11)},
    "mixed_6a": blocks.grid_reduction(256, 256, 384, 384),  # 17×17×1088
    **{f"block17_{i}": Residual(BLOCK17, 0.10) for i in range(1, 21)},
    "mixed_7a": [  # Fig. 18
        reduced("3x3_a", 256, (384, 3), **GRID),
        reduced("3x3_b", 256, (288, 3), **GRID),
        reduced("double_3x3", 256, (288, 3), (320, 3), **GRID),
        [Pool("max", **GRID)],
    ],  # 8×8×2080
    **{f"block8_{i}": Residual(BLOCK8, 0.20) for i in range(1, 10)},
    "block8_10": Residual(BLOCK8, 1.0, relu=False),
}


@network("inception_v4")
def InceptionV4(net: Builder, *, dropout: float = 0.2, **common: Unpack[Common]) -> keras.Model:
    """Build Inception v4, Szegedy et al., arXiv 1602.07261, Fig. 9.

    Input: 299×299 in the paper; 75×75 or larger. Stages are layers named after the published end points:
    ``conv2d_1a``, ``conv2d_2a``, ``conv2d_2b``, ``mixed_3a``, ``mixed_4a``, ``mixed_5a`` to ``mixed_5e``, ``mixed_6a``
    to ``mixed_6h``, ``mixed_7a`` to ``mixed_7d``.

    The top is global average pooling, dropout (the paper keeps 80%) and the classifier. Without a top, the output is
    that of the last module, 8×8×1536 for 299×299. There are no auxiliary classifiers.

    Weights: timm's inception_v4.
    """
    x = net.input(MIN_SIZE)
    conv_block = net.conv_block(batch_norm=blocks.BatchNorm())
    x = blocks.branch(x, blocks.STEM, conv_block=conv_block, name="conv2d")  # 147×147×64
    for stage, branches in V4_MODULES.items():
        x = blocks.module(x, branches, conv_block=conv_block, name=stage)
    return net.finish(x)


@network("inception_resnet_v2")
def InceptionResNetV2(net: Builder, *, dropout: float = 0.2, **common: Unpack[Common]) -> keras.Model:
    """Build Inception-ResNet v2, Szegedy et al., arXiv 1602.07261, Fig. 15, as published by its authors.

    Input: 299×299 in the paper; 75×75 or larger. Stages are layers named after the published end points:
    ``conv2d_1a`` to ``conv2d_4a``, ``maxpool_3a``, ``maxpool_5a``, ``mixed_5b``, ``mixed_6a``, ``mixed_7a``,
    ``conv2d_7b``; and the residual blocks ``block35_1`` to ``block35_10``, ``block17_1`` to ``block17_20``,
    ``block8_1`` to ``block8_10``.

    The top is global average pooling, dropout (the paper keeps 80%) and the classifier. Without a top, the output is
    that of ``conv2d_7b``, 8×8×1536 for 299×299. There are no auxiliary classifiers.

    Weights: inception_resnet_v2 of timm and of keras.applications, whose batch norm has no scale.
    """
    x = net.input(MIN_SIZE)
    conv_block = net.conv_block(batch_norm=batch_norm_of(net.checkpoint))

    x = stem(x, blocks.STEM, conv_block=conv_block)
    for stage, row in RESNET_MODULES.items():
        if isinstance(row, Residual):
            x = _residual(x, row, conv_block=conv_block, name=stage)
        else:
            x = blocks.module(x, row, conv_block=conv_block, name=stage)
    x = conv_block(x, 1536, 1, name="conv2d_7b")  # 8×8×1536
    return net.finish(x)


def _residual(x: KerasTensor, block: Residual, *, conv_block: ConvBlock, name: str) -> KerasTensor:
    """Add a residual block: (batch, h, w, c) -> (batch, h, w, c). Its sum is ``{name}``, its ReLU ``{name}_relu``."""
    y = blocks.branch(x, [Split("mixed", block.branches)], conv_block=conv_block, name=name)
    y = blocks.conv(y, x.shape[-1], 1, relu=False, name=f"{name}_conv")  # has a bias, but no batch norm or ReLU
    if block.scale != 1:
        y = layers.Rescaling(block.scale, name=f"{name}_scale")(y)
    x = layers.Add(name=name)([x, y])
    return layers.ReLU(name=f"{name}_relu")(x) if block.relu else x
