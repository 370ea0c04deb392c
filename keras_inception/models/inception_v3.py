"""Inception v2 and v3: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, arXiv 1512.00567.

Here "v2" is that paper's; BN-Inception, which others call v2, is `keras_inception.BNInception`.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import keras
from keras import KerasTensor, layers

from keras_inception.models.blocks import (
    GRID,
    STEM,
    BatchNorm,
    Branches,
    Conv,
    Pool,
    Split,
    Unit,
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
from keras_inception.models.factory import Options, check
from keras_inception.weights import Checkpoint

MIN_SIZE = 75  # the last grid reduction then makes 1×1 of 3×3

STEMS = {  # 147×147×64
    "7x7": [Conv("1a", 64, 7, **GRID)],
    "factorised": STEM,  # section 6
}
# The 5×5 convolutions of the first three modules: as published, or as Fig. 5 has them.
FIVES = {"5x5": [(64, 5)], "two_3x3": [(64, 3), (64, 3)]}


def _factorised_5x5(five: str, pool: int) -> Branches:
    """Fig. 5."""
    return [
        [Conv("1x1", 64)],
        reduced("5x5", 48, *FIVES[five]),
        reduced("double_3x3", 64, (96, 3), (96, 3)),
        projected("average", pool),
    ]


def _asymmetric(c: int) -> Branches:
    """Fig. 6 with n = 7."""
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
# The convolutions that are the first of two factors, 7×1 of 7×7 or 3×3 of 5×5.
FIRST_FACTORS = ("5x5_1", "double_3x3_1", "7x7_1", "double_7x7_1", "double_7x7_3")


def _modules(five: str) -> dict[str, Branches]:
    """Table 1 of the paper, as published with weights; the names are the published end points'."""
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
    """The first of two factors without its ReLU; any other step as it is."""
    return step._replace(relu=False) if isinstance(step, Conv) and step.name in FIRST_FACTORS else step


def _at_stride_1(step: Step) -> Step:
    return step if isinstance(step, Split) or step.strides == 1 else step._replace(strides=1, padding=None)


def _each(change: Callable[[Step], Step], branches: Branches) -> Branches:
    return [[change(step) for step in steps] for steps in branches]


# How a map is halved (section 5): in the module's branches (Fig. 10), or by a pooling before or after them (Fig. 9).
REDUCTIONS: dict[str, Callable[[Branches], Branches]] = {
    "parallel": lambda branches: branches,
    "pool_first": lambda branches: [
        [Pool("max", **GRID, name="pool_first"), Split("concat", _each(_at_stride_1, branches))]
    ],
    "pool_last": lambda branches: [
        [Split("concat", _each(_at_stride_1, branches)), Pool("max", **GRID, name="pool_last")]
    ],
}


class Ladder(NamedTuple):
    """The options of `InceptionV3` that lead from v2 to v3, or away; the defaults are those published with weights."""

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
        """The branches of each module."""
        modules = _modules(self.five)
        if not self.factor_relu:
            modules = {key: _each(_linear, branches) for key, branches in modules.items()}
        for key in ("mixed_6a", "mixed_7a"):
            modules[key] = REDUCTIONS[self.reduction](modules[key])
        return modules


class Layout(NamedTuple):
    """What differs between the Inception v3s that were published with weights."""

    batch_norm: BatchNorm = BatchNorm()
    count_border: bool = False  # in the modules' average poolings


WITHOUT_SCALE = Layout(BatchNorm(scale=False))
LAYOUTS = {
    "keras_inception": Layout(),
    "keras": WITHOUT_SCALE,
    "torchvision": Layout(count_border=True),
    "tf_slim": WITHOUT_SCALE,
}


