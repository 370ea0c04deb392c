"""Inception v2 and v3: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, arXiv 1512.00567.

Here "v2" is the v2 of that paper. BN-Inception, which others call v2, is `keras_inception.BNInception`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Unpack

import keras
from keras import KerasTensor, layers

from keras_inception.models import blocks
from keras_inception.models.blocks import GRID, Branches, Conv, ConvBlock, Pool, Split, fork, projected, reduced
from keras_inception.models.factory import Builder, Common, network
from keras_inception.utils.checks import check_one_of
from keras_inception.weights import Checkpoint

MIN_SIZE = 75  # the last grid reduction then turns 3×3 into 1×1

STEMS = {  # 147×147×64
    "7x7": [Conv("1a", 64, 7, **GRID)],
    "factorised": blocks.STEM,  # section 6
}
# The 5×5 convolutions of the first three modules: as published, or as in Fig. 5.
FIVES = {"5x5": [(64, 5)], "two_3x3": [(64, 3), (64, 3)]}


def inception_a(one: int, five: str, pool: int) -> Branches:
    """Return the branches of Fig. 5, with `one` filters in the 1×1 branch and `pool` after the pooling."""
    return [
        [Conv("1x1", one)],
        reduced("5x5", 48, *FIVES[five]),
        reduced("double_3x3", 64, (96, 3), (96, 3)),
        projected("average", pool),
    ]


def _inception_b(c: int) -> Branches:
    """Return the branches of Fig. 6 with n = 7."""
    return [
        [Conv("1x1", 192)],
        reduced("7x7", c, (c, (1, 7)), (192, (7, 1))),
        reduced("double_7x7", c, (c, (7, 1)), (c, (1, 7)), (c, (7, 1)), (192, (1, 7))),
        projected("average", 192),
    ]


# Fig. 10
REDUCTION_17: Branches = [
    reduced("3x3", 192, (320, 3), **GRID),
    reduced("7x7", 192, (192, (1, 7)), (192, (7, 1)), (192, 3), **GRID),
    [Pool("max", **GRID)],
]
# Fig. 7
INCEPTION_C: Branches = [
    [Conv("1x1", 320)],
    [Conv("3x3_reduce", 384), fork("3x3", 384)],
    [*reduced("double_3x3", 448, (384, 3)), fork("double_3x3_2", 384)],
    projected("average", 192),
]
# First factors of factorized convolutions: 1×7 or 7×1 of a 7×7, or 3×3 of a 5×5.
FIRST_FACTORS = ("5x5_1", "double_3x3_1", "7x7_1", "double_7x7_1", "double_7x7_3")


def _modules(five: str) -> dict[str, Branches]:
    """Return the modules of Table 1, as in the published weights, by end point name."""
    return {
        "mixed_5b": inception_a(64, five, 32),  # 35×35×256
        "mixed_5c": inception_a(64, five, 64),  # 35×35×288
        "mixed_5d": inception_a(64, five, 64),
        "mixed_6a": blocks.grid_reduction(64, 96, 96, 384),  # 17×17×768
        "mixed_6b": _inception_b(128),
        "mixed_6c": _inception_b(160),
        "mixed_6d": _inception_b(160),
        "mixed_6e": _inception_b(192),
        "mixed_7a": REDUCTION_17,  # 8×8×1280
        "mixed_7b": INCEPTION_C,  # 8×8×2048
        "mixed_7c": INCEPTION_C,
    }


Step = Conv | Pool | Split


def _linear(step: Step) -> Step:
    """Return the step, without its ReLU if it is a first factor."""
    return step._replace(relu=False) if isinstance(step, Conv) and step.name in FIRST_FACTORS else step


def _at_stride_1(step: Step) -> Step:
    return step if isinstance(step, Split) or step.strides == 1 else step._replace(strides=1, padding=None)


def _each(change: Callable[[Step], Step], branches: Branches) -> Branches:
    return [[change(step) for step in steps] for steps in branches]


# How the map is halved (section 5): in the module's branches (Fig. 10), or by a pooling before or after them (Fig. 9).
REDUCTIONS = ("parallel", "pool_first", "pool_last")


def _reduction(kind: str, branches: Branches) -> Branches:
    """Convert the branches of the parallel reduction to one of the `REDUCTIONS`."""
    if kind == "parallel":
        return branches
    module, pool = Split("concat", _each(_at_stride_1, branches)), Pool("max", **GRID, name=kind)
    return [[pool, module] if kind == "pool_first" else [module, pool]]


class Ablation(NamedTuple):
    """The options of `InceptionV3` that the paper compares. The published weights have the defaults."""

    stem: str = "factorised"
    five: str = "5x5"
    factor_relu: bool = True
    head_batch_norm: bool = True
    reduction: str = "parallel"

    def check(self) -> None:
        """Raise ValueError if an option does not have one of its allowed values."""
        check_one_of("stem", self.stem, STEMS)
        check_one_of("five", self.five, FIVES)
        check_one_of("factor_relu", self.factor_relu, (True, False))
        check_one_of("head_batch_norm", self.head_batch_norm, (True, False))
        check_one_of("reduction", self.reduction, REDUCTIONS)

    def modules(self) -> dict[str, Branches]:
        """Return the branches of each module."""
        modules = _modules(self.five)
        if not self.factor_relu:
            modules = {key: _each(_linear, branches) for key, branches in modules.items()}
        for key in ("mixed_6a", "mixed_7a"):
            modules[key] = _reduction(self.reduction, modules[key])
        return modules


@network("inception_v3")
def InceptionV3(
    net: Builder,
    *,
    stem: str = "factorised",
    five: str = "5x5",
    factor_relu: bool = True,
    head_batch_norm: bool = True,
    reduction: str = "parallel",
    dropout: float = 0.2,
    transform_input: bool = False,
    **common: Unpack[Common],
) -> keras.Model:
    """Build Inception v3, Szegedy et al., Rethinking the Inception Architecture, arXiv 1512.00567, as published.

    Input: 299×299 in the paper; 75×75 or larger. Stages are layers named after the published end points:
    ``conv2d_1a``, ``conv2d_2a``, ``conv2d_2b``, ``maxpool_3a``, ``conv2d_3b``, ``conv2d_4a``, ``maxpool_5a``,
    ``mixed_5b`` to ``mixed_5d``, ``mixed_6a`` to ``mixed_6e``, ``mixed_7a`` to ``mixed_7c``.

    The top is global average pooling, dropout (0.2 in TF-slim, 0.5 in torchvision) and the classifier. Without a top,
    the output is that of the last module, 8×8×2048 for 299×299.

    With ``auxiliary=True`` the output is a dict of ``predictions`` and ``aux``, the auxiliary classifier on the last
    17×17 module, ``mixed_6e`` (section 4, Fig. 8). It has no dropout; `keras_inception.inference_model` removes it. It
    pools its 17×17 map to 5×5 (5×5 window, stride 3), which one 5×5 convolution reduces to 1×1. For images below 299
    pixels, the pooled map is zero-padded to 5×5; below 107 pixels, the pooling window is the whole map. Its weights
    therefore fit any image size.

    Weights: inception_v3 of torchvision, timm, keras.applications (which has no auxiliary classifier) and TF-slim.

    Options:
        stem: ``"7x7"``, one convolution, or ``"factorised"``, three 3×3 convolutions instead (section 6).
        five: the 5×5 convolutions of the 35×35 modules: ``"5x5"`` as published, or ``"two_3x3"`` (Fig. 5).
        factor_relu: ReLU between the factors of a convolution in the modules: between the 1×7 and 7×1 of a 7×7, or the
            two 3×3 of a 5×5. False keeps the first factor linear, which the paper found to be always inferior (section
            3.1, Fig. 2).
        head_batch_norm: batch norm also after the auxiliary classifier's 768-unit layer, not only after its first
            convolution: the "BN-auxiliary" of Table 3.
        reduction: how the two grid reductions halve the map (section 5): ``"parallel"``, pooling and convolutions of
            stride 2 side by side (Fig. 10); ``"pool_first"``, the pooling and then the module at stride 1, cheap but
            a bottleneck (Fig. 9, left); ``"pool_last"``, the reverse, expensive (Fig. 9, right).
        transform_input: torchvision's argument of that name, folded into ``preprocessing``: False normalizes with
            ImageNet's mean and standard deviation; True scales to [-1, 1], as torchvision's published weights and
            timm's ``tv_in1k`` and ``tf_in1k`` expect.
    """
    return _network(net, Ablation(stem, five, factor_relu, head_batch_norm, reduction))


@network("inception_v2")
def InceptionV2(
    net: Builder,
    *,
    stem: str = "7x7",
    five: str = "5x5",
    factor_relu: bool = True,
    head_batch_norm: bool = False,
    reduction: str = "parallel",
    dropout: float = 0.2,
    **common: Unpack[Common],
) -> keras.Model:
    """Build Inception v2, Szegedy et al., Rethinking the Inception Architecture, arXiv 1512.00567, section 6.

    This is `InceptionV3` as in the first row of the paper's Table 3: one 7×7 convolution replaces the stem's first
    three, and there is no batch norm after the auxiliary classifier's layer of 768 units. The rows in between, RMSProp
    and label smoothing, concern training.

    Sizes, options and names of layers are those of `InceptionV3`, without ``conv2d_2a`` and ``conv2d_2b``.

    Weights: none are published. ``weights`` is None or the path of a file saved from this network.

    Options:
        stem: as in `InceptionV3`.
        five: as in `InceptionV3`.
        factor_relu: as in `InceptionV3`.
        head_batch_norm: as in `InceptionV3`.
        reduction: as in `InceptionV3`.
    """
    return _network(net, Ablation(stem, five, factor_relu, head_batch_norm, reduction))


def _network(net: Builder, ablation: Ablation) -> keras.Model:
    ablation.check()
    if net.checkpoint and not net.checkpoint.is_own:
        for argument, value in Ablation()._asdict().items():
            net.checkpoint.check_option(argument, getattr(ablation, argument), value)
    batch_norm = batch_norm_of(net.checkpoint)
    x = net.input(MIN_SIZE)
    conv_block = net.conv_block(batch_norm=batch_norm)
    # torchvision's average pooling counts the zeros at the border.
    torchvision = net.checkpoint is not None and net.checkpoint.publisher == "torchvision"
    average_pool = partial(blocks.average_pool, count_border=torchvision)

    x = stem(x, STEMS[ablation.stem], conv_block=conv_block)
    heads = {}
    for name, branches in ablation.modules().items():
        x = blocks.module(x, branches, conv_block=conv_block, average_pool=average_pool, name=name)
        if net.auxiliary and name == "mixed_6e":
            heads["aux"] = _head(x, net, conv_block, batch_norm if ablation.head_batch_norm else None)
    return net.finish(x, heads=heads)


def batch_norm_of(checkpoint: Checkpoint | None) -> blocks.BatchNorm:
    """Return the batch norm settings of the weights. keras.applications and TF-slim have no scale."""
    return blocks.BatchNorm(scale=checkpoint is None or checkpoint.has("conv2d_1a_bn/gamma"))


def stem(x: KerasTensor, first: Sequence[Conv], *, conv_block: ConvBlock) -> KerasTensor:
    """Add all layers before the modules: (batch, 299, 299, 3) -> (batch, 35, 35, 192).

    Args:
        x: the image.
        first: the convolutions before the first pooling.
        conv_block: creates the convolutions.
    """
    x = blocks.branch(x, first, conv_block=conv_block, name="conv2d")  # 147×147×64
    x = blocks.max_pool(x, padding="valid", name="maxpool_3a")  # 73×73×64
    x = conv_block(x, 80, 1, name="conv2d_3b")
    x = conv_block(x, 192, 3, padding="valid", name="conv2d_4a")  # 71×71×192
    return blocks.max_pool(x, padding="valid", name="maxpool_5a")  # 35×35×192


def _head(x: KerasTensor, net: Builder, conv_block: ConvBlock, batch_norm: blocks.BatchNorm | None) -> KerasTensor:
    """Add the auxiliary classifier (section 4, Fig. 8): (batch, h, w, 768) -> (batch, classes), h and w known.

    `batch_norm` applies to the second convolution, the paper's fully connected layer.
    """
    x = blocks.auxiliary_pool(x, name="aux_pool")  # 5×5×768
    x = conv_block(x, 128, 1, name="aux_1x1")
    lacking = [max(0, 5 - side) for side in x.shape[1:3]]
    if any(lacking):
        x = layers.ZeroPadding2D([(zeros // 2, zeros - zeros // 2) for zeros in lacking], name="aux_pad")(x)
    x = conv_block(x, 768, 5, padding="valid", batch_norm=batch_norm, name="aux_5x5")  # 1×1×768
    x = layers.GlobalAveragePooling2D(name="aux_global_pool")(x)
    return net.classifier(x, dropout=0.0, name="aux")
