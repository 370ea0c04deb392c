"""Files that run as fast as the machine multiplies, as a yardstick for others."""

from pathlib import Path

from keras_inception.exporting.noise import convert_on_noise
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
    files = {variant: folder / f"{variant}.tflite" for variant in ("float32", "int8")}
    convert_on_noise(model, preprocessing, preprocessing, files)
    return list(files.values())
