"""Quantization-aware training starts from the same outputs, up to rounding."""

import keras
import numpy as np
import pytest
import tf_keras
from keras import layers
from networks import with_drawn_weights

from keras_inception.compression import quantization
from keras_inception.compression import tf_keras_bridge as bridge

SIDE = 16


def conv_block(x, name: str, size: int = 1):
    x = layers.Conv2D(8, size, padding="same", use_bias=False, name=name)(x)
    return layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(name=f"{name}_bn")(x))


def pooled(x):
    return layers.MaxPooling2D(3, strides=1, padding="same", name="pooled")(x)


MODULES = {
    "a pool last": lambda x: layers.Concatenate()([conv_block(x, "one"), pooled(x)]),
    "a pool first": lambda x: layers.Concatenate()([pooled(x), conv_block(x, "one")]),
    "two blocks, then one, then a pool": lambda x: layers.Concatenate()(
        [conv_block(conv_block(x, "reduce"), "three", 3), conv_block(x, "one"), pooled(x)]
    ),
    "a concatenation in another": lambda x: layers.Concatenate()(
        [conv_block(x, "one"), layers.Concatenate()([conv_block(x, "left"), conv_block(x, "right", 3)]), pooled(x)]
    ),
    "a scaled residual": lambda x: layers.Add()([x, layers.Rescaling(0.2, name="scale")(conv_block(x, "one"))]),
}


@pytest.fixture(params=MODULES)
def network(request) -> keras.Model:
    image = layers.Input((SIDE, SIDE, 3))
    x = MODULES[request.param](conv_block(image, "stem", 3))
    return with_drawn_weights(keras.Model(image, conv_block(x, "last")))


@pytest.mark.full
@pytest.mark.versions
def test_outputs_are_the_same_up_to_rounding(network):
    images = np.random.default_rng(0).uniform(-1, 1, (32, SIDE, SIDE, 3)).astype(np.float32)
    trainee = quantization.quantize_aware(bridge.to_tf_keras(network), [images])
    for layer in trainee.submodules:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.momentum = 1.0  # keeps its statistics while a training call measures the ranges of the weights
    trainee(images, training=True)
    expected = network.predict(images, verbose=0)
    for same in (trainee, quantization.quantized(trainee, (-1, 1))):
        error = same.predict(images, verbose=0) - expected
        assert error.std() < 0.05 * expected.std()
