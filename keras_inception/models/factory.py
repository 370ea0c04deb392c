"""Arguments shared by all networks: types, documentation, validation and effect."""

import contextlib
import functools
import inspect
import numbers
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Concatenate, ParamSpec, Protocol, TypedDict, overload

import keras
import numpy as np
from keras import KerasTensor, layers

from keras_inception.models.blocks import ConvBlock, classifier, conv
from keras_inception.preprocessing import DEFAULT, GRAY, Preprocessing
from keras_inception.registry import NETWORKS
from keras_inception.utils.checks import check_one_of
from keras_inception.utils.names import bare, prefixed
from keras_inception.utils.suggestions import did_you_mean
from keras_inception.weights import Checkpoint, read_weights
from keras_inception.weights.checkpoint import LayoutError

P = ParamSpec("P")
Shape = tuple[int | None, int | None, int]
Weights = str | os.PathLike | Checkpoint | None

# Layers that no paper names. They have the network's name before theirs, so that two networks fit in one model.
UNNAMED = ("image", "global_pool")
POOLINGS = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}


class Common(TypedDict, total=False):
    """Types of the arguments that every network takes, except `dropout`. `Factory` documents them."""

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

    The first seven arguments match keras.applications and may be positional.

    Args:
        include_top: include the network's classifier. Without it, the output is the last feature map, and height and
            width in `input_shape` may be None.
        weights: None for random initialization, ``"imagenet"`` for published weights, ``"imagenet:PUBLISHER"`` for
            those of a specific publisher (``keras-inception list`` shows them), the path of a file in any format that
            `keras_inception.weights.read_tensors` supports, or a run directory or its model.keras. The network is built
            in the layout of the publisher or of the run, so that it reproduces the outputs, and its ``preprocessing``
            attribute is the publisher's or the run's. Tensors of classifiers that are not built are skipped. With
            ``classes=1000``, the "background" class of TF-slim's 1001 is dropped. With one channel in `input_shape`,
            the first kernel is summed over its three channels: the network then sees a gray image as the published
            one sees its three equal channels.
        input_tensor: Keras tensor to use as input instead of creating a new one. It may be the output of other layers,
            which keep their weights and names.
        input_shape: (height, width, channels). The default is three channels, and the network's own size with a top
            and any size without. `weights` of another network than one of this shape are for 3 or 1 channels.
        pooling: global pooling of the last feature map without a top: None, ``"avg"`` or ``"max"``.
        classes: number of classes.
        classifier_activation: activation of all classifiers, ``"softmax"`` by default. None returns logits.
        dropout: rate of the dropout before the classifier, in [0, 1).
        auxiliary: add the auxiliary classifiers, for training. The output is then a dict with ``predictions`` and one
            entry per auxiliary classifier. Only for networks that have them.
        filters: number of filters by name of the convolution, where it differs from the paper. A pruned network
            (`keras_inception.compression.filter_pruning`) is the original with fewer filters.
        skip_mismatch: skip and log tensors that are missing, left over or of another shape (such as a classifier with
            another number of classes), instead of raising an error.
        name: name of the model; the network's name by default. Another name is also put before the names of all
            layers, as in ``left-conv1``, so that a model can hold two networks of a kind. Weights and the functions of
            this package go by the names without it.

    Returns:
        A functional `keras.Model` that maps (batch, height, width, channels) to (batch, classes). Its input has the
        channel order and range of the `keras_inception.Preprocessing` that it is trained with; the graph does not
        rescale.

    Raises:
        ValueError: an argument is invalid or contradicts another one or the weights; the input is too small; or the
            weights file is damaged or does not fit.
        OSError: the weights file cannot be read or downloaded.
    """

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> keras.Model: ...

    @overload
    def __call__(self, include_top: bool, weights: Weights = None, /, *args: Any, **kwargs: Any) -> keras.Model: ...


def network(key: str) -> Callable[[Callable[Concatenate["Builder", P], keras.Model]], Factory[P]]:
    """Turn a function that builds a network into a factory with the shared arguments.

    The function takes a `Builder`, which holds the shared arguments, and its own options and `dropout` as keywords. It
    declares ``**common`` only for type checkers and editors. The factory lists all arguments in its signature and in
    the "Args:" section of its docstring, which includes the function's "Options:" section. Any other argument raises a
    TypeError that names it.

    Args:
        key: key of the network in `keras_inception.registry.NETWORKS`.
    """

    def decorate(function: Callable[Concatenate[Builder, P], keras.Model]) -> Factory[P]:
        shared = inspect.signature(Builder).parameters
        _, *own, _ = inspect.signature(function).parameters.values()
        parameters = [*own, *(shared[name] for name in Common.__annotations__)]
        parameters.sort(key=operator.attrgetter("kind"))  # positional arguments first
        signature = inspect.Signature(parameters, return_annotation=keras.Model)

        @functools.wraps(function)
        def factory(*args, **kwargs):
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{function.__name__}() {error}") from None
            bound.apply_defaults()
            arguments = {name: value for name, value in bound.arguments.items() if name in shared}
            options = {parameter.name: bound.arguments[parameter.name] for parameter in own}
            net = Builder(key, **arguments)
            try:
                return function(net, **options)
            except LayoutError as error:  # a network that was trained from a publisher's weights has their layout
                for checkpoint in net.checkpoint.in_other_layouts() if net.checkpoint else ():
                    with contextlib.suppress(ValueError):
                        return function(Builder(key, **{**arguments, "weights": checkpoint}), **options)
                raise error from None

        text, _, options = inspect.cleandoc(function.__doc__ or "").partition("\n\nOptions:\n")
        _, heading, common = inspect.cleandoc(Factory.__doc__ or "").partition("\n\nArgs:\n")
        factory.__doc__ = text + heading + options + "\n" * bool(options) + common
        factory.__signature__ = signature  # type: ignore[attr-defined]
        return factory

    return decorate


@dataclass(eq=False)
class Builder:
    """Builds the parts of a network that depend on the shared arguments.

    The constructor checks the arguments and reads the weights. A network then starts from `input`, creates its
    convolutions with `conv_block`, and passes its last feature map to `finish`.

    Args:
        key: key of the network in `keras_inception.registry.NETWORKS`.
        transform_input: torchvision's argument of that name.
        others: the shared arguments, which `Factory` documents.

    Attributes:
        checkpoint: the weights to load, or None.

    Raises:
        ValueError: an argument is invalid, two arguments contradict each other, or the weights file is not recognized.
        OSError: the weights file cannot be read.
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
        self.name = self._name = self.name or self.key
        self._filters = self.filters or {}
        self._check()
        self._filters = {bare(layer): count for layer, count in self._filters.items()}
        self.checkpoint: Checkpoint | None = None
        if self.weights is not None:
            self.checkpoint = read_weights(self.weights, self.key, transform_input=self.transform_input)

    def _check(self) -> None:
        if not isinstance(self.weights, Weights):
            kind = type(self.weights).__name__
            raise ValueError(f"`weights` must be None, a name or a path. Received: an object of type {kind}")
        if self.input_tensor is not None and not isinstance(self.input_tensor, KerasTensor):
            kind = type(self.input_tensor).__name__
            raise ValueError(f"`input_tensor` must be what keras.Input or a Keras layer returns. Received: a {kind}")
        if not isinstance(self.name, str) or "/" in self.name:
            raise ValueError(f"`name` must be text without a slash. Received: name={self.name!r}")
        check_one_of("pooling", self.pooling, (None, *POOLINGS))
        if self.include_top and self.pooling:
            raise ValueError(
                f"`pooling` is for `include_top=False`; a top has its own. Received: pooling={self.pooling!r}"
            )
        if self.auxiliary and not self.row.heads:
            raise ValueError(f"`auxiliary` must be False: {self.key} has no auxiliary classifiers. Received: True")
        if self.auxiliary and not self.include_top:
            raise ValueError(
                "`auxiliary=True` needs `include_top=True`: heads are classifiers. Received: include_top=False"
            )
        if not isinstance(self._filters, Mapping):
            raise ValueError(f"`filters` must be a dict of filters by layer. Received: filters={self.filters!r}")
        for layer, count in self._filters.items():
            if not isinstance(layer, str) or not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise ValueError(f"`filters` must be positive integers. Received: filters={{{layer!r}: {count!r}}}")
        if not isinstance(self.classes, int) or self.classes < 1:
            raise ValueError(f"`classes` must be a positive integer. Received: classes={self.classes!r}")
        if not isinstance(self.dropout, numbers.Real) or not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={self.dropout!r}")

    def follow(self, argument: str, value, *, tensor: str, present, absent):
        """Return the value of an option that the weights imply, or `value` without weights.

        Args:
            argument: name of the option.
            value: the value passed by the caller; None follows the weights.
            tensor: a variable whose presence in the weights depends on the option.
            present: value of the option if the weights have the variable.
            absent: value of the option if they lack it.

        Raises:
            ValueError: `value` contradicts the weights.
        """
        if self.checkpoint is None:
            return value
        found = present if self.checkpoint.has(tensor) else absent
        self.checkpoint.check_option(argument, value, found)
        return found

    def input(self, min_size: int, *, size: int | None = None, fixed: bool = False) -> KerasTensor:
        """Return the input tensor, (batch, height, width, channels), from `input_tensor` or `input_shape`.

        Args:
            min_size: the smallest height and width that the network accepts.
            size: default height and width with a top; None uses the registry's.
            fixed: whether the top needs a known height and width. Auxiliary classifiers always do.

        Raises:
            ValueError: the shape is not (height, width, channels), a side is below `min_size` or unknown where it must
                be known, or the image data format is channels first.
        """
        if keras.config.image_data_format() != "channels_last":
            raise ValueError("The networks are built channels last. Received: image_data_format='channels_first'")
        side = (size or self.row.size) if self.include_top else None
        own = self.input_shape if self.input_tensor is None else self.input_tensor.shape[1:]
        shape = _checked_shape((side, side, 3) if own is None else own)
        if any(side is not None and side < min_size for side in shape[:2]):
            raise ValueError(f"`input_shape` must be at least {min_size} on each side. Received: {shape}")
        if (self.auxiliary or (fixed and self.include_top)) and None in shape:
            because = "`auxiliary=True`" if self.auxiliary else "the classifier"
            raise ValueError(f"{because} needs an `input_shape` with known height and width. Received: {shape}")
        if self.input_tensor is None:
            self._start = keras.Input(shape, name=prefixed(self._name, "image"))
        else:
            self._start = self.input_tensor
        return self._start

    def conv_block(self, **layout) -> ConvBlock:
        """Return `keras_inception.models.blocks.conv` with these defaults, and filter counts from `filters`."""

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
        """Add the classifier to the feature map `x`, create the model and load its weights.

        Args:
            x: the last feature map.
            heads: outputs of the auxiliary classifiers by name.
            top: function from the last feature map to the predictions; `pooled_classifier` by default.

        Raises:
            ValueError: the weights do not fit, or an entry of `filters` has no effect.
        """
        if self.include_top:
            x = (top or self.pooled_classifier)(x)
        elif self.pooling:
            x = POOLINGS[self.pooling](name="global_pool")(x)
        outputs = {"predictions": x, **(heads or {})} if self.auxiliary else x
        own = _layers_after(self._start, outputs.values() if self.auxiliary else [x])
        self._check_filters({layer.name: layer.filters for layer in own if isinstance(layer, layers.Conv2D)})
        for layer in own:
            if self.name != self.key or layer.name in UNNAMED:
                _rename(layer, prefixed(self._name, layer.name))
        inputs = keras.utils.get_source_inputs(self._start)
        model = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=self.name)
        if self.checkpoint:
            ours = {id(layer) for layer in own}
            ordered = [layer for layer in model.layers if id(layer) in ours]
            self.checkpoint.load_into(model, layers=ordered, skip_mismatch=self.skip_mismatch)
            model.publisher = self.checkpoint.publisher
        model.preprocessing = self._preprocessing(inputs[0].shape[1:])
        return model

    def _preprocessing(self, shape: Shape) -> Preprocessing:
        """Return the preprocessing of the weights for images of this shape, (height, width, channels)."""
        preprocessing = self.checkpoint.preprocessing if self.checkpoint else DEFAULT
        if len(shape) != 3:  # the network is behind layers that make images of something else
            return preprocessing
        height, width, channels = shape
        if channels == 1:
            mean, std = (sum(values) / 3 for values in (preprocessing.mean, preprocessing.std))
            preprocessing = preprocessing.replace(channels=GRAY, mean=(mean,) * 3, std=(std,) * 3)
        return preprocessing.replace(size=(height, width)) if height and width else preprocessing

    def _check_filters(self, built: Mapping[str, int]) -> None:
        """Raise ValueError unless every entry of `filters` took effect in the built convolutions."""
        for layer, count in self._filters.items():
            if layer not in built:
                hint = did_you_mean(layer, built)
                raise ValueError(f"`filters` must name convolutions of {self.key}.{hint} Received: {layer!r}")
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


def _checked_shape(shape) -> Shape:
    """Return `input_shape` as a tuple. Raise ValueError unless it is (height, width, channels)."""
    sides = tuple(shape) if isinstance(shape, Iterable) else ()
    known = [side for side in sides if side is not None]
    whole = all(isinstance(side, (int, np.integer)) and side > 0 for side in known)
    if len(sides) != 3 or sides[2] is None or not whole:
        raise ValueError(f"`input_shape` must be (height, width, channels). Received: {shape}")
    return sides


def _layers_after(start: KerasTensor, outputs: Iterable[KerasTensor]) -> list[layers.Layer]:
    """Return the layers between a tensor and the outputs that are computed from it."""
    found: dict[int, layers.Layer] = {}
    waiting = list(outputs)
    while waiting:
        tensor = waiting.pop()
        operation, node, _ = tensor._keras_history
        if tensor is not start and id(operation) not in found:
            found[id(operation)] = operation
            waiting += operation._inbound_nodes[node].input_tensors
    return list(found.values())


def _rename(layer: layers.Layer, name: str) -> None:
    """Give a built layer and its variables another name, before it is part of a model."""
    for variable in layer.variables:
        variable._path = variable.path.replace(layer.name, name, 1)
    layer.name = name
