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
