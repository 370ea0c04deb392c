"""Inception v2 and v3: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, arXiv 1512.00567.

Here "v2" is that paper's; BN-Inception, which others call v2, is `keras_inception.BNInception`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Unpack

import keras
from keras import KerasTensor, layers

from keras_inception.models.blocks import (
    GRID,
    STEM,
    BatchNorm,
    Branches,
    Conv,
    ConvBlock,
    Pool,
    Split,
    average_pool,
    branch,
    classifier,
    fork,
    grid_reduction,
    max_pool,
    module,
    projected,
    reduced,
)
from keras_inception.models.factory import Builder, Common, Shape, Weights, check, network
from keras_inception.weights import Checkpoint

MIN_SIZE = 75  # the last grid reduction then turns 3×3 into 1×1

STEMS = {  # 147×147×64
    "7x7": [Conv("1a", 64, 7, **GRID)],
    "factorised": STEM,  # section 6
}
# The 5×5 convolutions of the first three modules: as published, or as in Fig. 5.
FIVES = {"5x5": [(64, 5)], "two_3x3": [(64, 3), (64, 3)]}


def _factorised_5x5(five: str, pool: int) -> Branches:
    """Return the branches of Fig. 5."""
    return [
        [Conv("1x1", 64)],
        reduced("5x5", 48, *FIVES[five]),
        reduced("double_3x3", 64, (96, 3), (96, 3)),
        projected("average", pool),
    ]


def _asymmetric(c: int) -> Branches:
    """Return the branches of Fig. 6 with n = 7."""
    return [
        [Conv("1x1", 192)],
        reduced("7x7", c, (c, (1, 7)), (192, (7, 1))),
        reduced("double_7x7", c, (c, (7, 1)), (c, (1, 7)), (c, (7, 1)), (192, (1, 7))),
        projected("average", 192),
    ]


# Fig. 10
GRID_17: Branches = [
    reduced("3x3", 192, (320, 3), **GRID),
    reduced("7x7", 192, (192, (1, 7)), (192, (7, 1)), (192, 3), **GRID),
    [Pool("max", **GRID)],
]
# Fig. 7
EXPANDED: Branches = [
    [Conv("1x1", 320)],
    [Conv("3x3_reduce", 384), fork("3x3", 384)],
    [*reduced("double_3x3", 448, (384, 3)), fork("double_3x3_2", 384)],
    projected("average", 192),
]
# The convolutions that are the first of two factors: 7×1 of 7×7, or 3×3 of 5×5.
FIRST_FACTORS = ("5x5_1", "double_3x3_1", "7x7_1", "double_7x7_1", "double_7x7_3")


def _modules(five: str) -> dict[str, Branches]:
    """Return the modules of Table 1 as published with weights, by the names of the published end points."""
    return {
        "mixed_5b": _factorised_5x5(five, 32),  # 35×35×256
        "mixed_5c": _factorised_5x5(five, 64),  # 35×35×288
        "mixed_5d": _factorised_5x5(five, 64),
        "mixed_6a": grid_reduction(64, 96, 96, 384),  # 17×17×768
        "mixed_6b": _asymmetric(128),
        "mixed_6c": _asymmetric(160),
        "mixed_6d": _asymmetric(160),
        "mixed_6e": _asymmetric(192),
        "mixed_7a": GRID_17,  # 8×8×1280
        "mixed_7b": EXPANDED,  # 8×8×2048
        "mixed_7c": EXPANDED,
    }


AUXILIARY = "mixed_6e"
Step = Conv | Pool | Split


def _linear(step: Step) -> Step:
    """Return the step, without its ReLU if it is the first of two factors."""
    return step._replace(relu=False) if isinstance(step, Conv) and step.name in FIRST_FACTORS else step


def _at_stride_1(step: Step) -> Step:
    return step if isinstance(step, Split) or step.strides == 1 else step._replace(strides=1, padding=None)


def _each(change: Callable[[Step], Step], branches: Branches) -> Branches:
    return [[change(step) for step in steps] for steps in branches]


# How the map is halved (section 5): in the module's branches (Fig. 10), or by a pooling before or after them (Fig. 9).
REDUCTIONS: dict[str, Callable[[Branches], Branches]] = {
    "parallel": lambda branches: branches,
    "pool_first": lambda branches: [
        [Pool("max", **GRID, name="pool_first"), Split("concat", _each(_at_stride_1, branches))]
    ],
    "pool_last": lambda branches: [
        [Split("concat", _each(_at_stride_1, branches)), Pool("max", **GRID, name="pool_last")]
    ],
}


class Ablation(NamedTuple):
    """The options of `InceptionV3` along which the paper compares; the defaults are those published with weights."""

    stem: str = "factorised"
    five: str = "5x5"
    factor_relu: bool = True
    head_batch_norm: bool = True
    reduction: str = "parallel"

    def check(self) -> None:
        """Raise ValueError for an option that is not among those allowed."""
        check("stem", self.stem, tuple(STEMS))
        check("five", self.five, tuple(FIVES))
        check("factor_relu", self.factor_relu, (True, False))
        check("head_batch_norm", self.head_batch_norm, (True, False))
        check("reduction", self.reduction, tuple(REDUCTIONS))

    def modules(self) -> dict[str, Branches]:
        """Return the branches of each module."""
        modules = _modules(self.five)
        if not self.factor_relu:
            modules = {key: _each(_linear, branches) for key, branches in modules.items()}
        for key in ("mixed_6a", "mixed_7a"):
            modules[key] = REDUCTIONS[self.reduction](modules[key])
        return modules


class Layout(NamedTuple):
    """The differences between the Inception v3s that were published with weights."""

    batch_norm: BatchNorm = BatchNorm()
    count_border: bool = False  # in the modules' average poolings


WITHOUT_SCALE = Layout(BatchNorm(scale=False))
LAYOUTS = {
    "keras_inception": Layout(),
    "keras": WITHOUT_SCALE,
    "torchvision": Layout(count_border=True),
    "tf_slim": WITHOUT_SCALE,
}


@network("inception_v3")
def InceptionV3(
    net: Builder,
    include_top: bool = True,
    weights: Weights = None,
    input_tensor: KerasTensor | None = None,
    input_shape: Shape | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
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

    Input: 299×299 in the paper, sides of 75 pixels or more. Stages are layers named after the published end points:
    ``conv2d_1a``, ``conv2d_2a``, ``conv2d_2b``, ``maxpool_3a``, ``conv2d_3b``, ``conv2d_4a``, ``maxpool_5a``,
    ``mixed_5b`` to ``mixed_5d``, ``mixed_6a`` to ``mixed_6e``, ``mixed_7a`` to ``mixed_7c``.

    The top is global average pooling, dropout (0.2 in TF-slim, 0.5 in torchvision) and the classifier. Without a top,
    the output is that of the last module, 8×8×2048 for 299×299.

    With ``auxiliary=True`` the output is a dict of ``predictions`` and ``aux``, the auxiliary classifier on the last
    17×17 module, ``mixed_6e`` (section 4, Fig. 8), which has no dropout; `keras_inception.inference_model` removes it.
    It pools its 17×17 map to 5×5 (5×5, stride 3), which a 5×5 convolution reads at once. For images below 299 pixels,
    zeros around the pooled map make it 5×5; below 107 pixels, the pooling window is the whole map. So its weights fit
    any size.

    Weights: inception_v3 of torchvision, timm, keras.applications (which has no auxiliary classifier) and TF-slim.

    Options:
        stem: ``"7x7"``, one convolution, or ``"factorised"``, three of 3×3 in its place (section 6).
        five: the 5×5 convolutions of the 35×35 modules: ``"5x5"`` as published, or ``"two_3x3"`` (Fig. 5).
        factor_relu: ReLU between the factors of a convolution: between the 1×7 and the 7×1, or the two 3×3, that stand
            for one of 7×7 or 5×5 in the modules. False leaves the first factor linear, which the paper found always
            inferior (section 3.1, Fig. 2).
        head_batch_norm: batch norm after the auxiliary classifier's layer of 768 units too, not only after its first
            convolution: the "BN-auxiliary" of Table 3.
        reduction: how the two grid reductions halve the map (section 5): ``"parallel"``, pooling and convolutions of
            stride 2 side by side (Fig. 10); ``"pool_first"``, the pooling and then the module at stride 1, cheap but
            a bottleneck (Fig. 9, left); ``"pool_last"``, the other way round, expensive (Fig. 9, right).
        transform_input: torchvision's argument of that name, composed into ``preprocessing``: False normalizes by
            ImageNet's mean and deviation; True to -1 … 1, as torchvision's published weights and timm's ``tv_in1k``
            and ``tf_in1k`` expect.
    """
    return _network(net, Ablation(stem, five, factor_relu, head_batch_norm, reduction))


