"""Compute outputs of every network on one backend of Keras: ``KERAS_BACKEND=jax python forward.py OUT.npz``.

Weights and inputs are drawn by name, so that they are the same on all backends.
"""

import sys
import zlib

import keras
import numpy as np

import keras_inception

SIDES = {"alexnet": 67, "bn_inception": 64, "inception_resnet_v2": 75, "inception_v4": 75}
SIDES |= {"inception_v2": 107, "inception_v3": 107}
OPTIONS = {
    "googlenet": [{"auxiliary": True}, {"normalization": "batch_norm", "auxiliary": True}, {"module": "naive"}],
    "inception_v2": [{"auxiliary": True}],
    "inception_v3": [{"auxiliary": True}],
    "network_in_network": [{"form": "cifar"}],
    "resnet34": [{"shortcut": "A"}, {"shortcut": "B"}],
    "vgg16": [{}, {"normalization": "batch_norm"}],
}


def draw(name, shape):
    """Return random weights: kernels keep the scale of their input, variances are positive, the rest is near 0."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("kernel"):
        return rng.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape)
    if name.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.8, 1.2, shape)
    return rng.normal(0, 0.1, shape)


def outputs(name, options):
    side = SIDES.get(name, 32)
    model = keras_inception.create(name, input_shape=(side, side, 3), classes=10, classifier_activation=None, **options)
    for layer in model.layers:
        for weight in layer.weights:
            weight.assign(draw(f"{layer.name}/{weight.name}", tuple(weight.shape)).astype(np.float32))
    x = np.random.default_rng(side).normal(size=(2, side, side, 3)).astype(np.float32)
    found = model(keras.ops.convert_to_tensor(x), training=False)
    found = found if isinstance(found, dict) else {"predictions": found}
    return {f"{name} {options} {key}": keras.ops.convert_to_numpy(value) for key, value in found.items()}


if __name__ == "__main__":
    every = {}
    for network in keras_inception.list_models():
        for chosen in OPTIONS.get(network, [{}]):
            every |= outputs(network, chosen)
    np.savez(sys.argv[1], **every)
