"""Network in Network: Lin et al., arXiv 1312.4400."""

import itertools
import os
from collections.abc import Mapping
from typing import NamedTuple

import keras
from keras import layers

from keras_inception.models.blocks import average_pool, conv, max_pool
from keras_inception.models.factory import Options, check
from keras_inception.weights import Checkpoint


class Mlpconv(NamedTuple):
    """A convolution and 1×1 convolutions, each with ReLU, then perhaps a 3×3/2 pooling and dropout (section 3.1).

    Attributes:
        filters: of the convolution and the 1×1 convolutions; of the last mlpconv one is left, that of the classes.
        pool: ``"max"`` or ``"average"``.
    """

    filters: tuple[int, ...]
    size: int
    strides: int = 1
    padding: str = "same"
    pool: str | None = None
    dropout: bool = False


# Section 4.2 and the authors' Caffe models, nin_cifar10 and nin_imagenet.
FORMS = {
    "cifar": (
        Mlpconv((192, 160, 96), 5, pool="max", dropout=True),  # 16×16×96
        Mlpconv((192, 192, 192), 5, pool="average", dropout=True),  # 8×8×192
        Mlpconv((192, 192), 3),  # 8×8×192
    ),
    "imagenet": (
        Mlpconv((96, 96, 96), 11, strides=4, padding="valid", pool="max"),  # 54×54, 27×27×96
        Mlpconv((256, 256, 256), 5, pool="max"),  # 13×13×256
        Mlpconv((384, 384, 384), 3, pool="max", dropout=True),  # 6×6×384
        Mlpconv((1024, 1024), 3),  # 6×6×1024
    ),
}
POOLS = {"max": max_pool, "average": average_pool}
SIZES = {"cifar": 32, "imagenet": 224}
MIN_SIZES = {"cifar": 8, "imagenet": 39}  # 39 is the least that leaves a pixel of pool3


def NetworkInNetwork(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    *,
    auxiliary: bool = False,
    form: str | None = None,
    dropout: float = 0.5,
    filters: Mapping[str, int] | None = None,
    skip_mismatch: bool = False,
    name: str = "network_in_network",
) -> keras.Model:
    """Network in Network, Lin et al., arXiv 1312.4400. It has no dense layer.

    Input: (batch, height, width, 3), 224×224 in the form for ImageNet (sides of 39 or more) and 32×32 in that for CIFAR
    (8 or more), in the channel order and range that the preprocessing of the training or of the weights' publisher
    yields (`keras_inception.Preprocessing`). Output: (batch, classes). Stages are layers named as in the authors' Caffe
    models, ``conv1``, ``cccp1``, ``cccp2``, ``pool1``, ``conv2`` and so on; ``cccp`` is a 1×1 convolution. The last of
    these is ``predictions_conv``.

    Args:
        include_top: end in a 1×1 convolution with a map for each class (section 3.2), ReLU, global average pooling and
            softmax. Without, the output is the map before, 6×6×1024 of 224×224 or 8×8×192 of 32×32, and the sides of
            ``input_shape`` may be None.
        weights: None for random ones, ``"imagenet"`` for published ones, or the path of a file with the tensors of the
            authors' nin_imagenet or nin_cifar10 for Caffe, in any format that `keras_inception.weights.read_tensors`
            knows. The attribute ``preprocessing`` is then the publisher's. nin_cifar10 was trained on whitened pictures
            (global contrast normalisation and ZCA, section 4.2), which is no matter of single channels: its
            ``preprocessing`` leaves pictures as they are, and whitening is up to you. Tensors of a top that is not
            asked for are skipped.
        input_tensor: a Keras tensor to build on in place of a new input.
        input_shape: (height, width, 3); (224, 224, 3) or (32, 32, 3) if there is a top.
        pooling: of the last map when there is no top: None, ``"avg"`` or ``"max"``; gives (batch, 1024 or 192).
        classes: number of classes; nin_cifar10 has 10.
        classifier_activation: None gives logits.
        auxiliary: must be False; the network has no auxiliary classifiers.
        form: ``"imagenet"``, four mlpconv layers, or ``"cifar"``, three. None is that of ``weights``, else
            ``"imagenet"``.
        dropout: rate after the first two poolings ("cifar") or the third ("imagenet"), in [0, 1).
        filters: of convolutions by name, where they are to be others than the paper's. A network that was slimmed
            (`keras_inception.compression.filter_pruning`) is this one with fewer.
        skip_mismatch: leave out tensors that are missing, left over or of another shape instead of raising.
        name: of the model.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: an argument is not one of the above, contradicts the weights, or the input is too small; or the
            file of weights is not understood, or does not fit.
        OSError: the file of weights cannot be read.
    """
    check("form", form, (None, *FORMS))
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
    checkpoint = options.read_weights("network_in_network")
    form = _form(checkpoint, form)
    inputs, x = options.image_input(SIZES[form], MIN_SIZES[form])

    numbers = itertools.count(1)
    unit = options.unit()
    for index, layer in enumerate(FORMS[form], 1):
        x = unit(x, layer.filters[0], layer.size, strides=layer.strides, padding=layer.padding, name=f"conv{index}")
        for width in layer.filters[1:]:
            x = unit(x, width, 1, name=f"cccp{next(numbers)}")
        if layer.pool:
            x = POOLS[layer.pool](x, strides=2, padding="ceil", name=f"pool{index}")
        if layer.dropout:
            x = layers.Dropout(dropout, name=f"pool{index}_dropout")(x)

    def top(x):
        x = conv(x, classes, 1, name="predictions_conv")
        x = layers.GlobalAveragePooling2D(dtype="float32", name="global_pool")(x)
        return layers.Activation(classifier_activation or "linear", dtype="float32", name="predictions")(x)

    return options.model(inputs, x, checkpoint, top=top)


def _form(checkpoint: Checkpoint | None, form: str | None) -> str:
    """The form of the weights, else of the argument; ValueError if they contradict each other."""
    if checkpoint is None:
        return form or "imagenet"
    found = "imagenet" if "conv4/kernel" in map(checkpoint.names.ours, checkpoint.tensors) else "cifar"
    checkpoint.check_option("form", form, found)
    return found
