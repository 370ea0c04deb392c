"""`Examples`: labeled images in a fixed order, read by index from files or from memory."""

import abc
import dataclasses
import hashlib
import io
import os
import posixpath
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from keras_inception.datasets.reading import read_picture

if TYPE_CHECKING:
    import tensorflow as tf

    # Maps an image's shape, int32 (3,), to the begin and size of a crop, as for `tf.slice`.
    Crop = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

# JPEG decoders smooth subsampled colors across columns, so a region that is decoded alone differs at its left and right
# edges. Decoding this many extra columns on each side and cropping them gives the same colors as the whole image.
MARGIN = 4
TAIL = 1024  # bytes at the end of a file that tell different images of one size apart, except for few


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Examples(abc.ABC):
    """Labeled images in a fixed order.

    Attributes:
        labels: class index of each image, int32 (n,).
        keys: name of each image, independent of where the dataset is stored, such as its path relative to the folder;
            str (n,).
        groups: name of each image's group, whose images stay in one split; empty for an image of no group; str
            (n,). None if there are no groups.
    """

    labels: np.ndarray
    keys: np.ndarray
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @abc.abstractmethod
    def name(self, index: int) -> str:
        """Return an image's name for messages: its path, or its file and position in that file."""

    def path(self, index: int) -> str:
        """Return an image's path relative to the folder of the dataset, with slashes; without a folder, its name."""
        return self.name(index)

    def paths(self) -> tuple[str, ...]:
        """Return `path` of all images, in order."""
        return tuple(map(self.path, range(len(self))))

    @abc.abstractmethod
    def read(self, index: int) -> np.ndarray:
        """Read an image as `read_picture` does, uint8 RGB (height, width, 3).

        Raises:
            ValueError: the image cannot be read; the message names it.
        """

    @abc.abstractmethod
    def decoder(self) -> "Callable[[tf.Tensor, Crop], tf.Tensor]":
        """Return a TensorFlow function that maps an image's index and a `Crop` to the cropped pixels of `read`.

        Call this method outside of a graph, since it may have to examine all images first.
        """

    def encoded(self, index: int) -> bytes:
        """Return JPEG or PNG bytes that TensorFlow decodes to the pixels of `read`: the original bytes if possible."""
        from PIL import Image

        content = io.BytesIO()
        Image.fromarray(self.read(index)).save(content, "PNG")
        return content.getvalue()

    @abc.abstractmethod
    def content(self, index: int) -> bytes:
        """Return an image's bytes as they are stored."""

    @abc.abstractmethod
    def clues(self) -> list[tuple[int, int]]:
        """Return for each image a pair of numbers that images with the same bytes share, and few others."""

    def select(self, indices) -> Self:
        """Return the images at these indices, in this order."""
        chosen = np.asarray(indices, np.intp)
        columns = {field: value for field, value in vars(self).items() if isinstance(value, np.ndarray)}
        return dataclasses.replace(self, **{field: column[chosen] for field, column in columns.items()})

    def relabelled(self, labels) -> Self:
        """Return the same images with other class indices."""
        return dataclasses.replace(self, labels=np.asarray(labels, np.int32))

    def among(self, others: "Examples") -> np.ndarray:
        """Return which of these images are among others, whatever their names and labels, bool (n,).

        Images are equal if their bytes are (`content`), in folders and shards alike.
        """
        known = set(others._digests())
        return np.array([digest in known for digest in self._digests()], bool)

    def _digests(self) -> list[bytes]:
        """Return the SHA-256 of each image."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda index: hashlib.sha256(self.content(index)).digest(), range(len(self))))

    def fingerprint(self, names: Iterable[str] | None = None) -> str:
        """Return a hash of names, labels and contents in order.

        Args:
            names: name of each image. Default: its key.
        """
        names = self.keys if names is None else names
        return fingerprint(zip(names, self.labels.tolist(), self._marks(), strict=True))

    def fingerprint_0_1(self) -> str:
        """Return the `fingerprint` that version 0.1 recorded. It misses changes of PNG files of equal sizes."""
        return fingerprint(zip(self.keys, self.labels.tolist(), self._crcs(), strict=True))

    def _marks(self) -> list[int]:
        """Return a number for each image that changes with its content."""
        return [int.from_bytes(digest[:8]) for digest in self._digests()]

    def _crcs(self) -> list[int]:
        """Return the CRC-32 of each image. That of a PNG file, which has CRCs inside, hardly depends on its pixels."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda index: zlib.crc32(self.content(index)), range(len(self))))


