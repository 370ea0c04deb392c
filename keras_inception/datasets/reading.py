"""Read images of any common format as RGB with Pillow."""

import functools
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# Pillow would also read PostScript, by running another program, and formats that nobody uses for photographs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "PPM")
# Brands of HEIF files whose images are compressed by HEVC, as phones write them (HEIC).
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

JPEG_END = b"\xff\xd9"
PNG_END = b"IEND\xaeB`\x82"
PNG_PLAIN = (b"\x08\x00", b"\x08\x02")  # bit depth and color type, bytes 24 and 25: 8 bits, gray or RGB

# Members of `Image.Transpose` for EXIF orientations 2 to 8.
TURNS = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")

# Pillow warns about every malformed EXIF block. The filter is global, since `catch_warnings` is not thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")


def read_picture(path: str | os.PathLike, content: bytes | None = None) -> "np.ndarray":
    """Read an image file as uint8 RGB (height, width, 3), rotated upright by its EXIF orientation.

    CMYK and palettes are converted, 16-bit gray is scaled to 8 bits, transparent parts become white, and only the first
    frame of an animation is read. Color profiles are ignored, as in TensorFlow's decoders.

    Args:
        path: the file.
        content: the image's bytes, if it is not in its own file. `path` is then only its name in messages.

    Raises:
        ValueError: the image cannot be read; the message is the path and the reason.
    """
    import numpy as np

    with _opened(path, content) as (image, _):
        return np.asarray(_upright_rgb(image))


def from_memory(image: "Image.Image | np.ndarray") -> "np.ndarray":
    """Return a PIL image, or an array, as `read_picture` returns the same image in a file.

    Args:
        image: a PIL image, or uint8 pixels, (height, width), or (height, width, 1, 3 or 4) for gray, RGB or RGBA.

    Raises:
        ValueError: the image cannot be decoded, or the array has another type or shape.
    """
    import numpy as np
    from PIL import Image

    if isinstance(image, np.ndarray):
        channels = image.shape[2] if image.ndim == 3 else 1
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in (1, 3, 4) or not image.size:
            allowed = "uint8 (height, width), or (height, width, 1, 3 or 4)"
            raise ValueError(f"an image in an array must be {allowed}. Received: {image.dtype} {image.shape}")
        image = Image.fromarray(image[..., 0] if image.ndim == 3 and channels == 1 else image)
    try:
        return np.asarray(_upright_rgb(image))
    except Exception as error:  # as in `_opened`
        raise ValueError(_reason(error)) from None


def is_image(path: str | os.PathLike) -> bool:
    """Return whether a file begins as an image of a known format does."""
    try:
        with _opened(path):
            return True
    except ValueError:
        return False


def examine(path: str | os.PathLike, content: bytes | None = None) -> bool | str:
    """Decode an image completely. The arguments are those of `read_picture`.

    Returns:
        Whether the image is plain, which means that TensorFlow should decode it to the same pixels; or the reason why
        the image cannot be read.
    """
    try:
        with _opened(path, content) as (image, file):
            _upright_rgb(image)
            return _orientation(image) == 1 and _is_plain(image, file)
    except ValueError as error:
        return str(error).removeprefix(f"{path}: ")


@contextmanager
def _opened(path: str | os.PathLike, content: bytes | None = None) -> "Iterator[tuple[Image.Image, BinaryIO]]":
    from PIL import Image, UnidentifiedImageError

    try:
        if content is None and os.path.exists(path) and not os.path.isfile(path):
            raise ValueError("not a file")  # opening a pipe would block forever
        with open(path, "rb") if content is None else io.BytesIO(content) as file:
            if not file.read(1):
                raise ValueError("empty file")
            file.seek(0)
            formats = ("HEIF",) if _is_heic(file) and _heic_is_supported() else FORMATS
            with Image.open(file, formats=formats) as image:
                yield image, file
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not a readable image") from None
    except Exception as error:  # Pillow can raise any type of error for a broken file
        raise ValueError(f"{path}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


def _is_heic(file: BinaryIO) -> bool:
    """Return whether a file at its start begins as HEIC files do, and leave it there."""
    head = file.read(12)
    file.seek(0)
    return head[4:8] == b"ftyp" and head[8:] in HEIC_BRANDS


@functools.cache
def _heic_is_supported() -> bool:
    """Teach Pillow to read HEIC files.

    Raises:
        ValueError: pillow-heif is not installed.
    """
    try:
        import pillow_heif
    except ImportError:
        raise ValueError('HEIC images require the extra heif: pip install "keras-inception[heif]"') from None
    pillow_heif.register_heif_opener()
    return True


def _upright_rgb(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    image.load()
    if image.mode.startswith(("I", "F")):
        rgb = _eight_bits(image).convert("RGB")
    elif image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        rgb = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    else:
        rgb = image.convert("RGB")
    turn = dict(enumerate(TURNS, start=2)).get(_orientation(image))
    return rgb.transpose(Image.Transpose[turn]) if turn else rgb


def _eight_bits(image: "Image.Image") -> "Image.Image":
    """Scale 16-bit gray to 8 bits, since Pillow's own conversion clips at 255."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError("its gray levels do not have 8 or 16 bits, so their range is unknown")
    return Image.fromarray((values / 257).round().astype(np.uint8))


def _orientation(image: "Image.Image") -> int:
    """Return the EXIF orientation, 1 to 8, or 1 (upright) if there is none.

    The image must be loaded, since Pillow rotates TIFF files on loading.
    """
    from PIL import ExifTags

    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the image may be fine even if its EXIF block is not
        return 1


def _is_plain(image: "Image.Image", file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(26)
    file.seek(-len(PNG_END), os.SEEK_END)
    tail = file.read()
    if image.format == "JPEG":  # Pillow may read a JPEG without its end marker; TensorFlow does not
        return image.mode in ("L", "RGB") and tail.endswith(JPEG_END)
    if image.format == "PNG":
        return head[24:] in PNG_PLAIN and not image.has_transparency_data and tail == PNG_END and _is_sound_png(file)
    return False


def _is_sound_png(file: BinaryIO) -> bool:
    """Return whether all checksums are correct. TensorFlow verifies some that Pillow ignores."""
    from PIL import Image

    file.seek(0)
    try:
        with Image.open(file, formats=("PNG",)) as image:
            image.verify()
    except Exception:  # as in `_opened`
        return False
    return True
