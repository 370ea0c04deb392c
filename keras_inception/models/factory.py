"""The arguments that all networks share: their types, documentation, checks and effect."""

import functools
import inspect
import operator
import os
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Concatenate, ParamSpec, Protocol, TypedDict, overload

import keras
from keras import KerasTensor, layers

from keras_inception.models.blocks import ConvBlock, classifier, conv
from keras_inception.registry import NETWORKS
from keras_inception.utils.checks import check_one_of
from keras_inception.utils.suggestions import did_you_mean
from keras_inception.weights import Checkpoint, read_weights

P = ParamSpec("P")
Shape = tuple[int | None, int | None, int]
Weights = str | os.PathLike | Checkpoint | None

POOLINGS = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}


class Common(TypedDict, total=False):
    """Types of the arguments that every network takes besides `dropout`. `Factory` documents them."""

    include_top: bool
    weights: Weights
    input_tensor: KerasTensor | None
    input_shape: Shape | None
    pooling: str | None
    classes: int
    classifier_activation: str | None
    auxiliary: bool
    filters: Mapping[str, int] | None
    skip_mismatch: bool
    name: str | None


class Factory(Protocol[P]):
    """A function that builds a network.

    The first seven arguments are those of keras.applications, and may be given by position.

    Args:
        include_top: end in the network's own classifier. Without it, the output is the last feature map, and the sides
            in `input_shape` may be None.
        weights: None for random weights, ``"imagenet"`` for published ones, ``"imagenet:PUBLISHER"`` for those of one
            of several publishers (``keras-inception list`` names them), or the path of a file in any format that
            `keras_inception.weights.read_tensors` knows. The network is built in the layout of the weights' publisher,
            so that it computes the publisher's numbers, and its attribute ``preprocessing`` is the publisher's. Tensors
            of a classifier that is not asked for are skipped. A "background" class (TF-slim's 1001) is left out with
            ``classes=1000``.
        input_tensor: a Keras tensor to build on, in place of a new input.
        input_shape: (height, width, 3). By default the network's own size with a top, and any size without.
        pooling: global pooling of the last feature map if there is no top: None, ``"avg"`` or ``"max"``.
        classes: number of classes.
        classifier_activation: activation of all classifiers, ``"softmax"`` by default. None returns logits.
        dropout: rate of the dropout before the classifier, in [0, 1).
        auxiliary: add the auxiliary classifiers, for training. The output is then a dict with ``predictions`` and a
            name for each of them. Only for networks that have some.
        filters: number of filters by the name of the convolution, where it is not the paper's. A network that was
            pruned (`keras_inception.compression.filter_pruning`) is its original with fewer filters.
        skip_mismatch: leave out, and log, tensors that are missing, left over or of another shape (such as a classifier
            of another number of classes), instead of raising an error.
        name: name of the model; the network's name by default.

    Returns:
        A functional `keras.Model` that maps (batch, height, width, 3) to (batch, classes). The channel order and range
        of its input are those of the `keras_inception.Preprocessing` that it is trained with; nothing in the graph
        rescales.

    Raises:
        ValueError: an argument is not one of the above or contradicts another one or the weights; the input is too
            small; or the file of weights is damaged or does not fit.
        OSError: the file of weights cannot be read or downloaded.
    """

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> keras.Model: ...

    @overload
    def __call__(self, include_top: bool, weights: Weights = None, /, *args: Any, **kwargs: Any) -> keras.Model: ...


