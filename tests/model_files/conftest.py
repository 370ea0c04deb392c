"""Small networks in Keras 3 and tf_keras, and a file that hostile models try to write."""

import keras
import numpy as np
import pytest

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def images():
    return IMAGES


@pytest.fixture
def loot(tmp_path):
    """The path of a file that must never exist."""
    path = tmp_path / "loot.txt"
    yield path
    assert not path.exists(), "code from a file was run"


@pytest.fixture
def build():
    """A small classifier of a library, Keras 3 by default; `first` is applied to its input."""

    def built(library=keras, first=lambda x: x):
        layers = library.layers
        inputs = library.Input((16, 16, 3))
        x = layers.Rescaling(1 / 127.5, -1)(first(inputs))
        x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", use_bias=False)(x))
        x = layers.DepthwiseConv2D(3)(layers.LeakyReLU(0.2)(x))
        x = layers.GlobalAveragePooling2D()(layers.ReLU(6.0)(x))
        return library.Model(inputs, layers.Dense(3, activation="softmax")(layers.Dropout(0.3)(x)))

    return built


@pytest.fixture
def predicts(images):
    """Return a model's outputs on the same images."""
    return lambda model: np.asarray(model(images, training=False))