@network("inception_v2")
def InceptionV2(
    net: Builder,
    include_top: bool = True,
    weights: Weights = None,
    input_tensor: KerasTensor | None = None,
    input_shape: Shape | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
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

    It is `InceptionV3` at the first row of the paper's Table 3: one 7×7 convolution replaces the stem's first three,
    and there is no batch norm after the auxiliary classifier's layer of 768 units. The rows between, RMSProp and label
    smoothing, concern the training.

    Sizes, options and names of layers are those of `InceptionV3`, without ``conv2d_2a`` and ``conv2d_2b``.

    Weights: nobody has published any. ``weights`` is None or the path of a file of this network's own.

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
    layout = _layout(net.checkpoint, ablation)
    x = net.input(MIN_SIZE)
    conv_block = net.conv_block(batch_norm=layout.batch_norm)
    average = partial(average_pool, count_border=layout.count_border)

    x = branch(x, STEMS[ablation.stem], conv_block=conv_block, name="conv2d")  # 147×147×64
    x = max_pool(x, padding="valid", name="maxpool_3a")  # 73×73×64
    x = conv_block(x, 80, 1, name="conv2d_3b")
    x = conv_block(x, 192, 3, padding="valid", name="conv2d_4a")  # 71×71×192
    x = max_pool(x, padding="valid", name="maxpool_5a")  # 35×35×192
    heads = {}
    for key, branches in ablation.modules().items():
        x = module(x, branches, conv_block=conv_block, average_pool=average, name=key)
        if net.auxiliary and key == AUXILIARY:
            batch_norm = layout.batch_norm if ablation.head_batch_norm else None
            heads["aux"] = _head(x, net, conv_block=conv_block, batch_norm=batch_norm)
    return net.finish(x, heads=heads)


def _head(x: KerasTensor, net: Builder, *, conv_block: ConvBlock, batch_norm: BatchNorm | None) -> KerasTensor:
    """Add the auxiliary classifier (section 4, Fig. 8): (batch, h, w, 768) -> (batch, classes), h and w known.

    `batch_norm` is that of the second convolution, the paper's fully connected layer.
    """
    window = tuple(min(5, side) for side in x.shape[1:3])
    x = layers.AveragePooling2D(window, strides=3, name="aux_pool")(x)  # 5×5×768
    x = conv_block(x, 128, 1, name="aux_1x1")
    lacking = [max(0, 5 - side) for side in x.shape[1:3]]
    if any(lacking):
        x = layers.ZeroPadding2D([(zeros // 2, zeros - zeros // 2) for zeros in lacking], name="aux_pad")(x)
    x = conv_block(x, 768, 5, padding="valid", batch_norm=batch_norm, name="aux_5x5")  # 1×1×768
    x = layers.GlobalAveragePooling2D(name="aux_global_pool")(x)
    return classifier(x, net.classes, dropout=0.0, activation=net.activation, name="aux")


def _layout(checkpoint: Checkpoint | None, ablation: Ablation) -> Layout:
    """Return the layout of the weights; raise ValueError if an option contradicts them."""
    if checkpoint is None:
        return LAYOUTS["keras_inception"]
    if checkpoint.is_own:  # they may have come from a publisher without scale
        return LAYOUTS["keras_inception"] if checkpoint.has("conv2d_1a_bn/gamma") else WITHOUT_SCALE
    for argument, value in Ablation()._asdict().items():
        checkpoint.check_option(argument, getattr(ablation, argument), value)
    return LAYOUTS[checkpoint.publisher]
