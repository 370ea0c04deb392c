"""Pictures of colours in noise, and a small network that tells them apart, though not every time."""

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from keras_inception.preprocessing import Preprocessing

SIDE = 32
COLOURS = {"blau – «Ä»": (90, 110, 190), "green": (110, 170, 110), "red": (190, 100, 100)}
LABELS = tuple(COLOURS)


def colour_pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures, uint8 (count * classes, SIDE, SIDE, 3), and their classes, too alike to be told apart every time."""
    chance = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(COLOURS)), count)
    colour = np.array(list(COLOURS.values()))[truth][:, None, None]
    shift = chance.normal(0, 22, (len(truth), 1, 1, 3))
    noise = chance.normal(0, 50, (len(truth), SIDE, SIDE, 3))
    return np.clip(colour + shift + noise, 0, 255).astype(np.uint8), truth


def save_pictures(folder: Path, count: int, seed: int) -> Path:
    for index, (picture, label) in enumerate(zip(*colour_pictures(count, seed), strict=True)):
        (folder / LABELS[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / LABELS[label] / f"{index}.png")
    return folder


def trained(preprocessing: Preprocessing, activation: str | None = "softmax"):
    """A small network that has learnt the colours as `preprocessing` gives them."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image)
    x = layers.BatchNormalization(momentum=0.8)(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(len(COLOURS), activation=activation, name="predictions")(x), name="tiny")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None)
    model.compile(keras.optimizers.Adam(0.01), loss)
    pictures, truth = colour_pictures(60, seed=0)
    model.fit(preprocessing.normalize(pictures.astype(np.float32)), truth, epochs=6, verbose=0)
    return model


def without_archive(path: Path) -> bytes:
    """The model in an exported file as the converter left it, but for the metadata inside it."""
    with zipfile.ZipFile(path) as archive:
        return path.read_bytes()[: min(entry.header_offset for entry in archive.infolist())]
