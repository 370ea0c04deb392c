"""BN-Inception: Ioffe and Szegedy, Batch Normalization, arXiv 1502.03167."""

import os
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import keras

from keras_inception.models.blocks import (
    BatchNorm,
    Branches,
    Conv,
    Pool,
    average_pool,
    max_pool,
    module,
    projected,
    reduced,
)
from keras_inception.models.factory import Options

MIN_SIZE = 32


class Filters(NamedTuple):
    """The columns of the paper's Fig. 5; one and pool are 0 where the map is halved, and the pooling passes all on."""

    one: int
    three_reduce: int
    three: int
    double_reduce: int
    double: int
    kind: str  # of the pooling
    pool: int


# Fig. 5 with the filters of the package pretrainedmodels; TF-slim's projections of 4c and 4d have 96.
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
    """The module's branches; without a 1×1 branch they are of stride 2."""
    strides = 1 if f.one else 2
    threes = [
        reduced("3x3", f.three_reduce, (f.three, 3), strides=strides),
        reduced("double_3x3", f.double_reduce, (f.double, 3), (f.double, 3), strides=strides),
    ]
    if strides == 2:
        return [*threes, [Pool(f.kind, strides=2)]]
    return [[Conv("1x1", f.one)], *threes, projected(f.kind, f.pool)]


def BNInception(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    *,
    auxiliary: bool = False,
    dropout: float = 0.0,
    filters: Mapping[str, int] | None = None,
    skip_mismatch: bool = False,
    name: str = "bn_inception",
) -> keras.Model:
    """BN-Inception, Ioffe and Szegedy, arXiv 1502.03167, Fig. 5, as the package pretrainedmodels has it.

    Every convolution has a bias of its own before the batch norm, and the average poolings count the border.

    Input: (batch, height, width, 3), sides of 32 or more, 224×224 in the paper, in the channel order and range that
    the preprocessing of the training or of the weights' publisher yields (`keras_inception.Preprocessing`). Output:
    (batch, classes). Stages are layers named ``conv1``, ``pool1``, ``conv2``, ``pool2``, ``inception_3a`` to
    ``inception_5b``.

    Args:
        include_top: end in global average pooling, dropout and classifier. Without, the output is that of the last
            module, 7×7×1024 of 224×224, and the sides of ``input_shape`` may be None.
        weights: None for random ones, ``"imagenet"`` for published ones, or the path of a file with the tensors of
            bninception of the package pretrainedmodels, in any format that `keras_inception.weights.read_tensors`
            knows. The attribute ``preprocessing`` is then the publisher's.
        input_tensor: a Keras tensor to build on in place of a new input.
        input_shape: (height, width, 3); (224, 224, 3) if there is a top.
        pooling: of the last map when there is no top: None, ``"avg"`` or ``"max"``; gives (batch, 1024).
        classes: number of classes.
        classifier_activation: None gives logits.
        auxiliary: must be False; the network has no auxiliary classifiers here.
        dropout: rate before the classifier, in [0, 1); the paper removes it (section 4.2.1).
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
    checkpoint = options.read_weights("bn_inception")
    inputs, x = options.image_input(224, MIN_SIZE)
    unit = options.unit(padding="symmetric", batch_norm=BatchNorm(epsilon=1e-5, bias=True))
    # In the modules max pooling is "same": the publisher's "ceil" on the even maps that his network can take, and as
    # large as the other branches on odd ones.
    pool = partial(average_pool, count_border=True)

    x = unit(x, 64, 7, strides=2, name="conv1")  # 112×112×64
    x = max_pool(x, padding="ceil", name="pool1")  # 56×56×64
    x = unit(x, 64, 1, name="conv2_reduce")
    x = unit(x, 192, 3, name="conv2")  # 56×56×192
    x = max_pool(x, padding="ceil", name="pool2")  # 28×28×192
    for key, row in MODULES.items():
        x = module(x, _branches(row), unit=unit, average_pool=pool, name=f"inception_{key}")
    return options.model(inputs, x, checkpoint)
