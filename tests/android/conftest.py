"""Fixtures: files that Kotlin's tests read, made by Python."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pixels
import pytest
from exported import exported, pictures, run, tiny_model  # noqa: F401
from PIL import Image

from keras_inception import datasets, export, registry
from keras_inception.datasets.reading import _orientation as found_orientation
from keras_inception.datasets.reading import read_picture
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.utils import files

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # its scripts import each other by name

from exports import drawn

SIDE = 96
NETWORKS = {"googlenet": {"normalization": "batch_norm"}, "inception_v3": {}}
# The largest difference of a probability from Python's, and the tolerance of the self-test.
LIMITS = {
    "float32": (1e-6, "FLOAT32"),
    "float16": (1e-6, "FLOAT32"),
    "dynamic": (1e-2, "ROUNDED"),
    "int8": (0, "EIGHT_BITS"),
}


@pytest.fixture(scope="session")
def pictograms(tmp_path_factory) -> Path:
    """The folder of the bundled pictograms."""
    return datasets.pictograms(tmp_path_factory.mktemp("data") / "pictograms")


@pytest.fixture(scope="session")
def vectors(tmp_path_factory, pictograms) -> Path:
    """The folder: pictures and how they are fitted, exports, and the answers of their files."""
    folder = tmp_path_factory.mktemp("vectors")
    pixels.write(
        folder, [*(case for seed in range(2) for case in pixels.random_cases(seed)), *pixels.published_cases()]
    )
    answers = [each for name in NETWORKS for each in answered(folder, name, pictograms)]
    (folder / "exif.json").write_text(json.dumps(dict(turned(folder))), encoding="utf-8")
    (folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
    return folder


def turned(folder: Path) -> Iterator[tuple[str, int]]:
    """Write an image file for each type and orientation, and yield its name and the orientation that Pillow finds."""
    image = Image.fromarray(pixels.drawn((7, 13, 3), np.random.default_rng(0)))
    for kind in ("JPEG", "PNG", "WEBP"):
        for orientation in range(9):
            exif = Image.Exif()
            exif[0x0112] = orientation
            name = f"turned_{orientation}.{kind.lower()}"
            options = {"exif": exif} if orientation else {"xmp": b'<rdf:Description tiff:Orientation="8"/>'}
            image.save(folder / name, **({"pnginfo": None} if kind == "PNG" and not orientation else options))
            with Image.open(folder / name) as saved:
                yield name, found_orientation(saved)


def answered(folder: Path, name: str, pictograms: Path) -> Iterator[dict]:
    """Export a network with drawn weights, and yield the answers of each file for a few images."""
    model = drawn(registry.create(name, input_shape=(SIDE, SIDE, 3), classes=19, **NETWORKS[name]))
    output = folder / name
    export(model, output, calibration=pictograms / "train", min_agreement=0, clients=())
    for sample in files.read_json(output / "sample.json")["pictures"]:
        pixels_of(output / sample["picture"]).tofile(output / f"{sample['picture']}.rgb")
    images = sorted((pictograms / "test").rglob("*.jpg"))[::200]
    for image in images:
        rgba = Image.fromarray(read_picture(image)).convert("RGBA")
        np.asarray(rgba).tofile(folder / f"{image.stem}.rgba")
    for variant, (limit, tolerance) in LIMITS.items():
        path = next(output.glob(f"*_{variant}.tflite"))
        classifier = TFLiteClassifier(path)
        read = [read_picture(image) for image in images]
        fitted = np.stack([classifier.preprocessing.fit(picture) for picture in read])
        yield {
            "file": str(path.relative_to(folder)),
            "variant": variant,
            "limit": limit,
            "tolerance": tolerance,
            "pictures": [
                {
                    "rgba": f"{image.stem}.rgba",
                    "width": picture.shape[1],
                    "height": picture.shape[0],
                    "probabilities": probabilities.tolist(),
                }
                for image, picture, probabilities in zip(images, read, classifier.predict(fitted), strict=True)
            ],
        }


def pixels_of(path: Path) -> np.ndarray:
    """Return the pixels of an image, uint8 RGB."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
