"""BN-Inception: Ioffe and Szegedy, Batch Normalization, arXiv 1502.03167."""

from functools import partial
from typing import NamedTuple, Unpack

import keras

from keras_inception.models import blocks
from keras_inception.models.blocks import BatchNorm, Branches, Conv, Pool, projected, reduced
from keras_inception.models.factory import Builder, Common, network

MIN_SIZE = 32


class Filters(NamedTuple):
    """Filter counts of a module, in the order of the columns of the paper's Fig. 5.

    In modules that halve the map, `one` and `pool` are 0, and the pooling keeps all channels.
    """

    one: int
    three_reduce: int
    three: int
    double_reduce: int
    double: int
    kind: str  # of the pooling: "average" or "max"
    pool: int


# Fig. 5 with the filter counts of the pretrainedmodels package. TF-slim has 96 in the projections of 4c and 4d.
MODULES = {
    "3a": Filters(64, 64, 64, 64, 96, "average", 32),
    "3b": Filters(64, 64, 96, 64, 96, "average", 64),
    "3c": Filters(0, 128, 160, 64, 96, "max", 0),
    "4a": Filters(224, 64, 96, 96, 128, "average", 128),
    "4b": Filters(192, 96, 128, 96, 128, "average", 128),
    "4c": Filters(160, 128, 160, 128, 160, "average", 128),
    "4d": Filters(96, 128, 192, 160, 192, "average", 128),
    "4e": Filters(0, 128, 192, 192, 256, "max", 0),
    "5a": Filters(352, 192, 320, 160, 224, "average", 128),
    "5b": Filters(352, 192, 320, 192, 224, "max", 128),
}


def _branches(f: Filters) -> Branches:
    """Return the branches of a module, with stride 2 if there is no 1×1 branch."""
    strides = 1 if f.one else 2
    threes = [
        reduced("3x3", f.three_reduce, (f.three, 3), strides=strides),
        reduced("double_3x3", f.double_reduce, (f.double, 3), (f.double, 3), strides=strides),
    ]
    if strides == 2:
        return [*threes, [Pool(f.kind, strides=2)]]
    return [[Conv("1x1", f.one)], *threes, projected(f.kind, f.pool)]


@network("bn_inception")
def BNInception(net: Builder, *, dropout: float = 0.0, **common: Unpack[Common]) -> keras.Model:
    """Build BN-Inception, Ioffe and Szegedy, arXiv 1502.03167, Fig. 5, as in the pretrainedmodels package.

    Convolutions keep their bias before batch norm, and average pooling counts the zeros at the border.

    Input: 224×224 in the paper; 32×32 or larger. Stages are layers named ``conv1``, ``pool1``, ``conv2``,
    ``pool2``, ``inception_3a`` to ``inception_5b``.

    The top is global average pooling, dropout (which the paper removes, section 4.2.1) and the classifier. Without a
    top, the output is that of the last module, 7×7×1024 for 224×224. There are no auxiliary classifiers.

    Weights: bninception of the pretrainedmodels package.
    """
    x = net.input(MIN_SIZE)
    conv_block = net.conv_block(padding="symmetric", batch_norm=BatchNorm(epsilon=1e-5, bias=True))
    # Max pooling in the modules is "same". On even maps, the only ones that the publisher's network accepts, it equals
    # the publisher's "ceil"; on odd maps, its output is as large as that of the other branches.
    average_pool = partial(blocks.average_pool, count_border=True)

    x = conv_block(x, 64, 7, strides=2, name="conv1")  # 112×112×64
    x = blocks.max_pool(x, padding="ceil", name="pool1")  # 56×56×64
    x = conv_block(x, 64, 1, name="conv2_reduce")
    x = conv_block(x, 192, 3, name="conv2")  # 56×56×192
    x = blocks.max_pool(x, padding="ceil", name="pool2")  # 28×28×192
    for key, row in MODULES.items():
        branches, name = _branches(row), f"inception_{key}"
        x = blocks.module(x, branches, conv_block=conv_block, average_pool=average_pool, name=name)
    return net.finish(x)
