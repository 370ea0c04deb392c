"""Pictures and how they are fitted, to test the implementations of `Preprocessing` outside of Python.

JavaScript and Kotlin read the same folder: `Preprocessing` made what they must make.
"""

import dataclasses
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from resizes import RESIZES

from keras_inception import Preprocessing
from keras_inception.datasets.reading import TURNS
from keras_inception.preprocessing import NAMED

# (height, width): one pixel, long and thin, aspect ratio beyond 64, nearly square, ordinary.
SHAPES = [(1, 1), (1, 97), (97, 1), (2, 900), (900, 2), (3, 3), (224, 224), (225, 223), (256, 341), (500, 375)]


class Stored(NamedTuple):
    """A picture as a camera or decoder stores it.

    Attributes:
        rows: uint8 (rows, stride), with the pixels' RGBA.
        left: first column of the picture in the rows.
        top: first row of the picture.
        width: columns of the picture, as stored.
        height: rows of the picture, as stored.
        orientation: EXIF's.
    """

    rows: np.ndarray
    left: int
    top: int
    width: int
    height: int
    orientation: int

    def upright(self) -> np.ndarray:
        """Return the upright picture on white, uint8 RGB."""
        rows = np.ascontiguousarray(self.rows[self.top : self.top + self.height, 4 * self.left :][:, : 4 * self.width])
        image = Image.fromarray(rows.reshape(self.height, self.width, 4))
        if self.orientation > 1:
            image = image.transpose(Image.Transpose[TURNS[self.orientation - 2]])
        return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


def drawn(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return noise from black to white, in which filters overshoot at both ends."""
    return np.clip(generator.integers(-200, 456, shape), 0, 255).astype(np.uint8)


def stored(chance: random.Random, shape: tuple[int, int]) -> Stored:
    """Draw a picture of this height and width: its pixels, transparency, padding, place and orientation."""
    height, width = shape
    left, top, right, bottom, padding = (chance.choice((0, 0, chance.randint(1, 9))) for _ in range(5))
    generator = np.random.default_rng(chance.getrandbits(32))
    rows = drawn((top + height + bottom, 4 * (left + width + right) + padding), generator)
    if chance.random() < 0.7:
        rows[:, 3 : 4 * (left + width + right) : 4] = 255
    return Stored(rows, left, top, width, height, chance.randint(1, 8))


def random_cases(seed: int) -> list[tuple[Stored, Preprocessing]]:
    """Draw four pictures of difficult shapes and four of any for each combination of fitting and interpolation."""
    chance, cases = random.Random(seed), []
    for resize in RESIZES:
        for shape in [*chance.sample(SHAPES, 4), *((chance.randint(1, 400), chance.randint(1, 400)) for _ in range(4))]:
            channels = chance.choice(["RGB", "BGR", "gray"])
            count = 1 if channels == "gray" else 3
            preprocessing = Preprocessing(
                size=(chance.randint(1, 160), chance.randint(1, 160)),
                mean=tuple(chance.uniform(0, 255) for _ in range(count)),
                std=tuple(chance.uniform(1e-3, 255) for _ in range(count)),
                channels=channels,
                crop=1.0 if resize["fitting"] == "pad" else chance.choice([1.0, 0.875, 0.5, chance.uniform(0.1, 1)]),
                **resize,
            )
            cases.append((stored(chance, shape), preprocessing))
    return cases


def published_cases() -> list[tuple[Stored, Preprocessing]]:
    """Return pictures of ordinary shapes for each publisher's preprocessing, at two sizes."""
    chance = random.Random(0)
    return [
        (stored(chance, shape), preprocessing.replace(size=(size, size)))
        for preprocessing in NAMED.values()
        for shape in ((375, 500), (640, 427), (96, 96), (61, 1200))
        for size in (96, 224)
    ]


def write(folder: Path, cases: Iterable[tuple[Stored, Preprocessing]]) -> None:
    """Write the cases: `preprocessing.json`, `pictures`, and `expected`, fitted bytes before normalized floats."""
    described = []
    with open(folder / "pictures", "wb") as pictures, open(folder / "expected", "wb") as expected:
        for picture, preprocessing in cases:
            fitted = preprocessing.fit(picture.upright())
            pictures.write(picture.rows.tobytes())
            expected.write(fitted.tobytes())
            expected.write(np.ascontiguousarray(preprocessing.normalize(fitted.astype(np.float32)), "<f4").tobytes())
            described.append(
                {
                    **{key: value for key, value in picture._asdict().items() if key != "rows"},
                    "rows": picture.rows.shape[0],
                    "stride": picture.rows.shape[1],
                    "preprocessing": json.dumps(dataclasses.asdict(preprocessing)),
                }
            )
    (folder / "preprocessing.json").write_text(json.dumps(described), encoding="utf-8")
