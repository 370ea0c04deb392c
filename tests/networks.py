"""Networks with random weights, in which every branch contributes to the output."""

from collections.abc import Iterable

import numpy as np
import pytest


def in_full_but(few: Iterable[str], names: Iterable[str]) -> list:
    """Return the names as test parameters. All but a few run only in `make test-full`."""
    return [name if name in few else pytest.param(name, marks=pytest.mark.full) for name in names]


def with_drawn_weights(model, seed: int = 0):
    """Randomize a model's batch norms and biases, far from their initial values, and return the model."""
    chance = np.random.default_rng(seed)
    for layer in model.layers:
        for weight in layer.weights:
            if weight.name in ("gamma", "moving_variance"):
                weight.assign(chance.uniform(0.5, 1.5, weight.shape))
            elif weight.name in ("beta", "moving_mean", "bias"):
                weight.assign(chance.normal(0, 0.2, weight.shape))
    return model


def overflowing():
    """Return a classifier of 4×4 images whose last convolution gives 7 and -7, by way of sums beyond half precision."""
    import keras

    image = keras.Input((4, 4, 3), batch_size=1)
    large = keras.layers.Conv2D(300, 1, use_bias=False, name="large", kernel_initializer="ones")(image)
    sums = keras.layers.Conv2D(2, 1, name="sums")
    model = keras.Model(image, keras.layers.Softmax()(keras.layers.GlobalMaxPooling2D()(sums(large))))
    kernel = np.repeat([1.0, -1.0], 150).reshape(1, 1, 300, 1) * [1.0, -1.0]
    sums.set_weights([kernel.astype("float32"), np.array([7, -7], "float32")])
    return model


def small_inception(input_shape, classes, auxiliary=False, dropout=0.0, filters=None):
    """Return a miniature network with a stem, a module of two branches, a sum of two branches, and batch norms."""
    from keras import Model, layers

    def unit(x, count, size, name, strides=1):
        count = (filters or {}).get(name, count)
        x = layers.Conv2D(count, size, strides=strides, padding="same", use_bias=False, name=name)(x)
        x = layers.BatchNormalization(momentum=0.8, name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    x = inputs = layers.Input(input_shape, name="image")
    x = unit(x, 16, 3, "stem", strides=2)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Concatenate(name="module")([unit(x, 16, 1, "one"), unit(unit(x, 16, 1, "reduce"), 24, 3, "three")])
    left, right = unit(x, 32, 3, "left"), unit(x, 32, 1, "right")
    last = layers.Add(name="sum")([left, right])
    pooled = layers.Dropout(dropout, name="dropout")(layers.GlobalAveragePooling2D(name="global_pool")(last))
    predictions = layers.Dense(classes, "softmax", name="predictions")(pooled)
    if not auxiliary:
        return Model(inputs, predictions, name="small_inception")
    head = layers.Dense(classes, "softmax", name="aux")(layers.GlobalAveragePooling2D(name="aux_pool")(x))
    return Model(inputs, {"predictions": predictions, "aux": head}, name="small_inception")


def small_body(side: int):
    """Return a miniature mobile body: inverted residuals with depthwise convolutions and squeeze-and-excite."""
    from keras import Model, layers

    def conv(x, count, name, size=1):
        x = layers.Conv2D(count, size, padding="same", use_bias=False, name=name)(x)
        return layers.BatchNormalization(momentum=0.8, name=f"{name}_bn")(x)

    x = image = layers.Input((side, side, 3))
    x = layers.MaxPooling2D(2, name="pool")(layers.ReLU(6.0, name="stem_relu")(conv(x, 16, "stem", 3)))
    wide = layers.Activation("hard_silu", name="expand_act")(conv(x, 32, "expand"))
    wide = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(wide)
    wide = layers.ReLU(name="depthwise_relu")(layers.BatchNormalization(name="depthwise_bn")(wide))
    factors = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(wide)
    factors = layers.Conv2D(16, 1, activation="relu", name="reduce")(factors)
    factors = layers.Conv2D(32, 1, name="excite")(factors)
    factors = layers.ReLU(6.0, name="excite_relu")(factors + 3.0) * (1 / 6)
    wide = layers.Multiply(name="excited")([wide, factors])
    x = layers.Add(name="residual")([x, conv(wide, 16, "project")])
    x = layers.ReLU(name="last_relu")(layers.BatchNormalization(name="last_bn")(x))
    return Model(image, layers.SeparableConv2D(24, 3, padding="same", name="separable")(x), name="body")


def transfer_model(side: int, classes: int, preprocess=None, activation="softmax"):
    """Return a classifier like those of tutorials: augmentation and preprocessing inside, and a nested, frozen body.

    Args:
        side: height and width of the images.
        classes: number of outputs.
        preprocess: a function from pixels to the input of the body; None for a `Rescaling`.
        activation: activation of the outputs.
    """
    from keras import Model, Sequential, layers

    body = with_drawn_weights(small_body(side))
    image = layers.Input((side, side, 3))
    x = Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)], name="augmentation")(image)
    x = (preprocess or layers.Rescaling(1 / 127.5, -1))(x)
    x = layers.GlobalAveragePooling2D(name="global_pool")(body(x, training=False))
    x = layers.Dropout(0.1, name="dropout")(x)
    return Model(image, layers.Dense(classes, activation, name="predictions")(x), name="own")
