"""Read the images that int8 is calibrated with: a folder, an .npy file, an array, a tf.data.Dataset or an iterable.

Images in memory and in .npy files are raw pixels. They are resized and cropped as they arrive, so that a generator of
large images needs little memory.
"""

import itertools
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from keras_inception.datasets.examples import Arrays
from keras_inception.preprocessing import Preprocessing

if TYPE_CHECKING:
    from keras_inception.datasets import Examples, Skipped

Calibration = str | os.PathLike | np.ndarray | Iterable[Any]

CALIBRATION_IMAGES = 200
MOST = 700  # images to read from an iterable, which may be endless, if all are asked for
NUMBERS = "uif"  # kinds of NumPy's types
IMAGES = "images, (n, height, width, 3) or (n, height, width, 1), of pixels from 0 to 255"
KINDS = f"a folder of images, or an .npy file, an array, a tf.data.Dataset or an iterable of {IMAGES}"


class FittedImages(Arrays):
    """Images that have the size of the input already, and must not be cropped again."""


def check(calibration: Calibration) -> None:
    """Check what can be checked without reading an image.

    Raises:
        ValueError: `calibration` is neither a folder nor an .npy file, array or iterable of images.
    """
    if isinstance(calibration, np.ndarray):
        _check_images(calibration)
    elif isinstance(calibration, (str, os.PathLike)):
        if not Path(calibration).is_dir():
            _check_images(_opened(Path(calibration)), f" in {calibration}")
    elif isinstance(calibration, bytes) or not (
        hasattr(calibration, "__iter__") or hasattr(calibration, "__getitem__")
    ):
        raise _error(KINDS, f"{type(calibration).__name__}")


def open_calibration(
    calibration: Calibration, class_names: Sequence[str], unused: int | Literal["all"], preprocessing: Preprocessing
) -> "tuple[Examples, Sequence[Skipped]]":
    """Return calibration images and what was skipped.

    Args:
        calibration: as for `keras_inception.export`.
        class_names: names of the network's classes; images of a single one, by the name of their folder, are refused.
        unused: number of images to return beyond the `CALIBRATION_IMAGES`, to verify on. All of a folder are returned,
            random ones of an array or a list, the first of another iterable. "all" is `MOST` of that.
        preprocessing: its `Preprocessing.fit` is applied to images of other sizes than the input.

    Raises:
        ValueError: there are no images, or they are not raw pixels.
    """
    limit = _needed(unused)
    if isinstance(calibration, (str, os.PathLike)):
        if Path(calibration).is_dir():
            return _open_folder(calibration, class_names)
        pictures = _fitted([_some(_opened(Path(calibration)), limit)], limit, preprocessing, f" in {calibration}")
    elif isinstance(calibration, np.ndarray):
        pictures = _fitted([_some(calibration, limit)], limit, preprocessing)
    elif isinstance(calibration, (list, tuple)):  # it may be sorted by class
        shuffled = random.Random(0).sample(calibration, len(calibration))
        pictures = _fitted(shuffled, limit, preprocessing)
    else:
        pictures = _fitted(calibration, MOST if limit is None else limit, preprocessing)
    labels, keys = np.zeros(len(pictures), np.int32), np.arange(len(pictures)).astype(str)
    return FittedImages(labels=labels, keys=keys, pictures=pictures, source="`calibration`"), ()


def _needed(unused: int | Literal["all"]) -> int | None:
    """Return the number of images to read; None for all. Of these, four fifths or `CALIBRATION_IMAGES` calibrate."""
    if unused == "all":
        return None
    return CALIBRATION_IMAGES + max(unused, CALIBRATION_IMAGES // 4 if unused else 0)


def _open_folder(path: str | os.PathLike, class_names: Sequence[str]) -> "tuple[Examples, Sequence[Skipped]]":
    from keras_inception import datasets

    images, skipped = datasets.list_pictures(path)
    folders = {Path(images.name(index)).parent.name for index in range(len(images))}
    if len(folders) == 1 and (only := folders.pop()) in class_names:
        raise _error("images of all classes", f"{path}, with {only!r} only", "have")
    return images, skipped


def _opened(path: Path) -> np.ndarray:
    """Map an .npy file into memory. Objects in it are never unpickled."""
    if not path.is_file():
        raise _error("a folder of images or an .npy file", f"{path}, which does not exist")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # NumPy raises errors of many types for damaged headers
        array = None
    if not isinstance(array, np.ndarray):
        raise _error("a folder of images or an .npy file", f"{path}, which is neither")
    return array


def _some(array: np.ndarray, limit: int | None) -> np.ndarray:
    """Return `limit` random images of an array, which may be sorted by class."""
    if limit is None or len(array) <= limit:
        return array
    return array[np.sort(np.random.default_rng(0).choice(len(array), limit, replace=False))]


def _fitted(items: Iterable[Any], limit: int | None, preprocessing: Preprocessing, where: str = "") -> np.ndarray:
    """Return the first `limit` images, uint8 RGB (n, height, width, 3), at the size of the input.

    Args:
        items: images, batches of images, or tuples of these and labels.
        limit: number of images; None for all.
        preprocessing: has the size, and fits images of other sizes.
        where: name of the file in messages.
    """
    images, brightest = [], 0.0
    for pixels in itertools.islice(itertools.chain.from_iterable(_images(item, where) for item in items), limit):
        lowest, highest = float(pixels.min()), float(pixels.max())
        if not 0 <= lowest <= highest <= 255:
            raise _not_pixels(lowest, highest, where)
        brightest = max(brightest, highest)
        rgb = np.ascontiguousarray(np.broadcast_to(np.rint(pixels).astype(np.uint8), (*pixels.shape[:2], 3)))
        images.append(rgb if rgb.shape[:2] == preprocessing.size else preprocessing.fit(rgb))
    if not images:
        raise _error("at least one image", f"none{where}", "have")
    if brightest <= 1:
        raise _not_pixels(0, brightest, where)
    return np.stack(images)


def _images(item: Any, where: str) -> Iterator[np.ndarray]:
    """Yield the images, (height, width, 3 or 1), of an image, a batch, or a tuple of either and labels."""
    if isinstance(item, (tuple, list)) and item:
        item = item[0]
    try:
        array = np.asarray(item)
    except (TypeError, ValueError, RuntimeError):  # a ragged batch, or a tensor that is not on the CPU
        array = np.array(None)
    if array.dtype.kind not in NUMBERS:
        raise _error(IMAGES, f"an item of type {type(item).__name__}{where}")
    images = array[None] if array.ndim == 3 else array
    _check_images(images, where)
    yield from images


def _check_images(images: np.ndarray, where: str = "") -> None:
    shape = images.shape
    if images.dtype.kind not in NUMBERS or len(shape) != 4 or shape[3] not in (1, 3):
        hint = " (give gray images a last axis of 1)" if len(shape) in (2, 3) else ""
        raise _error(IMAGES, f"{images.dtype} {shape}{where}{hint}")
    if not images.size:
        raise _error("at least one image", f"shape {shape}{where}", "have")


def _not_pixels(lowest: float, highest: float, where: str) -> ValueError:
    hint = "; these look like normalized values" if lowest < 0 or highest <= 1 else ""
    return _error("raw pixels from 0 to 255, before preprocessing", f"{lowest:g} to {highest:g}{where}{hint}")


def _error(expected: str, received: str, verb: str = "be") -> ValueError:
    return ValueError(f"`calibration` must {verb} {expected}. Received: {received}")
