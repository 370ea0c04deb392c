"""Files that run as fast as the machine multiplies, as a yardstick for others."""

from pathlib import Path

import numpy as np

from keras_inception.exporting.convert import convert
from keras_inception.exporting.signature import deployed, save
from keras_inception.exporting.variants import VARIANTS
from keras_inception.preprocessing import DEFAULT

SIDE, FILTERS, DEPTH = 28, 512, 6


def write_peaks(folder: Path) -> list[Path]:
    """Write a float32 and an int8 file of wide convolutions only, in which XNNPACK never waits for memory.

    This takes half a minute.
    """
    import keras

    image = x = keras.Input((SIDE, SIDE, 3))
    for _ in range(DEPTH):
        x = keras.layers.Conv2D(FILTERS, 1, activation="relu")(x)
    preprocessing = DEFAULT.replace(size=(SIDE, SIDE))
    model = keras.Model(image, keras.layers.Flatten()(x))
    save(deployed(model, preprocessing, preprocessing), folder / "model")
    np.save(folder / "noise.npy", np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8))
    files = [folder / f"{variant}.tflite" for variant in ("float32", "int8")]
    for path in files:
        convert(folder / "model", VARIANTS[path.stem], path, folder / "noise.npy", preprocessing)
    return files
