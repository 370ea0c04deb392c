"""GoogLeNet, the first Inception network: Szegedy et al., Going Deeper with Convolutions, arXiv 1409.4842."""

import os
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import keras

from keras_inception.layers import LocalResponseNormalization
from keras_inception.models.blocks import BatchNorm, Filters, auxiliary_head, inception, inception_naive, max_pool
from keras_inception.models.factory import Options, check
from keras_inception.weights import Checkpoint

# Table 1 of the paper; a name's digit is its stage, a letter alone stands for the module in it.
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
AUXILIARY = ("4a", "4d")
MIN_SIZE = 32
# Strides of conv1, pool1 and pool2; by what they shrink the picture in all. The paper's is 8.
STEM_STRIDES = {8: (2, 2, 2), 4: (1, 2, 2), 2: (1, 1, 2)}
MODULE_KINDS = {"reduced": inception, "naive": inception_naive}


class Layout(NamedTuple):
    """What differs between the GoogLeNets that were published with weights."""

    batch_norm: BatchNorm | None
    five_kernel: int
    padding: str = "same"  # or "symmetric": zeros as Caffe and torch put them
    pool4_size: int = 3
    adaptive_heads: bool = False

    @property
    def normalization(self) -> str:
        return "batch_norm" if self.batch_norm else "lrn"


LAYOUTS = {
    "lrn": Layout(None, five_kernel=5),
    "batch_norm": Layout(BatchNorm(), five_kernel=3),
    "caffe": Layout(None, five_kernel=5, padding="symmetric"),
    "torchvision": Layout(BatchNorm(), five_kernel=3, padding="symmetric", pool4_size=2, adaptive_heads=True),
    "tf_slim": Layout(BatchNorm(scale=False), five_kernel=3, pool4_size=2),
}


def _lrn(x, name, builtin=False):
    # The paper gives no figures: these are AlexNet's, as Caffe has them (alpha 1e-4, divided by the window of 5).
    figures = {"depth_radius": 2, "bias": 1.0, "alpha": 2e-5, "beta": 0.75}
    return LocalResponseNormalization(**figures, builtin=builtin, name=name)(x)


