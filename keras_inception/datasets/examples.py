"""`Examples`: labelled pictures in an order, each to be had by its number, whether they lie in files or in memory."""

import abc
import dataclasses
import hashlib
import io
import os
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from keras_inception.datasets.reading import read_picture

if TYPE_CHECKING:
    import tensorflow as tf

    # From a picture's shape, int32 (3,), to where a crop of it begins and how far it goes, as `tf.slice` has them.
    Crop = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

# A JPEG whose colours are stored coarser is smoothed across columns, so a part that is decoded alone has other colours
# at its left and right edge. This many more columns on either side, cut off again, and it has the whole's.
MARGIN = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class Examples(abc.ABC):
    """Labelled pictures in an order.

    Attributes:
        labels: the number of each one's class, int32 (n,).
        keys: what tells each from the others wherever the set lies, such as the path below its folder; str (n,).
    """

    COLUMNS: ClassVar[tuple[str, ...]] = ("labels", "keys")  # the fields that have a value for each picture
    labels: np.ndarray
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @abc.abstractmethod
    def name(self, index: int) -> str:
        """What messages call a picture: its path, or where it is in which file."""

    @abc.abstractmethod
    def read(self, index: int) -> np.ndarray:
        """A picture as uint8 RGB (height, width, 3), as `read_picture` gives it; ValueError naming it if it is bad."""

    @abc.abstractmethod
    def decoder(self) -> "Callable[[tf.Tensor, Crop], tf.Tensor]":
        """A function for a graph: from a picture's number and a `Crop` to that part of what `read` gives.

        To be called outside of the graph, for it may have to look at all pictures first.
        """

    def encoded(self, index: int) -> bytes:
        """A picture as JPEG or PNG that TensorFlow decodes to what `read` gives: its own bytes, if they are such."""
        from PIL import Image

        content = io.BytesIO()
        Image.fromarray(self.read(index)).save(content, "PNG")
        return content.getvalue()

    @abc.abstractmethod
    def _mark(self, index: int) -> int:
        """A number that changes with the picture."""

    def select(self, indices) -> Self:
        """These alone, in this order."""
        chosen = np.asarray(indices, np.intp)
        return dataclasses.replace(self, **{column: getattr(self, column)[chosen] for column in self.COLUMNS})

    def relabelled(self, labels) -> Self:
        """The same pictures with other numbers for their classes."""
        return dataclasses.replace(self, labels=np.asarray(labels, np.int32))

    def fingerprint(self) -> str:
        """A hash of keys, labels and contents in their order: a resumed run notices by it that its data has changed."""
        return fingerprint(zip(self.keys, self.labels.tolist(), self._marks(), strict=True))

    def _marks(self) -> Iterable[int]:
        return map(self._mark, range(len(self)))


def fingerprint(rows: Iterable[tuple[str, int, int]]) -> str:
    """`Examples.fingerprint` from the key, label and mark of each picture."""
    digest = hashlib.sha256()
    for key, label, mark in rows:
        digest.update(os.fsencode(f"{key}\0{label}\0{mark}\0"))
    return digest.hexdigest()


@dataclass(frozen=True, eq=False, kw_only=True)
class Files(Examples):
    """Pictures in a file each, at `keys` below the folder `base`.

    Attributes:
        plain: which of them TensorFlow's decoder should read as Pillow does (`examine`), bool (n,).
    """

    COLUMNS = (*Examples.COLUMNS, "plain")
    base: str
    plain: np.ndarray

    def name(self, index: int) -> str:
        return os.path.join(self.base, self.keys[index])

    def read(self, index: int) -> np.ndarray:
        return read_picture(self.name(index))

    def decoder(self) -> "Callable[[tf.Tensor, Crop], tf.Tensor]":
        import tensorflow as tf

        paths = tf.constant([os.fsencode(self.name(index)) for index in range(len(self))])
        return decoding(lambda index: tf.io.read_file(paths[index]), self.decodable(), self.read)

    def decodable(self) -> np.ndarray:
        """Which pictures TensorFlow decodes. Some that look plain it refuses, and one such would end the training."""
        import tensorflow as tf

        plain = np.flatnonzero(self.plain).astype(np.int64)
        paths = [os.fsencode(self.name(index)) for index in plain]

        @tf.autograph.experimental.do_not_convert
        def decoded(index, path):
            # tf.data would leave out what its result does not depend on.
            return index + 0 * tf.size(_whole(tf.io.read_file(path)), tf.int64)

        files = tf.data.Dataset.from_tensor_slices((plain, tf.constant(paths, tf.string)))
        readable = files.map(decoded, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False).ignore_errors()
        good = np.zeros(len(self), bool)
        good[list(readable.as_numpy_iterator())] = True
        return good

    def encoded(self, index: int) -> bytes:
        content = self._content(index)
        return content if self.plain[index] and tensorflow_decodes(content) else super().encoded(index)

    def _content(self, index: int) -> bytes:
        return Path(self.name(index)).read_bytes()

    def _mark(self, index: int) -> int:
        return zlib.crc32(self._content(index))

    def _marks(self) -> Iterable[int]:
        with ThreadPoolExecutor() as pool:  # each is a file to read
            return list(pool.map(self._mark, range(len(self))))