def network(key: str) -> Callable[[Callable[Concatenate["Builder", P], keras.Model]], Factory[P]]:
    """Make a factory of a function that builds a network: check, apply, show and document the shared arguments.

    The function takes a `Builder`, which holds the shared arguments, and as keywords its own options and `dropout`. It
    declares ``**common`` for type checkers and editors, and receives none. The factory shows all arguments in its
    signature and in the section "Args:" of its docstring, which takes in the section "Options:" of the function's. It
    raises a TypeError that names any other argument.

    Args:
        key: key of the network in `keras_inception.registry.NETWORKS`.
    """

    def decorate(function: Callable[Concatenate[Builder, P], keras.Model]) -> Factory[P]:
        shared = inspect.signature(Builder).parameters
        _, *own, _ = inspect.signature(function).parameters.values()
        parameters = [*own, *(shared[name] for name in Common.__annotations__)]
        parameters.sort(key=operator.attrgetter("kind"))  # those that may be given by position first
        signature = inspect.Signature(parameters, return_annotation=keras.Model)

        @functools.wraps(function)
        def factory(*args, **kwargs):
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{function.__name__}() {error}") from None
            bound.apply_defaults()
            net = Builder(key, **{name: value for name, value in bound.arguments.items() if name in shared})
            return function(net, **{parameter.name: bound.arguments[parameter.name] for parameter in own})

        text, _, options = inspect.cleandoc(function.__doc__ or "").partition("\n\nOptions:\n")
        _, heading, common = inspect.cleandoc(Factory.__doc__ or "").partition("\n\nArgs:\n")
        factory.__doc__ = text + heading + options + "\n" * bool(options) + common
        factory.__signature__ = signature  # type: ignore[attr-defined]
        return factory

    return decorate


