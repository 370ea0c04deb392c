"""ResNet and its plain relative: He et al., Deep Residual Learning for Image Recognition, arXiv 1512.03385."""

import os
from collections.abc import Mapping

import keras
from keras import layers

from keras_inception.layers import ZeroPaddingShortcut
from keras_inception.models.blocks import BatchNorm, Unit, max_pool
from keras_inception.models.factory import Options, check

# Table 1 of the paper, 34 layers: of each stage the filters, and the number of blocks of two convolutions.
STAGES = {"conv2": (64, 3), "conv3": (128, 4), "conv4": (256, 6), "conv5": (512, 3)}
SHORTCUTS = ("A", "B")
MIN_SIZE = 32


def basic_block(
    x: keras.KerasTensor, filters: int, *, strides: int, unit: Unit, shortcut: str | None, name: str
) -> keras.KerasTensor:
    """Two 3×3 convolutions and what passes them by (1512.03385, Fig. 5 left).

    (batch, h, w, c) -> (batch, h / strides, w / strides, filters), rounded up.

    Args:
        shortcut: where the shape changes, ``"A"`` pads the channels by zeros and ``"B"`` projects by a 1×1 convolution
            (section 3.3); elsewhere both are the identity. None is a plain block, in which nothing passes by.
        name: of the block's output; its layers are ``{name}_1``, ``{name}_2`` and ``{name}_shortcut``.
    """
    y = unit(x, filters, 3, strides=strides, name=f"{name}_1")
    y = unit(y, filters, 3, relu=False, name=f"{name}_2")
    if shortcut:
        if strides > 1 or x.shape[-1] != y.shape[-1]:
            if shortcut == "A":
                x = ZeroPaddingShortcut(y.shape[-1], strides, name=f"{name}_shortcut")(x)
            else:
                x = unit(x, filters, 1, strides=strides, relu=False, name=f"{name}_shortcut")
        y = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=name)(y)


def ResNet34(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    *,
    auxiliary: bool = False,
    shortcut: str | None = None,
    dropout: float = 0.0,
    filters: Mapping[str, int] | None = None,
    skip_mismatch: bool = False,
    name: str = "resnet34",
) -> keras.Model:
    """ResNet-34, He et al., arXiv 1512.03385, Table 1.

    Convolutions and poolings of stride 2 have zeros on every side, as torchvision and keras.applications pad them, and
    the batch norms torchvision's epsilon of 1e-5.

    Input: (batch, height, width, 3), sides of 32 or more, 224×224 in the paper, in the channel order and range that
    the preprocessing of the training or of the weights' publisher yields (`keras_inception.Preprocessing`). Output:
    (batch, classes). Stages are layers named ``conv1``, ``pool1`` and, after the paper's conv2_x to conv5_x, the
    blocks ``conv2_1`` to ``conv5_3``; a block's convolutions are ``conv2_1_1`` and ``conv2_1_2``, and where the shape
    changes ``conv3_1_shortcut``.

    Args:
        include_top: end in global average pooling, dropout and classifier. Without, the output is that of ``conv5_3``,
            7×7×512 of 224×224, and the sides of ``input_shape`` may be None.
        weights: None for random ones, ``"imagenet"`` for published ones, or the path of a file with the tensors of
            torchvision's or timm's resnet34, in any format that `keras_inception.weights.read_tensors` knows. The
            attribute ``preprocessing`` is then torchvision's. Tensors of a top that is not asked for are skipped.
        input_tensor: a Keras tensor to build on in place of a new input.
        input_shape: (height, width, 3); (224, 224, 3) if there is a top.
        pooling: of the last map when there is no top: None, ``"avg"`` or ``"max"``; gives (batch, 512).
        classes: number of classes.
        classifier_activation: None gives logits.
        auxiliary: must be False; the network has no auxiliary classifiers.
        shortcut: where the shape changes, ``"B"`` for 1×1 projections or ``"A"`` for zeros in the new channels, which
            have no parameters (section 3.3). None is as ``weights`` have it, else ``"B"``, as torchvision has it.
        dropout: rate before the classifier, in [0, 1); the paper has none (section 3.4).
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
    check("shortcut", shortcut, (None, *SHORTCUTS))
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
    return _of_34_layers("resnet34", options, shortcut)


def Plain34(
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
    name: str = "plain34",
) -> keras.Model:
    """Plain-34, the paper's measure for ResNet-34 (1512.03385, Fig. 3 middle): `ResNet34` without its shortcuts.

    Input, output, names of the stages, arguments and errors are those of `ResNet34`. Nobody has published weights:
    ``weights`` are None or the path of a file of ours.
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
    return _of_34_layers("plain34", options, None)


def _of_34_layers(family: str, options: Options, shortcut: str | None) -> keras.Model:
    """The network of a key of `keras_inception.weights.publishers.PUBLISHERS`."""
    options.refuse_auxiliary()
    checkpoint = options.read_weights(family)
    if family == "resnet34":
        if checkpoint:
            projected = "conv3_1_shortcut/kernel" in map(checkpoint.names.ours, checkpoint.tensors)
            checkpoint.check_option("shortcut", shortcut, "B" if projected else "A")
            shortcut = "B" if projected else "A"
        shortcut = shortcut or "B"
    inputs, x = options.image_input(224, MIN_SIZE)
    unit = options.unit(padding="symmetric", batch_norm=BatchNorm(epsilon=1e-5))

    x = unit(x, 64, 7, strides=2, name="conv1")  # 112×112×64
    x = max_pool(x, padding="symmetric", name="pool1")  # 56×56×64
    for stage, (filters, count) in STAGES.items():  # 56×56×64, 28×28×128, 14×14×256, 7×7×512
        for number in range(1, count + 1):
            strides = 2 if number == 1 and stage != "conv2" else 1
            x = basic_block(x, filters, strides=strides, unit=unit, shortcut=shortcut, name=f"{stage}_{number}")
    return options.model(inputs, x, checkpoint)
