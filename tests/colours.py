"""Images of noisy colors, and a small network that classifies most of them correctly."""

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from keras_inception.preprocessing import Preprocessing

SIDE = 32
COLORS = {"blau – «Ä»": (90, 110, 190), "green": (110, 170, 110), "red": (190, 100, 100)}
LABELS = tuple(COLORS)


def color_images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images, uint8 (count * classes, SIDE, SIDE, 3), and labels. Some are too similar to tell apart."""
    chance = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(COLORS)), count)
    color = np.array(list(COLORS.values()))[labels][:, None, None]
    shift = chance.normal(0, 22, (len(labels), 1, 1, 3))
    noise = chance.normal(0, 50, (len(labels), SIDE, SIDE, 3))
    return np.clip(color + shift + noise, 0, 255).astype(np.uint8), labels


def save_images(folder: Path, count: int, seed: int) -> Path:
    """Write `count` images per class to a folder of class folders, and return the folder."""
    for index, (image, label) in enumerate(zip(*color_images(count, seed), strict=True)):
        (folder / LABELS[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / LABELS[label] / f"{index}.png")
    return folder


def trained(preprocessing: Preprocessing, activation: str | None = "softmax"):
    """Return a small network, trained on the colors after `preprocessing`."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image)
    x = layers.BatchNormalization(momentum=0.8)(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(len(COLORS), activation=activation, name="predictions")(x), name="tiny")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None)
    model.compile(keras.optimizers.Adam(0.01), loss)
    images, labels = color_images(60, seed=0)
    model.fit(preprocessing.normalize(images.astype(np.float32)), labels, epochs=6, verbose=0)
    return model


def without_archive(path: Path) -> bytes:
    """Return an exported file without the archive appended to the model, but with the metadata inside the model."""
    with zipfile.ZipFile(path) as archive:
        return path.read_bytes()[: min(entry.header_offset for entry in archive.infolist())]