@dataclass(frozen=True, eq=False, kw_only=True)
class Arrays(Examples):
    """Pictures in memory.

    Attributes:
        pictures: uint8 (n, height, width) or (n, height, width, 1 or 3), grey or RGB; or n such pictures of any sizes
            as an array of objects.
        source: where they are from, for messages.
    """

    COLUMNS = (*Examples.COLUMNS, "pictures")
    pictures: np.ndarray
    source: str

    def name(self, index: int) -> str:
        return f"{self.source}#{self.keys[index]}"

    def read(self, index: int) -> np.ndarray:
        picture = np.atleast_3d(self.pictures[index])
        return np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))

    def decoder(self) -> "Callable[[tf.Tensor, Crop], tf.Tensor]":
        return lambda index, crop: _part(_by_python(self.read, index), crop)

    def _mark(self, index: int) -> int:
        return zlib.crc32(self.pictures[index].tobytes())


def decoding(
    content: "Callable[[tf.Tensor], tf.Tensor]", plain: np.ndarray, read: Callable[[int], np.ndarray]
) -> "Callable[[tf.Tensor, Crop], tf.Tensor]":
    """`Examples.decoder` of encoded pictures.

    Args:
        content: gives a picture's bytes in the graph.
        plain: which of them TensorFlow decodes, bool (n,).
        read: decodes the others.
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
    """Whether TensorFlow decodes a picture."""
    import tensorflow as tf

    try:
        _whole(content)
    except tf.errors.OpError:
        return False
    return True


def _decoded_part(content: "tf.Tensor", crop: "Crop") -> "tf.Tensor":
    """Of a JPEG no more than the part is decoded."""
    import tensorflow as tf

    return tf.cond(tf.io.is_jpeg(content), lambda: _part_of_jpeg(content, crop), lambda: _part(_whole(content), crop))


def _whole(content: "tf.Tensor") -> "tf.Tensor":
    """uint8 RGB (height, width, 3) of a plain picture: `decode_jpeg` takes PNG too.

    From TensorFlow 2.20 on it takes animations as well, and gives all their frames: these are refused.
    """
    import tensorflow as tf

    return tf.ensure_shape(tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"), (None, None, 3))


def _part(picture: "tf.Tensor", crop: "Crop") -> "tf.Tensor":
    import tensorflow as tf

    return tf.ensure_shape(tf.slice(picture, *crop(tf.shape(picture))), (None, None, 3))


def _part_of_jpeg(content: "tf.Tensor", crop: "Crop") -> "tf.Tensor":
    """The same as `_part` of `_whole`, pixel for pixel."""
    import tensorflow as tf

    shape = tf.concat([tf.io.extract_jpeg_shape(content)[:2], [3]], 0)
    begin, extent = crop(shape)
    (top, left, _), (height, width, _) = tf.unstack(begin), tf.unstack(extent)
    first = tf.maximum(left - MARGIN, 0)
    last = tf.minimum(left + width + MARGIN, shape[1])
    wider = tf.image.decode_and_crop_jpeg(
        content, tf.stack([top, first, height, last - first]), channels=3, dct_method="INTEGER_ACCURATE"
    )
    return tf.ensure_shape(wider[:, left - first : left - first + width], (None, None, 3))


def _by_python(read: Callable[[int], np.ndarray], index: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    picture = tf.numpy_function(lambda number: read(int(number)), [index], tf.uint8, stateful=False)
    return tf.ensure_shape(picture, (None, None, 3))
