"""Networks whose weights are drawn, so that no branch of them is silent."""

import numpy as np


def with_drawn_weights(model, seed: int = 0):
    """The model, its batch norms and biases far from what they begin with."""
    chance = np.random.default_rng(seed)
    for layer in model.layers:
        for weight in layer.weights:
            if weight.name in ("gamma", "moving_variance"):
                weight.assign(chance.uniform(0.5, 1.5, weight.shape))
            elif weight.name in ("beta", "moving_mean", "bias"):
                weight.assign(chance.normal(0, 0.2, weight.shape))
    return model
