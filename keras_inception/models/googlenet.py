"""GoogLeNet, the first Inception network: Szegedy et al., Going Deeper with Convolutions, arXiv 1409.4842."""

from functools import partial
from typing import NamedTuple, Unpack

import keras
from keras import KerasTensor, layers

from keras_inception.layers import LocalResponseNormalization
from keras_inception.models import blocks
from keras_inception.models.blocks import BatchNorm, Branches, Conv, ConvBlock, Pool, projected, reduced
from keras_inception.models.factory import Builder, Common, network
from keras_inception.utils.checks import check_one_of
from keras_inception.weights import Checkpoint


class Filters(NamedTuple):
    """Filter counts of an Inception v1 module, in the order of the columns of Table 1."""

    one: int
    three_reduce: int
    three: int
    five_reduce: int
    five: int
    pool: int


# Table 1 of the paper, by stage and module.
MODULES = {
    "3a": Filters(64, 96, 128, 16, 32, 32),
    "3b": Filters(128, 128, 192, 32, 96, 64),
    "4a": Filters(192, 96, 208, 16, 48, 64),
    "4b": Filters(160, 112, 224, 24, 64, 64),
    "4c": Filters(128, 128, 256, 24, 64, 64),
    "4d": Filters(112, 144, 288, 32, 64, 64),
    "4e": Filters(256, 160, 320, 32, 128, 128),
    "5a": Filters(256, 160, 320, 32, 128, 128),
    "5b": Filters(384, 192, 384, 48, 128, 128),
}
MIN_SIZE = 32
# Strides of conv1, pool1 and pool2 by their total downsampling factor, which is 8 in the paper.
STEM_STRIDES = {8: (2, 2, 2), 4: (1, 2, 2), 2: (1, 1, 2)}


class Layout(NamedTuple):
    """Differences between the GoogLeNets with published weights."""

    batch_norm: BatchNorm | None
    five_kernel: int
    padding: str = "same"  # or "symmetric": zeros on every side, as in Caffe and torch
    pool4_size: int = 3
    adaptive_heads: bool = False


LAYOUTS = {
    "lrn": Layout(None, five_kernel=5),
    "batch_norm": Layout(BatchNorm(), five_kernel=3),
    "caffe": Layout(None, five_kernel=5, padding="symmetric"),
    "torchvision": Layout(BatchNorm(), five_kernel=3, padding="symmetric", pool4_size=2, adaptive_heads=True),
    "tf_slim": Layout(BatchNorm(scale=False), five_kernel=3, pool4_size=2),
}


def inception(f: Filters, five_kernel: int = 5) -> Branches:
    """Return the branches of an Inception module with dimension reduction (Fig. 2b).

    (batch, h, w, c) -> (batch, h, w, f.one + f.three + f.five + f.pool). ``five_kernel=3`` is the module of TF-slim
    and torchvision, whose "5x5" branch has a 3×3 kernel.
    """
    return [
        [Conv("1x1", f.one)],
        reduced("3x3", f.three_reduce, (f.three, 3)),
        reduced("5x5", f.five_reduce, (f.five, five_kernel)),
        projected("max", f.pool),
    ]


def inception_naive(f: Filters, five_kernel: int = 5) -> Branches:
    """Return the branches of a naive Inception module (Fig. 2a): no reductions, and the pooling keeps all its channels.

    (batch, h, w, c) -> (batch, h, w, f.one + f.three + f.five + c): stacked modules can only grow wider.
    """
    return [[Conv("1x1", f.one)], [Conv("3x3", f.three, 3)], [Conv("5x5", f.five, five_kernel)], [Pool("max")]]


MODULE_KINDS = {"reduced": inception, "naive": inception_naive}


def auxiliary_head(
    x: KerasTensor, classes: int, *, conv_block: ConvBlock, adaptive: bool = False, activation: str | None, name: str
) -> KerasTensor:
    """Add an auxiliary classifier (section 5): (batch, h, w, c) -> (batch, classes), h and w known.

    The layers are 5×5 average pooling with stride 3 (a 14×14 map becomes 4×4), a 1×1 convolution with 128 filters, a
    dense layer of 1024 units, dropout of 0.7 and the classifier. On a map smaller than 5×5, the pooling window is
    clipped to the map.

    Args:
        x: output of the module that the head is attached to.
        classes: number of classes.
        conv_block: creates the convolution.
        adaptive: pool any map to 4×4 instead, as torchvision does.
        activation: activation of the classifier; None returns logits.
        name: name of the classifier, the prefix of all layer names.
    """
    pool = partial(blocks.adaptive_average_pool, side=4) if adaptive else blocks.auxiliary_pool
    x = pool(x, name=f"{name}_pool")
    x = conv_block(x, 128, 1, name=f"{name}_conv")
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(1024, activation="relu", kernel_initializer="he_normal", name=f"{name}_fc")(x)
    return blocks.classifier(x, classes, dropout=0.7, activation=activation, name=name)


def _lrn(x: KerasTensor, name: str, builtin: bool = False) -> KerasTensor:
    # The paper gives no constants. These are AlexNet's, as in Caffe (alpha 1e-4, divided by the window size of 5).
    return LocalResponseNormalization(2, bias=1.0, alpha=2e-5, beta=0.75, builtin=builtin, name=name)(x)


