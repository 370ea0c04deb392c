"""Convert networks for timing, without any images: int8 is calibrated on noise."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.exporting.convert import convert
from keras_inception.exporting.signature import deployed, save
from keras_inception.exporting.variants import VARIANTS
from keras_inception.preprocessing import DEFAULT, Preprocessing
from keras_inception.utils.files import temporary_folder

if TYPE_CHECKING:
    import keras


def convert_on_noise(
    model: "keras.Model", preprocessing: Preprocessing, input_preprocessing: Preprocessing, files: Mapping[str, Path]
) -> None:
    """Write .tflite files for timing. They are as fast as exported files, but int8 is less accurate.

    Args:
        model: the rewritten network.
        preprocessing: preprocessing that the network expects.
        input_preprocessing: preprocessing that the input of the files expects.
        files: the path to write for each variant, such as ``{"int8": Path("model.tflite")}``.
    """
    with temporary_folder() as folder:
        saved_model, noise = folder / "model", folder / "noise.npy"
        save(deployed(model, preprocessing, input_preprocessing), saved_model)
        np.save(noise, np.random.default_rng(0).integers(0, 256, (4, *preprocessing.size, 3), np.uint8))
        for variant, path in files.items():
            convert(saved_model, VARIANTS[variant], path, noise, input_preprocessing)


def write_peaks(folder: Path) -> list[Path]:
    """Write a float32 and an int8 file that reach the machine's peak throughput, as a yardstick for other files.

    They consist of wide convolutions, in which XNNPACK never waits for memory. Writing them takes half a minute.
    """
    import keras

    image = x = keras.Input((28, 28, 3))
    for _ in range(6):
        x = keras.layers.Conv2D(512, 1, activation="relu")(x)
    model = keras.Model(image, keras.layers.Flatten()(x))
    preprocessing = DEFAULT.replace(size=(28, 28))
    files = {variant: folder / f"{variant}.tflite" for variant in ("float32", "int8")}
    convert_on_noise(model, preprocessing, preprocessing, files)
    return list(files.values())