def InceptionV3(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    *,
    auxiliary: bool = False,
    stem: str = "factorised",
    five: str = "5x5",
    factor_relu: bool = True,
    head_batch_norm: bool = True,
    reduction: str = "parallel",
    dropout: float = 0.2,
    transform_input: bool = False,
    filters: Mapping[str, int] | None = None,
    skip_mismatch: bool = False,
    name: str = "inception_v3",
) -> keras.Model:
    """Inception v3, Szegedy et al., Rethinking the Inception Architecture, arXiv 1512.00567, as published with weights.

    Input: (batch, height, width, 3), sides of 75 or more, 299×299 in the paper, in the channel order and range that
    the preprocessing of the training or of the weights' publisher yields (`keras_inception.Preprocessing`): nothing
    in the graph rescales. Output: (batch, classes); with ``auxiliary=True`` a dict of two such, named ``predictions``
    and ``aux``. Stages are layers named by the published end points: ``conv2d_1a``, ``conv2d_2a``, ``conv2d_2b``,
    ``maxpool_3a``, ``conv2d_3b``, ``conv2d_4a``, ``maxpool_5a``, ``mixed_5b`` to ``mixed_5d``, ``mixed_6a`` to
    ``mixed_6e``, ``mixed_7a`` to ``mixed_7c``.

    Args:
        include_top: end in global average pooling, dropout and classifier. Without, the output is that of the last
            module, 8×8×2048 of 299×299, and the sides of ``input_shape`` may be None.
        weights: None for random ones, ``"imagenet"`` for published ones, or the path of a file with the tensors of
            inception_v3 of torchvision, timm, keras.applications or TF-slim, in any format that
            `keras_inception.weights.read_tensors` knows. The network is then built in its publisher's layout, so that
            it gives its publisher's numbers, and its attribute ``preprocessing`` is the publisher's. Tensors of a head
            or top that is not asked for are skipped; keras.applications has no head. TF-slim's 1001 classes begin
            with "background": with ``classes=1000`` it is left out.
        input_tensor: a Keras tensor to build on in place of a new input.
        input_shape: (height, width, 3); (299, 299, 3) if there is a top.
        pooling: of the last map when there is no top: None, ``"avg"`` or ``"max"``; gives (batch, 2048).
        classes: number of classes.
        classifier_activation: of both classifiers; None gives logits.
        auxiliary: with the auxiliary classifier on the last 17×17 module, ``mixed_6e`` (section 4, Fig. 8), for
            training. `keras_inception.inference_model` takes it off. It pools its 17×17 map to 5×5 (5×5, stride 3),
            which a 5×5 convolution reads at once. On pictures below 299 px zeros around the pooled map make it 5×5,
            below 107 px the pooling's window is all of the map; so the weights are those of any size.
        stem: ``"7x7"``, one convolution, or ``"factorised"``, three of 3×3 in its place (section 6).
        five: the 5×5 convolutions of the 35×35 modules: ``"5x5"`` as published, or ``"two_3x3"`` (Fig. 5).
        factor_relu: ReLU between the factors of a convolution, the 1×7 and 7×1 or the two 3×3 that stand for one of
            7×7 or 5×5 in the modules. False leaves the first factor linear, which was always inferior (section 3.1,
            Fig. 2).
        head_batch_norm: batch norm after the head's layer of 768 units too, and not its first convolution only: the
            "BN-auxiliary" of Table 3.
        reduction: how the two grid reductions halve the map (section 5): ``"parallel"``, pooling and convolutions of
            stride 2 side by side (Fig. 10); ``"pool_first"``, the pooling and then the module at stride 1, cheap but
            a bottleneck (Fig. 9, left); ``"pool_last"``, the other way round, dear (Fig. 9, right).
        dropout: rate before the classifier, in [0, 1); 0.2 in TF-slim, 0.5 in torchvision. The head has none.
        transform_input: torchvision's argument of that name, composed into ``preprocessing``: False normalises by
            ImageNet's mean and deviation, True to -1 … 1, as torchvision's published weights and timm's
            ``tv_in1k`` and ``tf_in1k`` want it.
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
    ladder = Ladder(stem, five, factor_relu, head_batch_norm, reduction)
    ladder.check()
    return _network(options, ladder, options.read_weights("inception_v3", transform_input=transform_input))


def InceptionV2(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    *,
    auxiliary: bool = False,
    stem: str = "7x7",
    five: str = "5x5",
    factor_relu: bool = True,
    head_batch_norm: bool = False,
    reduction: str = "parallel",
    dropout: float = 0.2,
    filters: Mapping[str, int] | None = None,
    skip_mismatch: bool = False,
    name: str = "inception_v2",
) -> keras.Model:
    """Inception v2, Szegedy et al., Rethinking the Inception Architecture, arXiv 1512.00567, section 6.

    `InceptionV3` from the foot of the paper's ladder (Table 3): one 7×7 convolution for the stem's first three, and
    no batch norm after the auxiliary head's layer of 768 units. The rungs between, RMSProp and label smoothing, are of
    the training. Nobody has published weights: ``weights`` is None or the path of this network's own.

    Everything else, input, output, arguments, errors and the names of the layers, as in `InceptionV3`; there is no
    ``conv2d_2a`` nor ``conv2d_2b``.
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
    ladder = Ladder(stem, five, factor_relu, head_batch_norm, reduction)
    ladder.check()
    return _network(options, ladder, options.read_weights("inception_v2"))


