"""Write old_keras.keras to this folder. Needs Keras 3.5 or earlier, whose files lack the names of layers."""

from pathlib import Path

import keras
import numpy as np
from keras import layers


def main():
    inputs = keras.Input((1, 1, 2))
    x = layers.Conv2D(2, 1, name="z", use_bias=False)(inputs)
    x = layers.BatchNormalization(scale=False, name="z_bn")(x)
    inner = keras.Sequential([layers.Conv2D(3, 1, name="inner_a", use_bias=False)], name="inner")
    model = keras.Model(inputs, layers.Conv2D(1, 1, name="a")(inner(x)))
    model.set_weights([(np.arange(w.size) + 10.0 * i).reshape(w.shape) for i, w in enumerate(model.get_weights())])
    model.save(Path(__file__).with_name("old_keras.keras"))
    for weight in model.weights:
        print(weight.path, weight.numpy().ravel())


if __name__ == "__main__":
    main()