def fingerprint(rows: Iterable[tuple[str, int, int]]) -> str:
    """Compute `Examples.fingerprint` from the (name, label, mark) of each image."""
    digest = hashlib.sha256()
    for name, label, mark in rows:
        digest.update(os.fsencode(f"{name}\0{label}\0{mark}\0"))
    return digest.hexdigest()


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Files(Examples):
    """Images in one file each, with `keys` as paths relative to the folder `base`.

    Attributes:
        base: path of the folder.
        folder: path of `base` relative to the folder of the dataset; empty for this folder itself.
        plain: whether TensorFlow is expected to decode each image as Pillow does (`examine`), bool (n,).
    """

    base: str
    plain: np.ndarray
    folder: str = ""

    def name(self, index: int) -> str:
        return os.path.join(self.base, self.keys[index])

    def path(self, index: int) -> str:
        return posixpath.join(self.folder, self.keys[index])

    def read(self, index: int) -> np.ndarray:
        return read_picture(self.name(index))

    def decoder(self) -> "Callable[[tf.Tensor, Crop], tf.Tensor]":
        import tensorflow as tf

        paths = tf.constant([os.fsencode(self.name(index)) for index in range(len(self))])
        return decoding(lambda index: tf.io.read_file(paths[index]), self.decodable(), self.read)

    def decodable(self) -> np.ndarray:
        """Return which images TensorFlow can decode, bool (n,).

        TensorFlow rejects some images that look plain, and a single one would stop the training.

        Raises:
            OSError: a file cannot be read.
        """

        def decodes(index: int) -> bool:
            return self.plain[index] and tensorflow_decodes(self.content(index))

        with ThreadPoolExecutor() as pool:  # TensorFlow releases the GIL while decoding
            return np.array(list(pool.map(decodes, range(len(self)))), bool)

    def encoded(self, index: int) -> bytes:
        content = self.content(index)
        return content if self.plain[index] and tensorflow_decodes(content) else super().encoded(index)

    def content(self, index: int) -> bytes:
        return Path(self.name(index)).read_bytes()

    def clues(self) -> list[tuple[int, int]]:
        def clue(index: int) -> tuple[int, int]:
            with open(self.name(index), "rb", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - TAIL, 0))
                return size, zlib.crc32(file.read(TAIL))

        with ThreadPoolExecutor() as pool:
            return list(pool.map(clue, range(len(self))))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Arrays(Examples):
    """Images in memory.

    Attributes:
        pictures: uint8 (n, height, width) or (n, height, width, 1 or 3), gray or RGB; or an object array of n such
            images of any sizes.
        source: name of the source, for messages.
    """

    pictures: np.ndarray
    source: str

    def name(self, index: int) -> str:
        return f"{self.source}#{self.keys[index]}"

    def read(self, index: int) -> np.ndarray:
        image = np.atleast_3d(self.pictures[index])
        return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))

    def decoder(self) -> "Callable[[tf.Tensor, Crop], tf.Tensor]":
        return lambda index, crop: _part(_by_python(self.read, index), crop)

    def content(self, index: int) -> bytes:
        return self.pictures[index].tobytes()

    def clues(self) -> list[tuple[int, int]]:
        return [(picture.nbytes, crc) for picture, crc in zip(self.pictures, self._crcs(), strict=True)]


def decoding(
    content: "Callable[[tf.Tensor], tf.Tensor]", plain: np.ndarray, read: Callable[[int], np.ndarray]
) -> "Callable[[tf.Tensor, Crop], tf.Tensor]":
    """Return the function of `Examples.decoder` for encoded images.

    Args:
        content: returns the bytes of an image, given its index in the graph.
        plain: whether TensorFlow can decode each image, bool (n,).
        read: decodes the other images in Python.
    """
    import tensorflow as tf

    by_tensorflow = tf.constant(plain)

    def decode(index: "tf.Tensor", crop: "Crop") -> "tf.Tensor":
        return tf.cond(
            by_tensorflow[index],
            lambda: _decoded_part(content(index), crop),
            lambda: _part(_by_python(read, index), crop),
        )

    return decode


def tensorflow_decodes(content: bytes) -> bool:
    """Return whether TensorFlow can decode an image."""
    import tensorflow as tf

    try:
        _whole(content)
    except tf.errors.OpError:
        return False
    return True


def _decoded_part(content: "tf.Tensor", crop: "Crop") -> "tf.Tensor":
    """Decode a crop of an image. For a JPEG, decode nothing outside of it."""
    import tensorflow as tf

    return tf.cond(tf.io.is_jpeg(content), lambda: _part_of_jpeg(content, crop), lambda: _part(_whole(content), crop))


def _whole(content: "tf.Tensor") -> "tf.Tensor":
    """Decode a plain image to uint8 RGB (height, width, 3): `decode_jpeg` accepts PNG too.

    Since TensorFlow 2.20 it also accepts animations and returns all of their frames; these are rejected.
    """
    import tensorflow as tf

    return tf.ensure_shape(tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"), (None, None, 3))


def _part(image: "tf.Tensor", crop: "Crop") -> "tf.Tensor":
    import tensorflow as tf

    return tf.ensure_shape(tf.slice(image, *crop(tf.shape(image))), (None, None, 3))


def _part_of_jpeg(content: "tf.Tensor", crop: "Crop") -> "tf.Tensor":
    """Return the same pixels as ``_part(_whole(content), crop)``."""
    import tensorflow as tf

    shape = tf.concat([tf.io.extract_jpeg_shape(content)[:2], [3]], 0)
    begin, extent = crop(shape)
    (top, left, _), (height, width, _) = tf.unstack(begin), tf.unstack(extent)
    first = tf.maximum(left - MARGIN, 0)
    last = tf.minimum(left + width + MARGIN, shape[1])
    window = [top, first, height, last - first]
    wider = tf.image.decode_and_crop_jpeg(content, window, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(wider[:, left - first : left - first + width], (None, None, 3))


def _by_python(read: Callable[[int], np.ndarray], index: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    image = tf.numpy_function(lambda number: read(int(number)), [index], tf.uint8, stateful=False)
    return tf.ensure_shape(image, (None, None, 3))
