"""What is kept of each image: hashes, a small grid of colors, and a few figures about its quality."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.checking.images import Images
from keras_inception.utils.progress import Progress

if TYPE_CHECKING:
    from PIL import Image

CELLS = 8  # per side of the grid of colors
MEASURES = np.dtype(
    [
        ("sha256", "S32"),  # of the size and the decoded pixels
        ("phash", np.uint64),
        ("colors", np.uint8, (CELLS, CELLS, 3)),  # mean Y, Cb and Cr of each cell
        ("height", np.int32),
        ("width", np.int32),
        ("darkest", np.uint8),  # level that 1 % of the pixels do not exceed in their least channel
        ("brightest", np.uint8),  # gray level that 99 % of the pixels do not exceed
        ("white", np.float32),  # share of pixels with a gray level of 250 or more
        ("contrast", np.float32),  # standard deviation of the gray levels
        ("sharpness", np.float32),  # see `_sharpness`; NaN if it says nothing
    ]
)
BLOCK = 16  # images to measure at once
SHARPNESS_SIDE = 192  # about what a network sees: a large photograph may be soft in its own pixels
FLAT = 4  # standard deviation of the gray levels below which little more than noise is in an image


def measure(images: Images, progress: Progress) -> tuple[np.ndarray, dict[int, str]]:
    """Decode and measure all images, several at once. Nothing else of them stays in memory.

    Returns:
        An array of `MEASURES` (n,), and for each image that cannot be read its index and the reason.
    """
    measures = np.zeros(len(images), MEASURES)
    unreadable: dict[int, str] = {}
    blocks = [range(start, min(start + BLOCK, len(images))) for start in range(0, len(images), BLOCK)]

    def fill(block: range) -> list[tuple[int, str]]:
        failed = []
        for index in block:
            try:
                measures[index] = measured(images.read(index))
            except ValueError as error:
                failed.append((index, str(error).removeprefix(f"{images.name(index)}: ")))
        return failed

    done = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding, hashing and resizing release the GIL
        try:
            for block, failed in zip(blocks, pool.map(fill, blocks), strict=True):
                unreadable |= failed
                done += len(block)
                progress("Reading images", done, len(images))
        except BaseException:  # an interrupted check does not measure the rest first
            pool.shutdown(cancel_futures=True)
            raise
    return measures, unreadable


def measured(pixels: np.ndarray) -> tuple:
    """Return the `MEASURES` of an image, uint8 (height, width, 3)."""
    import imagehash
    from PIL import Image, ImageChops

    image = Image.fromarray(pixels)
    red, green, blue = image.split()
    least = np.cumsum(ImageChops.darker(ImageChops.darker(red, green), blue).histogram())
    gray = image.convert("L")
    colors = image.resize((CELLS, CELLS), Image.Resampling.BOX).convert("YCbCr")
    counts = np.array(gray.histogram())
    levels = np.arange(256)
    mean = counts @ levels / counts.sum()
    contrast = np.sqrt(counts @ (levels - mean) ** 2 / counts.sum())
    return (
        pixel_hash(pixels),
        int(str(imagehash.phash(gray)), 16),
        np.asarray(colors),
        *pixels.shape[:2],
        np.searchsorted(least, 0.01 * counts.sum()),
        np.searchsorted(counts.cumsum(), 0.99 * counts.sum()),
        counts[250:].sum() / counts.sum(),
        contrast,
        _sharpness(gray),
    )


def pixel_hash(pixels: np.ndarray) -> bytes:
    """Return the SHA-256 of an image's size and pixels."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def _sharpness(gray: "Image.Image") -> float:
    """Return the standard deviation of the Laplacian relative to that of the gray levels; NaN if nothing is in it.

    White noise has 4.5, a sharp photograph 0.3 to 2, and one that is blurred over several pixels less than 0.1. The
    image is made smaller first, at least by half, so that errors of rounding and compression hardly count.
    """
    from PIL import Image

    scale = min(SHARPNESS_SIDE / min(gray.size), 0.5)
    size = (max(round(gray.width * scale), 1), max(round(gray.height * scale), 1))
    values = np.asarray(gray.convert("F").resize(size, Image.Resampling.BOX))
    if min(values.shape) < 8 or (deviation := values.std()) < FLAT:
        return float("nan")
    inner = values[1:-1, 1:-1]
    laplacian = 4 * inner - values[:-2, 1:-1] - values[2:, 1:-1] - values[1:-1, :-2] - values[1:-1, 2:]
    return float(laplacian.std() / deviation)
