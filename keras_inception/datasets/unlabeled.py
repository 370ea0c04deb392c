"""Find unlabeled images: files, folders, patterns, and images in memory."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from keras_inception.datasets.folder import IMAGE_SUFFIX
from keras_inception.datasets.listing import files_below
from keras_inception.datasets.reading import from_memory, is_image, read_picture

if TYPE_CHECKING:
    from PIL import Image

# Paths of files and folders, patterns, and images in memory: one of these, or several.
Images: TypeAlias = "str | os.PathLike | Image.Image | np.ndarray | Iterable"
PATH = (str, bytes, os.PathLike)


class Candidate(NamedTuple):
    """What should be an image.

    Attributes:
        path: path of the file, as it was given or below a folder that was; or the name of an image in memory.
        image: the image in memory, or None for a file.
        error: the reason why there is no image, or None.
    """

    path: str
    image: "Image.Image | np.ndarray | None" = None
    error: str | None = None

    def read(self) -> np.ndarray:
        """Return the image as `read_picture` does.

        Raises:
            ValueError: the image cannot be read; the message is the reason, without the path.
        """
        if self.error is not None:
            raise ValueError(self.error)
        if self.image is not None:
            return from_memory(self.image)
        try:
            return read_picture(self.path)
        except ValueError as error:
            raise ValueError(str(error).removeprefix(f"{self.path}: ")) from None


def find_images(images: Images) -> Iterator[Candidate]:
    """Find images, one by one, while they are asked for.

    All images below a folder are found, sorted. A path that does not exist but contains ``*``, ``?`` or ``[`` is a
    pattern, in which ``**`` stands for any folders. Hidden files are left out, and so are files in a folder, or that
    match a pattern, that are no images. An image in memory has the path of the file that PIL opened, or is numbered:
    ``image 0``.

    Args:
        images: a path, a PIL image, an array (`reading.from_memory`), or an iterable of these. An array of four
            dimensions is a series of images.

    Raises:
        ValueError: something is neither a path nor an image.
    """
    number = 0
    for each in each_of(images):
        for candidate in _candidates(each, number):
            yield candidate
            number += 1


def each_of(images: Images) -> Iterable:
    """Return the argument of `find_images` as an iterable.

    Raises:
        ValueError: it is, or it is a sequence that contains, neither a path nor an image.
    """
    if _is_one(images) or not isinstance(images, Iterable):
        images = (images,)
    if isinstance(images, Sequence):
        for each in images:
            _check(each)
    return images


def is_there(image) -> bool:
    """Return False for a path that does not exist, and is no pattern either."""
    return not isinstance(image, PATH) or os.path.lexists(image) or glob.has_magic(os.fsdecode(image))


def _is_one(image) -> bool:
    """Return True for a path or an image."""
    return isinstance(image, PATH) or _is_pil(image) or (isinstance(image, np.ndarray) and image.ndim in (2, 3))


def _is_pil(image) -> bool:
    return hasattr(image, "getexif")  # a PIL.Image.Image, which need not be imported for this


def _check(image) -> None:
    if not _is_one(image):
        raise ValueError(
            "`images` must be paths, PIL images or arrays, uint8 (height, width, 3); one of them, or several. "
            f"Received: {type(image).__name__}"
        )


def _candidates(image, number: int) -> Iterator[Candidate]:
    _check(image)
    if isinstance(image, np.ndarray) or _is_pil(image):
        yield Candidate(os.fsdecode(getattr(image, "filename", "") or f"image {number}"), image)
        return
    path = os.fsdecode(image)
    if os.path.isdir(path):
        yield from _below(path)
    elif os.path.lexists(path) or not glob.has_magic(path):
        yield Candidate(path)
    else:
        yield from _matches(path)


def _below(folder: str) -> Iterator[Candidate]:
    """Yield the images below a folder, or an error if there are none."""
    found = False
    try:
        for path in map(str, files_below(Path(folder))):
            if _may_be_image(path):
                found = True
                yield Candidate(path)
    except OSError as error:
        yield Candidate(os.fsdecode(error.filename or folder), error=error.strerror or str(error))
        return
    if not found:
        yield Candidate(folder, error="has no images")


def _matches(pattern: str) -> Iterator[Candidate]:
    """Yield the images that match a pattern, and those below the folders that do, each of them once."""
    found = False
    folders: tuple[str, ...] = ()
    for path in sorted(glob.iglob(pattern, recursive=True)):
        if path.startswith(folders):
            continue
        if os.path.isdir(path):
            folders += (os.path.join(path, ""),)
            found = True
            yield from _below(path)
        elif _may_be_image(path):
            found = True
            yield Candidate(path)
    if not found:
        yield Candidate(pattern, error="no image matches this pattern")


def _may_be_image(path: str) -> bool:
    """Return False for notes, tables and other files that are not named as images and are none."""
    return IMAGE_SUFFIX.fullmatch(path) is not None or is_image(path)
