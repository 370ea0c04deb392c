"""What the arguments that all networks share mean, and their errors."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
from keras import KerasTensor, layers

from keras_inception.models.blocks import Unit, classifier, conv
from keras_inception.utils.suggestions import did_you_mean
from keras_inception.weights import Checkpoint, read_weights

POOLINGS = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}


def check(argument: str, value, allowed: tuple) -> None:
    """Raise ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"`{argument}` must be one of {', '.join(map(repr, allowed))}. Received: {argument}={value!r}")


@dataclass(frozen=True)
class Options:
    """The arguments of every network: keras.applications' and a few more.

    Attributes:
        include_top: end in the network's own classifier. Without, the output is the last map.
        weights: None for random ones, ``"imagenet"`` for published ones, ``"imagenet:PUBLISHER"`` for those of one of
            several publishers (`keras_inception.weights.published`, ``keras-inception list``), or the path of a file
            in any format that `keras_inception.weights.read_tensors` knows. The network is then built in its
            publisher's layout, so that it gives its publisher's numbers, and `model.preprocessing` is the publisher's.
            Tensors of a head or top that is not asked for are skipped.
        input_tensor: a Keras tensor to build on in place of a new input.
        input_shape: (height, width, 3).
        pooling: of the last map when there is no top: None, ``"avg"`` or ``"max"``.
        classes: number of classes.
        activation: of all classifiers, the heads' too: ``"softmax"``, or None for logits.
        auxiliary: with the auxiliary classifiers, for training. The output is then a dict.
        dropout: rate before the classifier, in [0, 1).
        skip_mismatch: leave tensors out that the file lacks, has too many of, or in another shape (another number of
            classes, say), and log them.
        name: of the model.
        filters: of convolutions by name, where they differ from the paper's.

    Raises:
        ValueError: an argument is wrong, or two contradict each other.
    """

    include_top: bool
    weights: str | os.PathLike | None
    input_tensor: KerasTensor | None
    input_shape: tuple[int | None, int | None, int] | None
    pooling: str | None
    classes: int
    activation: str | None
    auxiliary: bool
    dropout: float
    skip_mismatch: bool
    name: str
    filters: Mapping[str, int] | None = None

    def __post_init__(self):
        check("pooling", self.pooling, (None, *POOLINGS))
        if self.include_top and self.pooling:
            raise ValueError(
                f"`pooling` is for `include_top=False`; a top has its own. Received: pooling={self.pooling!r}"
            )
        if self.auxiliary and not self.include_top:
            raise ValueError(
                "`auxiliary=True` needs `include_top=True`: heads are classifiers. Received: include_top=False"
            )
        for layer, count in (self.filters or {}).items():
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise ValueError(f"`filters` must be positive integers. Received: filters={{{layer!r}: {count!r}}}")
        if not isinstance(self.classes, int) or self.classes < 1:
            raise ValueError(f"`classes` must be a positive integer. Received: classes={self.classes!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={self.dropout!r}")

    def refuse_auxiliary(self) -> None:
        """Raise ValueError if heads are asked of a network that has none."""
        if self.auxiliary:
            raise ValueError(f"`auxiliary` must be False: {self.name} has no auxiliary classifiers. Received: True")

    def unit(self, **layout) -> Unit:
        """The convolution unit: `keras_inception.models.blocks.conv` with such options and the filters of `filters`."""
        known = self.filters or {}

        def unit(x: KerasTensor, filters: int, size: int | tuple[int, int], *, name: str, **options) -> KerasTensor:
            return conv(x, known.get(name, filters), size, **{**layout, **options}, name=name)

        return unit

    def read_weights(self, family: str, *, transform_input: bool = False) -> Checkpoint | None:
        """The weights of the argument `weights`; None if there are none to load.

        Args:
            family: the network's key in `keras_inception.weights.publishers.PUBLISHERS`.
            transform_input: torchvision's argument of that name.
        """
        if self.weights is None:
            return None
        return read_weights(self.weights, family, transform_input=transform_input)

    def image_input(self, size: int, min_size: int, *, fixed: bool = False) -> tuple[KerasTensor, KerasTensor]:
        """The model's input and the tensor to build on, from keras.applications' pair of arguments.

        Args:
            size: side of the input in the paper, taken if there is a top and no shape is given.
            min_size: the smallest side that the network can take.
            fixed: whether the top, as the heads always, needs a known height and width.

        Raises:
            ValueError: not (height, width, 3), a side below `min_size`, or channels-first image data.
        """
        if keras.config.image_data_format() != "channels_last":
            raise ValueError("The networks are built channels last. Received: image_data_format='channels_first'")
        default = (size, size, 3) if self.include_top else (None, None, 3)
        given = self.input_shape if self.input_tensor is None else self.input_tensor.shape[1:]
        shape = tuple(given or default)
        if len(shape) != 3 or shape[2] != 3:
            raise ValueError(f"`input_shape` must be (height, width, 3). Received: {shape}")
        if any(side is not None and side < min_size for side in shape[:2]):
            raise ValueError(f"`input_shape` must be at least {min_size} on each side. Received: {shape}")
        if (self.auxiliary or (fixed and self.include_top)) and None in shape:
            because = "`auxiliary=True`" if self.auxiliary else "the classifier"
            raise ValueError(f"{because} needs an `input_shape` of known height and width. Received: {shape}")
        if self.input_tensor is None:
            inputs = keras.Input(shape, name="image")
            return inputs, inputs
        return keras.utils.get_source_inputs(self.input_tensor)[0], self.input_tensor

    def model(
        self,
        inputs: KerasTensor,
        x: KerasTensor,
        checkpoint: Checkpoint | None,
        *,
        heads: Mapping[str, KerasTensor] | None = None,
        top: Callable[[KerasTensor], KerasTensor] | None = None,
    ) -> keras.Model:
        """The network from its input to its last map `x`, with its end put on and its weights loaded.

        Args:
            heads: outputs of the auxiliary classifiers, by name.
            top: from the last map to the predictions; global average pooling, dropout and a dense layer if None.
        """
        if self.include_top:
            x = (top or self._pooled_classifier)(x)
        elif self.pooling:
            x = POOLINGS[self.pooling](name="global_pool")(x)
        model = keras.Model(inputs, {"predictions": x, **(heads or {})} if self.auxiliary else x, name=self.name)
        convolutions = [layer.name for layer in model.layers if isinstance(layer, layers.Conv2D)]
        for layer in self.filters or {}:
            if layer not in convolutions:
                hint = did_you_mean(layer, convolutions)
                raise ValueError(f"`filters` must name convolutions of {self.name}.{hint} Received: {layer!r}")
        if checkpoint:
            checkpoint.load_into(model, skip_mismatch=self.skip_mismatch)
            height, width = model.input_shape[1:3]
            preprocessing = checkpoint.preprocessing
            model.preprocessing = preprocessing.replace(size=(height, width)) if height and width else preprocessing
        return model

    def classifier(self, x: KerasTensor) -> KerasTensor:
        """Dropout and the dense layer ``predictions``: (batch, features) -> (batch, classes)."""
        return classifier(x, self.classes, dropout=self.dropout, activation=self.activation, name="predictions")

    def _pooled_classifier(self, x: KerasTensor) -> KerasTensor:
        return self.classifier(layers.GlobalAveragePooling2D(name="global_pool")(x))
