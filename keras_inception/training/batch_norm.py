"""Recompute the statistics of batch norms from training images.

The moving averages of a short training have not arrived when it ends, and those of a longer one belong to the weights
of each step, not to their average, which is kept. Recomputed for the kept weights, they always fit (2105.07576,
section 3).
"""

import functools
import math
from collections import Counter
from collections.abc import Collection

import keras
import numpy as np

from keras_inception.datasets import Examples, evaluation_batches
from keras_inception.graph import walk
from keras_inception.preprocessing import Preprocessing

MAX_IMAGES, BATCH = 5000, 32
# Before the last epoch, a share of the images trained on since the last validation, so that training is hardly slower.
SHARE, MIN_IMAGES = 1 / 32, 128


def trained_norms(trainee: keras.Model, network: keras.Model) -> list[str]:
    """Return the names of a network's batch norms that its copy `trainee` trains, and that it calls once.

    The layers of the two have the same order. Their names can differ, where Keras made them up.
    """
    calls = Counter(step.operation.name for step in walk(network).steps)
    pairs = zip(_norms(trainee), _norms(network), strict=True)
    return [norm.name for copy, norm in pairs if copy.trainable and calls[norm.name] == 1]


def _norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


class Recalibration:
    """Recomputes the statistics of batch norms as the mean and variance over training images.

    The result depends only on the network's weights, the seed and the number of images. At most `MAX_IMAGES` images are
    used, in batches of equal size, so that only one graph is built.

    Args:
        examples: the training images.
        preprocessing: the preprocessing of the network's input in evaluation.
        seed: selects the images and their order.
    """

    def __init__(self, examples: Examples, preprocessing: Preprocessing, seed: int):
        chosen = np.random.default_rng(seed).permutation(len(examples))[:MAX_IMAGES]
        self._batch = len(chosen) // math.ceil(len(chosen) / BATCH)
        self._examples = examples.select(chosen)
        self._preprocessing = preprocessing
        self._probe = functools.lru_cache(1)(_probe)  # build the graph only for a new network or other layers

    def __call__(self, network: keras.Model, norms: Collection[str], images: int = MAX_IMAGES) -> None:
        """Recompute the statistics of the named batch norms of a network, and leave everything else unchanged.

        Args:
            network: a functional network.
            norms: names of its batch norms. The others normalize with the statistics that they have.
            images: about how many images to use.
        """
        if not norms:
            return
        probe = self._probe(network, tuple(norms))
        for layer in probe.layers:
            if layer.weights:
                layer.set_weights(network.get_layer(layer.name).get_weights())
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()  # it keeps what it computes with beside its weights
        count = max(1, min(images, len(self._examples)) // self._batch)
        few = self._examples.select(np.arange(count * self._batch))
        batches = evaluation_batches(few, self._preprocessing, self._batch)
        found = [probe.predict_on_batch(np.asarray(x)) for x, _ in batches]
        for name in norms:
            means, variances = np.stack([moments[name] for moments in found], axis=1).astype(np.float64)
            mean = means.mean(axis=0)
            norm = network.get_layer(name)
            norm.moving_mean.assign(mean)
            norm.moving_variance.assign((variances + (means - mean) ** 2).mean(axis=0))


def _probe(network: keras.Model, norms: tuple[str, ...]) -> keras.Model:
    """Return a copy of a network that outputs the moments of each named batch norm's input, (2, channels), by name.

    These batch norms normalize each batch with its own statistics, as in training. Everything else, such as dropout,
    works as in inference.
    """

    def copied(layer: keras.Operation) -> keras.Operation:
        kind = _BatchStatistics if layer.name in norms else type(layer)
        return kind.from_config(layer.get_config())

    trunk = keras.Model(network.inputs, {name: network.get_layer(name).input for name in norms})
    copy = keras.models.clone_model(trunk, clone_function=copied)
    moments = {name: _Moments(network.get_layer(name).axis)(x) for name, x in copy.output.items()}
    return keras.Model(copy.inputs, moments)


class _BatchStatistics(keras.layers.BatchNormalization):
    """Batch norm that always normalizes with the statistics of the batch."""

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=True, mask=mask)


class _Moments(keras.layers.Layer):
    """Mean and variance of each channel of a batch: (batch, ..., channels) -> (2, channels)."""

    def __init__(self, axis: int):
        super().__init__()
        self.axis = axis

    def call(self, inputs):
        axes = [axis for axis in range(inputs.ndim) if axis != self.axis % inputs.ndim]
        return keras.ops.stack(keras.ops.moments(keras.ops.cast(inputs, "float32"), axes))