def _network(options: Options, ladder: Ladder, checkpoint: Checkpoint | None) -> keras.Model:
    layout = _layout(checkpoint, ladder)
    inputs, x = options.image_input(299, MIN_SIZE)
    unit = options.unit(batch_norm=layout.batch_norm)
    average = partial(average_pool, count_border=layout.count_border)

    x = branch(x, STEMS[ladder.stem], unit=unit, name="conv2d")  # 147×147×64
    x = max_pool(x, padding="valid", name="maxpool_3a")  # 73×73×64
    x = unit(x, 80, 1, name="conv2d_3b")
    x = unit(x, 192, 3, padding="valid", name="conv2d_4a")  # 71×71×192
    x = max_pool(x, padding="valid", name="maxpool_5a")  # 35×35×192
    heads = {}
    for key, branches in ladder.modules().items():
        x = module(x, branches, unit=unit, average_pool=average, name=key)
        if options.auxiliary and key == AUXILIARY:
            batch_norm = layout.batch_norm if ladder.head_batch_norm else None
            heads["aux"] = _head(x, options, unit=unit, batch_norm=batch_norm)
    return options.model(inputs, x, checkpoint, heads=heads)


def _head(x: KerasTensor, options: Options, *, unit: Unit, batch_norm: BatchNorm | None) -> KerasTensor:
    """Auxiliary classifier (section 4, Fig. 8): (batch, h, w, 768) -> (batch, classes), h and w known.

    `batch_norm` is that of the second convolution, the paper's fully connected layer.
    """
    window = tuple(min(5, side) for side in x.shape[1:3])
    x = layers.AveragePooling2D(window, strides=3, name="aux_pool")(x)  # 5×5×768
    x = unit(x, 128, 1, name="aux_1x1")
    lacking = [max(0, 5 - side) for side in x.shape[1:3]]
    if any(lacking):
        x = layers.ZeroPadding2D([(zeros // 2, zeros - zeros // 2) for zeros in lacking], name="aux_pad")(x)
    x = unit(x, 768, 5, padding="valid", batch_norm=batch_norm, name="aux_5x5")  # 1×1×768
    x = layers.GlobalAveragePooling2D(name="aux_global_pool")(x)
    return classifier(x, options.classes, dropout=0.0, activation=options.activation, name="aux")


def _layout(checkpoint: Checkpoint | None, ladder: Ladder) -> Layout:
    """The layout of the weights; ValueError if an option contradicts them."""
    if checkpoint is None:
        return LAYOUTS["keras_inception"]
    if checkpoint.publisher == "keras_inception":  # which may have come from a publisher without scale
        return LAYOUTS["keras_inception"] if "conv2d_1a_bn/gamma" in checkpoint.tensors else WITHOUT_SCALE
    for argument, value in Ladder()._asdict().items():
        checkpoint.check_option(argument, getattr(ladder, argument), value)
    return LAYOUTS[checkpoint.publisher]
