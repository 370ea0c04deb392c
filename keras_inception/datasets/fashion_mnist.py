"""Fashion-MNIST (1708.07747): 70,000 gray images of 28×28 pixels in ten classes, in its original files."""

import gzip
import os
import zlib
from pathlib import Path

import numpy as np

from keras_inception.datasets.examples import Arrays
from keras_inception.datasets.splits import Found

# Names and order as in the dataset's README.
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
FILES = {"train": "train", "test": "t10k"}  # prefix of each split's file names
INSTALLED = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist
UNSIGNED_BYTE = 8  # type code in IDX


def find_fashion_mnist(folder: str | os.PathLike | None = None) -> Found:
    """Read Fashion-MNIST from the four ``-ubyte.gz`` files in a folder.

    Args:
        folder: None uses the folder of Debian's package if it exists, else Keras' own copy, which it downloads once.

    Raises:
        ValueError: a file is missing or damaged.
        OSError: the files cannot be downloaded.
    """
    root = Path(folder) if folder is not None else INSTALLED
    arrays = _downloaded() if folder is None and not root.is_dir() else {split: _read(root, split) for split in FILES}
    splits = {}
    for split, (pictures, labels) in arrays.items():
        if len(labels) != len(pictures) or labels.max(initial=0) >= len(CLASSES):
            raise ValueError(
                f"{root}: {split} must have a label of 0 to {len(CLASSES) - 1} for each image. "
                f"Received: {len(pictures)} images, {len(labels)} labels up to {labels.max(initial=0)}"
            )
        splits[split] = Arrays(
            labels=labels.astype(np.int32),
            keys=np.array([f"{number:05}" for number in range(len(labels))], object),
            pictures=pictures,
            source=f"fashion_mnist {split}",
        )
    return Found("Fashion-MNIST", CLASSES, splits)


def read_idx(path: str | os.PathLike, dimensions: int) -> np.ndarray:
    """Read the array of bytes in a gzipped IDX file.

    The file holds two zeros, the type, the number of dimensions, their sizes, and the values.

    Raises:
        ValueError: the file is missing, damaged or of another kind.
    """
    try:
        with gzip.open(path) as file:
            content = file.read()
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)):
        raise ValueError(f"{path} must be an IDX file of bytes in {dimensions} dimensions. Received: {content[:4]!r}")
    shape = tuple(np.frombuffer(content, ">u4", dimensions, offset=4).tolist())
    if len(content) - header != int(np.prod(shape, dtype=object)):
        raise ValueError(f"{path} must hold {shape} bytes. Received: {len(content) - header}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, (n, height, width), and labels, (n,), of a split."""
    begin = folder / FILES[split]
    return read_idx(f"{begin}-images-idx3-ubyte.gz", 3), read_idx(f"{begin}-labels-idx1-ubyte.gz", 1)


def _downloaded() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    import keras

    try:
        return dict(zip(FILES, keras.datasets.fashion_mnist.load_data(), strict=True))
    except Exception as error:  # a download can raise anything
        raise OSError(f"Fashion-MNIST is not in {INSTALLED}, and Keras cannot download it: {error}") from None
