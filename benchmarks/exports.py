"""Export networks with random weights, for measurements."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.exporting.noise import convert_on_noise
from keras_inception.exporting.rewrites import for_variants
from keras_inception.exporting.variants import VARIANTS
from keras_inception.preprocessing import DEFAULT

if TYPE_CHECKING:
    import keras


def drawn(model: "keras.Model") -> "keras.Model":
    """Randomize the model's weights so that every branch is active, and classes differ in probability, none certain."""
    chance = np.random.default_rng(0)
    for layer in model.layers:
        for weight in layer.weights:
            if weight.name == "kernel":
                gain = 0.5 if layer.name == "predictions" else 2
                weight.assign(chance.normal(0, (gain / np.prod(weight.shape[:-1])) ** 0.5, weight.shape))
            elif weight.name in ("gamma", "moving_variance"):
                weight.assign(chance.uniform(0.8, 1.2, weight.shape))
            else:
                weight.assign(chance.normal(0, 0.1, weight.shape))
    return model


def converted(model: "keras.Model", files: Mapping[str, Path], rewrites: Sequence[str] | None = None) -> None:
    """Convert a network to one file per variant.

    Args:
        model: the network.
        files: path of each variant.
        rewrites: rewrites of the graph; None uses the defaults of export.
    """
    preprocessing = DEFAULT.replace(size=model.input_shape[1:3])
    models = for_variants(model, [VARIANTS[variant] for variant in files], rewrites)
    for variant, path in files.items():
        convert_on_noise(models[variant], preprocessing, preprocessing, {variant: path})


def noise(size: tuple[int, int], count: int) -> np.ndarray:
    """Return images of noise, uint8 (count, *size, 3)."""
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)
