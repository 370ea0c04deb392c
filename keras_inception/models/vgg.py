"""VGG: Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, arXiv 1409.1556."""

import os
from collections.abc import Mapping

import keras
import numpy as np

from keras_inception.models.blocks import BatchNorm, dense, flatten, max_pool
from keras_inception.models.factory import Options, check
from keras_inception.weights import Checkpoint

# Table 1 of the paper, columns D and E: of each block the filters of its 3×3 convolutions, and how many there are.
BLOCKS = {
    "vgg16": {"block1": (64, 2), "block2": (128, 2), "block3": (256, 3), "block4": (512, 3), "block5": (512, 3)},
    "vgg19": {"block1": (64, 2), "block2": (128, 2), "block3": (256, 4), "block4": (512, 4), "block5": (512, 4)},
}
MIN_SIZE = 32
# Not in the paper: torchvision's, whose convolutions keep their biases.
BATCH_NORM = BatchNorm(epsilon=1e-5, bias=True)


def VGG16(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    *,
    auxiliary: bool = False,
    normalization: str | None = None,
    dropout: float = 0.5,
    filters: Mapping[str, int] | None = None,
    skip_mismatch: bool = False,
    name: str = "vgg16",
) -> keras.Model:
    """VGG-16, Simonyan and Zisserman, arXiv 1409.1556, Table 1, column D.

    Input: (batch, height, width, 3), known sides of 32 or more, 224×224 in the paper, in the channel order and range
    that the preprocessing of the training or of the weights' publisher yields (`keras_inception.Preprocessing`).
    Output: (batch, classes). Stages are layers named as in keras.applications: ``block1_conv1`` and so on,
    ``block1_pool`` to ``block5_pool``, ``fc1`` and ``fc2``.

    Args:
        include_top: end in two dense layers of 4096 and the classifier. They read 7×7 pixels: a map of another size is
            pooled to that by averages, as torchvision does. Without, the output is that of ``block5_pool``,
            7×7×512 of 224×224, and the sides of ``input_shape`` may be None.
        weights: None for random ones, ``"imagenet"`` for published ones, or the path of a file with the tensors of
            torchvision's vgg16 or vgg16_bn or of keras.applications' VGG16, in any format that
            `keras_inception.weights.read_tensors` knows. The attribute ``preprocessing`` is then the publisher's.
            Weights of keras.applications for another input size, whose ``fc1`` fits the map as it is, are taken too:
            the map is then not pooled. Tensors of a top that is not asked for are skipped.
        input_tensor: a Keras tensor to build on in place of a new input.
        input_shape: (height, width, 3); (224, 224, 3) if there is a top.
        pooling: of the last map when there is no top: None, ``"avg"`` or ``"max"``; gives (batch, 512).
        classes: number of classes.
        classifier_activation: None gives logits.
        auxiliary: must be False; the network has no auxiliary classifiers.
        normalization: ``"batch_norm"`` for a batch norm after every convolution, as torchvision's vgg16_bn has it. None
            is as ``weights`` have it, else without.
        dropout: rate before ``fc2`` and the classifier, in [0, 1); 0.5 in the paper (section 3.1), none in
            keras.applications.
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
    return _vgg("vgg16", options, normalization)


def VGG19(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    *,
    auxiliary: bool = False,
    normalization: str | None = None,
    dropout: float = 0.5,
    filters: Mapping[str, int] | None = None,
    skip_mismatch: bool = False,
    name: str = "vgg19",
) -> keras.Model:
    """VGG-19, Simonyan and Zisserman, arXiv 1409.1556, Table 1, column E: `VGG16` with a fourth convolution in blocks 3
    to 5.

    Input, output, arguments and errors are those of `VGG16`; the weights are those of torchvision's vgg19 and vgg19_bn
    and of keras.applications' VGG19.
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
    return _vgg("vgg19", options, normalization)


def _vgg(family: str, options: Options, normalization: str | None) -> keras.Model:
    """The network of a key of `BLOCKS`."""
    check("normalization", normalization, (None, "batch_norm"))
    options.refuse_auxiliary()
    checkpoint = options.read_weights(family)
    if checkpoint:
        normalized = "block1_conv1_bn/beta" in map(checkpoint.names.ours, checkpoint.tensors)
        checkpoint.check_option("normalization", normalization, "batch_norm" if normalized else None)
        normalization = "batch_norm" if normalized else None
    inputs, x = options.image_input(224, MIN_SIZE, fixed=True)
    unit = options.unit(batch_norm=BATCH_NORM if normalization else None)

    for block, (filters, count) in BLOCKS[family].items():
        for number in range(1, count + 1):
            x = unit(x, filters, 3, name=f"{block}_conv{number}")
        # 112×112×64, 56×56×128, 28×28×256, 14×14×512, 7×7×512
        x = max_pool(x, 2, padding="valid", name=f"{block}_pool")

    def top(x):
        x = flatten(x, None if _fits(checkpoint, x) else 7, name="fc1")
        x = dense(x, 4096, name="fc1")
        x = dense(x, 4096, dropout=options.dropout, name="fc2")
        return options.classifier(x)

    return options.model(inputs, x, checkpoint, top=top)


def _fits(checkpoint: Checkpoint | None, x: keras.KerasTensor) -> bool:
    """Whether the weights' first dense layer, if it has Keras' name and layout, reads every pixel of the last map."""
    kernel = checkpoint.tensors.get("fc1/kernel") if checkpoint else None
    return kernel is not None and kernel.shape[:1] == (np.prod(x.shape[1:]),)