@dataclass(eq=False)
class Builder:
    """The parts of a network that follow from the shared arguments.

    Creating one checks the arguments and reads the weights. A network then begins with `input`, makes its convolutions
    by `conv_block`, and returns what `finish` makes of its last feature map.

    Args:
        key: key of the network in `keras_inception.registry.NETWORKS`.
        transform_input: torchvision's argument of that name.
        others: the arguments of every network, which `Factory` documents.

    Attributes:
        checkpoint: the weights to load, or None.

    Raises:
        ValueError: an argument is wrong, or two contradict each other; or the file of weights is not understood.
        OSError: the file of weights cannot be read.
    """

    key: str
    include_top: bool = True
    weights: Weights = None
    input_tensor: KerasTensor | None = None
    input_shape: Shape | None = None
    pooling: str | None = None
    classes: int = 1000
    classifier_activation: str | None = "softmax"
    _: KW_ONLY
    dropout: float
    transform_input: bool = False
    auxiliary: bool = False
    filters: Mapping[str, int] | None = None
    skip_mismatch: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        self.row = NETWORKS[self.key]
        self.name = self.name or self.key
        self._filters = self.filters or {}
        self._check()
        self.checkpoint: Checkpoint | None = None
        if self.weights is not None:
            self.checkpoint = read_weights(self.weights, self.key, transform_input=self.transform_input)

    def _check(self) -> None:
        check_one_of("pooling", self.pooling, (None, *POOLINGS))
        if self.include_top and self.pooling:
            raise ValueError(
                f"`pooling` is for `include_top=False`; a top has its own. Received: pooling={self.pooling!r}"
            )
        if self.auxiliary and not self.row.heads:
            raise ValueError(f"`auxiliary` must be False: {self.name} has no auxiliary classifiers. Received: True")
        if self.auxiliary and not self.include_top:
            raise ValueError(
                "`auxiliary=True` needs `include_top=True`: heads are classifiers. Received: include_top=False"
            )
        for layer, count in self._filters.items():
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise ValueError(f"`filters` must be positive integers. Received: filters={{{layer!r}: {count!r}}}")
        if not isinstance(self.classes, int) or self.classes < 1:
            raise ValueError(f"`classes` must be a positive integer. Received: classes={self.classes!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={self.dropout!r}")

    def follow(self, argument: str, value, *, tensor: str, present, absent):
        """Return the value that the weights give an option, or `value` if there are no weights.

        Args:
            argument: name of the option.
            value: its value; None follows the weights.
            tensor: one of our variables. The weights have it, or not, depending on the option.
            present: value of the option if they have it.
            absent: value of the option if they do not.

        Raises:
            ValueError: `value` contradicts the weights.
        """
        if self.checkpoint is None:
            return value
        found = present if self.checkpoint.has(tensor) else absent
        self.checkpoint.check_option(argument, value, found)
        return found

    def input(self, min_size: int, *, size: int | None = None, fixed: bool = False) -> KerasTensor:
        """Return the tensor to build on, (batch, height, width, 3), from `input_tensor` or `input_shape`.

        Args:
            min_size: the smallest height and width that the network accepts.
            size: height and width with a top and without a given shape, where they are not the registry's.
            fixed: the top needs a known height and width. Auxiliary classifiers always do.

        Raises:
            ValueError: the shape is not (height, width, 3), a side is below `min_size` or unknown where it must be
                known, or image data is channels first.
        """
        if keras.config.image_data_format() != "channels_last":
            raise ValueError("The networks are built channels last. Received: image_data_format='channels_first'")
        side = (size or self.row.size) if self.include_top else None
        own = self.input_shape if self.input_tensor is None else self.input_tensor.shape[1:]
        shape = tuple(own or (side, side, 3))
        if len(shape) != 3 or shape[2] != 3:
            raise ValueError(f"`input_shape` must be (height, width, 3). Received: {shape}")
        if any(side is not None and side < min_size for side in shape[:2]):
            raise ValueError(f"`input_shape` must be at least {min_size} on each side. Received: {shape}")
        if (self.auxiliary or (fixed and self.include_top)) and None in shape:
            because = "`auxiliary=True`" if self.auxiliary else "the classifier"
            raise ValueError(f"{because} needs an `input_shape` of known height and width. Received: {shape}")
        if self.input_tensor is None:
            self._inputs = keras.Input(shape, name="image")
            return self._inputs
        self._inputs = keras.utils.get_source_inputs(self.input_tensor)[0]
        return self.input_tensor

    def conv_block(self, **layout) -> ConvBlock:
        """Return `keras_inception.models.blocks.conv` with these defaults and the numbers of filters in `filters`."""

        def conv_block(
            x: KerasTensor, filters: int, size: int | tuple[int, int], *, name: str, **options
        ) -> KerasTensor:
            return conv(x, self._filters.get(name, filters), size, **{**layout, **options}, name=name)

        return conv_block

    def finish(
        self,
        x: KerasTensor,
        *,
        heads: Mapping[str, KerasTensor] | None = None,
        top: Callable[[KerasTensor], KerasTensor] | None = None,
    ) -> keras.Model:
        """Return the model that ends in the feature map `x`, with its classifier added and its weights loaded.

        Args:
            x: the last feature map.
            heads: outputs of the auxiliary classifiers by name.
            top: makes the predictions of the last feature map; by default `pooled_classifier`.

        Raises:
            ValueError: the weights do not fit, or an entry of `filters` has no effect.
        """
        if self.include_top:
            x = (top or self.pooled_classifier)(x)
        elif self.pooling:
            x = POOLINGS[self.pooling](name="global_pool")(x)
        outputs = {"predictions": x, **(heads or {})} if self.auxiliary else x
        model = keras.Model(self._inputs, outputs, name=self.name)
        self._check_filters({layer.name: layer.filters for layer in model.layers if isinstance(layer, layers.Conv2D)})
        if self.checkpoint:
            self.checkpoint.load_into(model, skip_mismatch=self.skip_mismatch)
            height, width = model.input_shape[1:3]
            preprocessing = self.checkpoint.preprocessing
            model.preprocessing = preprocessing.replace(size=(height, width)) if height and width else preprocessing
        return model

    def _check_filters(self, built: Mapping[str, int]) -> None:
        """Raise ValueError unless every entry of `filters` is in the convolutions as they were built."""
        for layer, count in self._filters.items():
            if layer not in built:
                hint = did_you_mean(layer, built)
                raise ValueError(f"`filters` must name convolutions of {self.name}.{hint} Received: {layer!r}")
            if built[layer] != count:
                raise ValueError(
                    f"`filters` of {layer} must be {built[layer]}: it follows from the number of classes, or from the "
                    f"channels that its output is added to. Received: {count}"
                )

    def classifier(self, x: KerasTensor, *, dropout: float | None = None, name: str = "predictions") -> KerasTensor:
        """Add dropout, by default at the network's rate, and a dense layer: (batch, features) -> (batch, classes)."""
        rate = self.dropout if dropout is None else dropout
        return classifier(x, self.classes, dropout=rate, activation=self.classifier_activation, name=name)

    def pooled_classifier(self, x: KerasTensor) -> KerasTensor:
        """Add global average pooling and `classifier`: (batch, height, width, channels) -> (batch, classes)."""
        return self.classifier(layers.GlobalAveragePooling2D(name="global_pool")(x))