def GoogLeNet(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    *,
    auxiliary: bool = False,
    module: str = "reduced",
    normalization: str | None = None,
    five_kernel: int | None = None,
    stem_stride: int = 8,
    dropout: float = 0.4,
    transform_input: bool = False,
    filters: Mapping[str, int] | None = None,
    skip_mismatch: bool = False,
    name: str = "googlenet",
) -> keras.Model:
    """GoogLeNet (Inception v1), Szegedy et al., Going Deeper with Convolutions, arXiv 1409.4842, Table 1.

    Input: (batch, height, width, 3), sides of 32 or more, 224×224 in the paper, in the channel order and range that
    the preprocessing of the training or of the weights' publisher yields (`keras_inception.Preprocessing`): nothing
    in the graph rescales. Output: (batch, classes); with ``auxiliary=True`` a dict of three such, named
    ``predictions``, ``aux_4a`` and ``aux_4d``. Stages are layers named ``conv1``, ``pool1``, ``conv2``, ``pool2``,
    ``inception_3a`` and so on.

    Args:
        include_top: end in global average pooling, dropout and classifier. Without, the output is that of the last
            module, (batch, height / 32, width / 32, 1024), and the sides of ``input_shape`` may be None.
        weights: None for random ones, ``"imagenet"`` (torchvision's) or ``"imagenet:caffe"``, or the path of a file
            with the tensors of torchvision's googlenet, Caffe's bvlc_googlenet or TF-slim's inception_v1, in any format
            that `keras_inception.weights.read_tensors` knows. The network is then built in its publisher's layout, so
            that it gives its publisher's numbers, and its attribute ``preprocessing`` is the publisher's. Tensors of a
            head or top that is not asked for are skipped. TF-slim's 1001 classes begin with "background": with
            ``classes=1000`` it is left out.
        input_tensor: a Keras tensor to build on in place of a new input.
        input_shape: (height, width, 3); (224, 224, 3) if there is a top.
        pooling: of the last map when there is no top: None, ``"avg"`` or ``"max"``; gives (batch, 1024).
        classes: number of classes.
        classifier_activation: of all classifiers, the heads' too; None gives logits.
        auxiliary: with the two auxiliary classifiers, on 4a and 4d (section 5), for training.
            `keras_inception.inference_model` takes them off. A head pools its 14×14 map to 4×4 (5×5, stride 3). On
            smaller pictures there is less to pool: from 65 to 127 px a head sees one 5×5 window in the upper left of
            the map, below that the average of all of it.
        module: ``"reduced"`` (Fig. 2b) or ``"naive"`` (Fig. 2a: no 1×1 reductions, the pooling passes all on).
        normalization: ``"lrn"`` (the paper) or ``"batch_norm"`` (torchvision, TF-slim: after every convolution, in
            place of the bias). None is the layout of ``weights``, else ``"lrn"``. ``"lrn_builtin"`` is the paper's by
            TensorFlow's and TFLite's own operation, which is slow on a phone: to compare with.
        five_kernel: kernel of the 5×5 branch, 5 or 3. None is 5 with LRN and 3 with batch norm, as published.
        stem_stride: by what the layers before 3a shrink the picture: 8 as in the paper, 4 for pictures of 64 px, or 2
            for 32 px, of which little would be left. A deviation: the kernels are the paper's, but conv1, and with 2
            also pool1, step by one pixel. The sides may then be 16 or 8 pixels; weights fit whatever the stride.
        dropout: rate before the classifier, in [0, 1); 0.4 in Table 1. The heads' is 0.7.
        transform_input: torchvision's argument of that name, composed into ``preprocessing``: False normalises by
            ImageNet's mean and deviation, True to -1 … 1, as its published weights want it and ``"imagenet"`` has it.
        filters: of convolutions by name, where they are to be others than the paper's. A network that was slimmed
            (`keras_inception.compression.filter_pruning`) is this one with fewer.
        skip_mismatch: leave out tensors that are missing, left over or of another shape, a classifier's of another
            number of classes, say, instead of raising.
        name: of the model.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: an argument is not one of the above, contradicts the weights, or the input is too small; or the
            file of weights is not understood, or does not fit.
        OSError: the file of weights cannot be read.
    """
    check("module", module, tuple(MODULE_KINDS))
    check("normalization", normalization, (None, "lrn", "lrn_builtin", "batch_norm"))
    builtin = normalization == "lrn_builtin"
    normalization = "lrn" if builtin else normalization
    check("five_kernel", five_kernel, (None, 3, 5))
    check("stem_stride", stem_stride, tuple(STEM_STRIDES))
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
    checkpoint = options.read_weights("googlenet", transform_input=transform_input)
    layout = _layout(checkpoint, normalization)
    if checkpoint and checkpoint.publisher != "keras_inception":
        checkpoint.check_option("five_kernel", five_kernel, layout.five_kernel)
        checkpoint.check_option("module", module, "reduced")
    layout = layout._replace(five_kernel=five_kernel or layout.five_kernel)

    inputs, x = options.image_input(224, MIN_SIZE * stem_stride // 8)
    strides = STEM_STRIDES[stem_stride]
    unit = options.unit(padding=layout.padding, batch_norm=layout.batch_norm)
    pool = partial(max_pool, padding="same" if layout.padding == "same" else "ceil")
    normalize = (lambda x, name: x) if layout.batch_norm else partial(_lrn, builtin=builtin)

    x = unit(x, 64, 7, strides=strides[0], name="conv1")  # 112×112×64
    x = normalize(pool(x, strides=strides[1], name="pool1"), name="pool1_norm")  # 56×56×64
    x = unit(x, 64, 1, name="conv2_reduce")
    x = normalize(unit(x, 192, 3, name="conv2"), name="conv2_norm")  # 56×56×192
    x = pool(x, strides=strides[2], name="pool2")  # 28×28×192
    heads = {}
    for key, row in MODULES.items():
        if key == "4a":
            x = pool(x, name="pool3")  # 14×14×480
        if key == "5a":
            x = pool(x, layout.pool4_size, name="pool4")  # 7×7×832
        x = MODULE_KINDS[module](x, row, unit=unit, five_kernel=layout.five_kernel, name=f"inception_{key}")
        if auxiliary and key in AUXILIARY:
            heads[f"aux_{key}"] = auxiliary_head(
                x,
                classes,
                unit=unit,
                adaptive=layout.adaptive_heads,
                activation=classifier_activation,
                name=f"aux_{key}",
            )

    return options.model(inputs, x, checkpoint, heads=heads)


def _layout(checkpoint: Checkpoint | None, normalization: str | None) -> Layout:
    """The layout of the weights, else of the argument; ValueError if they contradict each other."""
    if checkpoint is None:
        return LAYOUTS[normalization or "lrn"]
    if checkpoint.publisher == "keras_inception":
        layout = LAYOUTS["batch_norm" if "conv1_bn/beta" in checkpoint.tensors else "lrn"]
    else:
        layout = LAYOUTS[checkpoint.publisher]
    checkpoint.check_option("normalization", normalization, layout.normalization)
    return layout