@network("googlenet")
def GoogLeNet(
    net: Builder,
    *,
    module: str = "reduced",
    normalization: str | None = None,
    five_kernel: int | None = None,
    stem_stride: int = 8,
    dropout: float = 0.4,
    transform_input: bool = False,
    **common: Unpack[Common],
) -> keras.Model:
    """Build GoogLeNet (Inception v1), Szegedy et al., Going Deeper with Convolutions, arXiv 1409.4842, Table 1.

    Input: 224×224 in the paper; 32×32 or larger. Stages are layers named ``conv1``, ``pool1``, ``conv2``,
    ``pool2``, ``inception_3a`` and so on.

    The top is global average pooling, dropout (0.4 in Table 1) and the classifier. Without a top, the output is that
    of the last module, (batch, height / 32, width / 32, 1024).

    With ``auxiliary=True`` the output is a dict of ``predictions``, ``aux_4a`` and ``aux_4d``, the auxiliary
    classifiers on modules 4a and 4d (section 5), whose dropout is 0.7; `keras_inception.inference_model` removes them.
    A head pools its 14×14 map to 4×4 (5×5 window, stride 3). Smaller images give smaller maps: from 65 to 127 pixels, a
    head sees a single 5×5 window in the upper left of the map; below that, the average of the whole map.

    Weights: googlenet of torchvision, bvlc_googlenet of Caffe and inception_v1 of TF-slim.

    Options:
        module: ``"reduced"`` (Fig. 2b), or ``"naive"`` (Fig. 2a: no 1×1 reductions, the pooling keeps all channels).
        normalization: ``"lrn"`` (the paper) or ``"batch_norm"`` (torchvision and TF-slim: after every convolution, in
            place of the bias). None follows `weights`; without weights it is ``"lrn"``. ``"lrn_builtin"`` computes
            ``"lrn"`` with the built-in operation of TensorFlow and TFLite, which is slow on phones; it is meant for
            comparison.
        five_kernel: kernel size of the 5×5 branch, 5 or 3. None is 5 with LRN and 3 with batch norm, as published.
        stem_stride: downsampling factor of the layers before 3a: 8 as in the paper, 4 for 64-pixel images, or 2 for
            32-pixel images, of which a factor of 8 would leave little. Factors below 8 depart from the paper: kernels
            stay the same, but conv1, and with 2 also pool1, have a stride of 1. The minimum input size is then 16 or 8
            pixels. The weights fit any factor.
        transform_input: torchvision's argument of that name, folded into ``preprocessing``: False normalizes with
            ImageNet's mean and standard deviation; True scales to [-1, 1], as torchvision's published weights expect
            and ``"imagenet"`` does automatically.
    """
    check_one_of("module", module, MODULE_KINDS)
    check_one_of("normalization", normalization, (None, "lrn", "lrn_builtin", "batch_norm"))
    check_one_of("five_kernel", five_kernel, (None, 3, 5))
    check_one_of("stem_stride", stem_stride, STEM_STRIDES)
    builtin = normalization == "lrn_builtin"
    layout = _layout(net.checkpoint, "lrn" if builtin else normalization)
    if net.checkpoint and not net.checkpoint.is_own:
        net.checkpoint.check_option("five_kernel", five_kernel, layout.five_kernel)
        net.checkpoint.check_option("module", module, "reduced")

    x = net.input(MIN_SIZE * stem_stride // 8)
    strides, kernel = STEM_STRIDES[stem_stride], five_kernel or layout.five_kernel
    conv_block = net.conv_block(padding=layout.padding, batch_norm=layout.batch_norm)
    pool = partial(blocks.max_pool, padding="same" if layout.padding == "same" else "ceil")
    normalize = (lambda x, name: x) if layout.batch_norm else partial(_lrn, builtin=builtin)

    x = conv_block(x, 64, 7, strides=strides[0], name="conv1")  # 112×112×64
    x = normalize(pool(x, strides=strides[1], name="pool1"), name="pool1_norm")  # 56×56×64
    x = conv_block(x, 64, 1, name="conv2_reduce")
    x = normalize(conv_block(x, 192, 3, name="conv2"), name="conv2_norm")  # 56×56×192
    x = pool(x, strides=strides[2], name="pool2")  # 28×28×192
    heads = {}
    for key, filters in MODULES.items():
        if key == "4a":
            x = pool(x, name="pool3")  # 14×14×480
        if key == "5a":
            x = pool(x, layout.pool4_size, name="pool4")  # 7×7×832
        branches = MODULE_KINDS[module](filters, kernel)
        x = blocks.module(x, branches, conv_block=conv_block, name=f"inception_{key}")
        if net.auxiliary and (name := f"aux_{key}") in net.row.heads:
            adaptive, activation = layout.adaptive_heads, net.classifier_activation
            heads[name] = auxiliary_head(
                x, net.classes, conv_block=conv_block, adaptive=adaptive, activation=activation, name=name
            )
    return net.finish(x, heads=heads)


def _layout(checkpoint: Checkpoint | None, normalization: str | None) -> Layout:
    """Return the layout of the weights, or else of the argument. Raise ValueError if they contradict each other."""
    if checkpoint is None:
        return LAYOUTS[normalization or "lrn"]
    own = "batch_norm" if checkpoint.has("conv1_bn/beta") else "lrn"
    layout = LAYOUTS[own if checkpoint.is_own else checkpoint.publisher]
    checkpoint.check_option("normalization", normalization, "batch_norm" if layout.batch_norm else "lrn")
    return layout
