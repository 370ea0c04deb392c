"""What the arguments that all networks share mean, and their errors."""

import keras
from keras import layers

POOLINGS = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}


def check(argument: str, value, allowed: tuple) -> None:
    """Raise ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"`{argument}` must be one of {', '.join(map(repr, allowed))}. Received: {argument}={value!r}")


def check_classifier(include_top: bool, pooling: str | None, classes: int, dropout: float, auxiliary: bool) -> None:
    """Raise ValueError if the arguments that shape the end of a network are wrong or contradict each other."""
    check("pooling", pooling, (None, *POOLINGS))
    if include_top and pooling:
        raise ValueError(f"`pooling` is for `include_top=False`; a top has its own. Received: pooling={pooling!r}")
    if auxiliary and not include_top:
        raise ValueError(
            "`auxiliary=True` needs `include_top=True`: heads are classifiers. Received: include_top=False"
        )
    if not isinstance(classes, int) or classes < 1:
        raise ValueError(f"`classes` must be a positive integer. Received: classes={classes!r}")
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout!r}")


def image_input(
    input_tensor: keras.KerasTensor | None, input_shape: tuple | None, *, default: tuple, min_size: int
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The model's input and the tensor to build on, from keras.applications' pair of arguments.

    Raises:
        ValueError: not (height, width, 3), a side below `min_size`, or channels-first image data.
    """
    if keras.config.image_data_format() != "channels_last":
        raise ValueError("The networks are built channels last. Received: image_data_format='channels_first'")
    shape = tuple(input_tensor.shape[1:]) if input_tensor is not None else tuple(input_shape or default)
    if len(shape) != 3 or shape[2] != 3:
        raise ValueError(f"`input_shape` must be (height, width, 3). Received: {shape}")
    if any(side is not None and side < min_size for side in shape[:2]):
        raise ValueError(f"`input_shape` must be at least {min_size} on each side. Received: {shape}")
    if input_tensor is None:
        inputs = keras.Input(shape, name="image")
        return inputs, inputs
    return keras.utils.get_source_inputs(input_tensor)[0], input_tensor
