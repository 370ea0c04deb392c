"""Pictures of any common kind as RGB, read by Pillow."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# Pillow would also take PostScript, which it hands to another program, and formats that are not photographs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "PPM")

JPEG_END = b"\xff\xd9"
PNG_END = b"IEND\xaeB`\x82"
PNG_PLAIN = (b"\x08\x00", b"\x08\x02")  # bit depth and colour type, bytes 24 and 25: 8 bits, grey or RGB

# Pillow warns of every crooked EXIF block. The filter is set once, since `catch_warnings` is not made for threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


def read_picture(path: str | os.PathLike, content: bytes | None = None) -> "np.ndarray":
    """The picture in a file as uint8 RGB (height, width, 3), turned upright as its EXIF block says.

    CMYK and palettes are converted, 16-bit grey is scaled to 8 bits, transparent parts show white, of an animation
    the first frame is taken. Colour profiles are not applied, as no decoder for training applies them.

    Args:
        path: the file.
        content: the bytes of the picture, if they are no file's; `path` is then what messages call it.

    Raises:
        ValueError: it cannot be read; the message is the path and the reason.
    """
    import numpy as np

    with _opened(path, content) as (image, _):
        return np.asarray(_upright_rgb(image))


def examine(path: str | os.PathLike, content: bytes | None = None) -> bool:
    """Decode a picture to its end; True if it is plain: TensorFlow decodes it to the pixels that `read_picture` gives.

    Raises:
        ValueError: as `read_picture`.
    """
    with _opened(path, content) as (image, file):
        _upright_rgb(image)
        return _orientation(image) == 1 and _is_plain(image, file)


@contextmanager
def _opened(path: str | os.PathLike, content: bytes | None = None) -> "Iterator[tuple[Image.Image, BinaryIO]]":
    from PIL import Image, UnidentifiedImageError

    try:
        if content is None and os.path.exists(path) and not os.path.isfile(path):
            raise ValueError("not a file")  # opening a pipe would wait for ever
        with open(path, "rb") if content is None else io.BytesIO(content) as file:
            if not file.read(1):
                raise ValueError("empty file")
            file.seek(0)
            with Image.open(file, formats=FORMATS) as image:
                yield image, file
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not a picture that can be read") from None
    except Exception as error:  # Pillow raises whatever the broken part of the file happens to raise
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: {reason}") from None


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
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(_orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


def _eight_bits(image: "Image.Image") -> "Image.Image":
    """16-bit grey scaled to 8 bits: Pillow's own conversion clips at 255."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError("its grey levels are not of 8 or 16 bits, so their range is not known")
    return Image.fromarray((values / 257).round().astype(np.uint8))


def _orientation(image: "Image.Image") -> int:
    """EXIF's orientation, 1 to 8; 1, upright, if there is none. Of a loaded image, for Pillow turns TIFF by itself."""
    from PIL import ExifTags

    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a broken EXIF block does not make the picture worthless
        return 1


def _is_plain(image: "Image.Image", file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(26)
    file.seek(-len(PNG_END), os.SEEK_END)
    tail = file.read()
    if image.format == "JPEG":  # without its end mark Pillow may still take it, TensorFlow does not
        return image.mode in ("L", "RGB") and tail.endswith(JPEG_END)
    if image.format == "PNG":
        return head[24:] in PNG_PLAIN and not image.has_transparency_data and tail == PNG_END and _is_sound_png(file)
    return False


def _is_sound_png(file: BinaryIO) -> bool:
    """Whether all checksums are right: TensorFlow insists on those that Pillow passes over."""
    from PIL import Image

    file.seek(0)
    try:
        with Image.open(file, formats=("PNG",)) as image:
            image.verify()
    except Exception:  # as in `_opened`
        return False
    return True
