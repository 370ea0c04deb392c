"""`Preprocessing`: the one value that tf.data, calibration, metadata, prediction and the README all read."""

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.utils import files

if TYPE_CHECKING:
    from PIL import Image

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
RESIZED_FIRST = ("shorter", "stretch")
LARGEST = 2**23  # pixels; what would be larger is not resized as a whole, only to be cropped
# What becomes of a picture of another shape, for people; `Preprocessing` says it exactly.
FITTINGS = {
    "box": "the middle {crop:.4g} of the largest centred rectangle of the input's shape, resized to the input",
    "shorter": "resized, in its shape, to cover just {height}×{width}, of which the input is the middle",
    "stretch": "resized to {height}×{width} whatever its shape, of which the input is the middle",
    "slim": "the middle {crop:.4g} of each side, resized to the input whatever its shape",
}


@dataclass(frozen=True)
class Preprocessing:
    """From a picture to a network's input: crop, resize, then ``(pixel - mean) / std`` channel by channel.

    How a picture is fitted is where the publishers of weights differ. With c for `crop`, and a half rounded to the even
    number:

    - ``"box"``: the largest centred rectangle of the input's shape, each side times c, all in fractions of pixels, is
      resized to `size`.
    - ``"shorter"``, torchvision's ``Resize`` and ``CenterCrop``: the picture is resized in its shape so that it just
      covers round(size / c); the side that sticks out is rounded down. Of this the middle is the input, from
      round((resized - size) / 2) on. (A picture more than 64 times as long as wide is fitted as by ``"box"``, to a
      pixel the same, lest it fill the memory.)
    - ``"stretch"``, Caffe's tools and, with c = 1, Keras' ``load_img(target_size=…)``: the same, but the picture is
      resized to round(size / c) whatever its shape.
    - ``"slim"``, TF-slim's ``central_crop`` and TensorFlow 1's ``resize_bilinear``: floor((side - side · c) / 2) is cut
      off both ends of each side, and the rest is resized to `size` whatever its shape. Pixel i of n is taken at
      i · rest / n of it, and not at (i + ½) · rest / n - ½ as by every other resize here. For bilinear interpolation
      without antialiasing alone.

    Attributes:
        size: (height, width) of the network's input.
        mean, std: three figures each, in units of pixels (0 to 255), in the order of `channels`.
        channels: ``"RGB"``, or ``"BGR"`` as Caffe's networks take them.
        crop: share of the picture that is kept, as said, in (0, 1]; of shorter and stretch in [0.1, 1]. 0.875 is
            torchvision's 224 of 256.
        interpolation: of the resize: nearest, bilinear, bicubic or lanczos.
        fitting: box, shorter, stretch or slim.
        antialias: whether shrinking averages all pixels, as Pillow does. If not, which is for bilinear (and nearest,
            where it is all the same), a pixel comes from the four around its place, as in OpenCV and TensorFlow.

    Raises:
        ValueError: a field is not as above.
    """

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)
    channels: str = "RGB"
    crop: float = 1.0
    interpolation: str = "bilinear"
    fitting: str = "box"
    antialias: bool = True

    def __post_init__(self):
        for field, length in (("size", 2), ("mean", 3), ("std", 3)):
            value = getattr(self, field)
            if not isinstance(value, (tuple, list)) or len(value) != length or not all(_is_number(v) for v in value):
                raise ValueError(f"`{field}` must be {length} numbers. Received: {field}={value!r}")
            object.__setattr__(self, field, tuple(value) if field == "size" else tuple(map(float, value)))
        if not all(isinstance(side, int) and side > 0 for side in self.size):
            raise ValueError(f"`size` must be positive integers. Received: size={self.size}")
        if min(self.std) <= 0:
            raise ValueError(f"`std` must be positive. Received: std={self.std}")
        if self.channels not in ("RGB", "BGR"):
            raise ValueError(f"`channels` must be 'RGB' or 'BGR'. Received: channels={self.channels!r}")
        if not _is_number(self.crop) or not 0 < self.crop <= 1:
            raise ValueError(f"`crop` must be in (0, 1]. Received: crop={self.crop!r}")
        if self.interpolation not in INTERPOLATIONS:
            allowed = ", ".join(INTERPOLATIONS)
            raise ValueError(f"`interpolation` must be one of {allowed}. Received: {self.interpolation!r}")
        if self.fitting not in tuple(FITTINGS):  # it may be anything, a list too
            raise ValueError(f"`fitting` must be one of {', '.join(FITTINGS)}. Received: {self.fitting!r}")
        if self.fitting in RESIZED_FIRST and self.crop < 0.1:
            raise ValueError(f"`crop` must be in [0.1, 1] for fitting {self.fitting!r}. Received: crop={self.crop!r}")
        if not isinstance(self.antialias, bool):
            raise ValueError(f"`antialias` must be True or False. Received: antialias={self.antialias!r}")
        if not self.antialias and self.interpolation not in ("nearest", "bilinear"):
            raise ValueError(f"`antialias` must be True for {self.interpolation} interpolation. Received: False")
        if self.fitting == "slim" and (self.antialias or self.interpolation != "bilinear"):
            raise ValueError(
                "`fitting` 'slim' goes with bilinear interpolation and antialias=False. "
                f"Received: {self.interpolation}, antialias={self.antialias}"
            )

    def normalize(self, pixels):
        """Network input from RGB pixels: (..., 3), 0 to 255, float32 out.

        `pixels` is a NumPy array, uint8 or float32, or a float32 tensor of any backend, already of the network's size.
        """
        pixels = pixels[..., ::-1] if self.channels == "BGR" else pixels
        row = (
            *pixels.shape[-2:-1],
            1,
        )  # TensorFlow takes three times as long to spread three numbers as to spread a row
        return (pixels - np.tile(np.float32(self.mean), row)) / np.tile(np.float32(self.std), row)

    def fit(self, picture: "Image.Image | np.ndarray") -> np.ndarray:
        """Crop and resize a picture, uint8 RGB (height, width, 3), to the network's size, uint8."""
        image = _rgb(picture)
        if self.fitting == "box":
            return self.resize(image, self.size, box_in(image, self.size, self.crop))
        if self.fitting == "slim":
            return _slim(np.asarray(image), self.size, self.crop)
        whole = self._covering(image.width, image.height) if self.fitting == "shorter" else self._before_crop()
        upper, left = (round((outer - inner) / 2) for outer, inner in zip(whole, self.size, strict=True))
        if whole[0] * whole[1] > LARGEST:
            down, across = image.height / whole[0], image.width / whole[1]
            box = (left * across, upper * down, (left + self.size[1]) * across, (upper + self.size[0]) * down)
            return self.resize(image, self.size, box)
        return self.resize(image, whole)[upper : upper + self.size[0], left : left + self.size[1]]

    def resize(
        self,
        picture: "Image.Image | np.ndarray",
        size: tuple[int, int],
        box: tuple[float, float, float, float] | None = None,
    ) -> np.ndarray:
        """A picture, or what is in the box (left, upper, right, lower), resized to (height, width), uint8."""
        from PIL import Image

        image = _rgb(picture)
        height, width = size
        if self.antialias or self.interpolation == "nearest":
            resampling = Image.Resampling[self.interpolation.upper()]
            return np.asarray(image.resize((width, height), resampling, box=box))
        left, upper, right, lower = box or (0, 0, *image.size)
        rows = upper + (np.arange(height) + 0.5) * ((lower - upper) / height) - 0.5
        columns = left + (np.arange(width) + 0.5) * ((right - left) / width) - 0.5
        return _bilinear(np.asarray(image), rows, columns)

    def _before_crop(self) -> tuple[int, int]:
        """Height and width of which the input is the middle."""
        return round(self.size[0] / self.crop), round(self.size[1] / self.crop)

    def _covering(self, width: int, height: int) -> tuple[int, int]:
        """Height and width of a picture that is resized to cover `_before_crop`."""
        least_height, least_width = self._before_crop()
        if width * least_height <= height * least_width:
            return height * least_width // width, least_width
        return least_height, width * least_height // height

    def __call__(self, picture: "Image.Image | np.ndarray") -> np.ndarray:
        """Network input, float32 (height, width, 3), from a picture, uint8 RGB (height, width, 3) of any size."""
        return self.normalize(self.fit(picture).astype(np.float32))

    def describe(self) -> str:
        """What becomes of a picture before it is normalised, in words."""
        height, width = self._before_crop() if self.fitting in RESIZED_FIRST else self.size
        fitted = FITTINGS[self.fitting].format(crop=self.crop, height=height, width=width)
        return f"{fitted}; {self.interpolation} interpolation, {'' if self.antialias else 'not '}antialiased"

    def replace(self, **changes) -> "Preprocessing":
        """A copy with other values for the named fields."""
        return dataclasses.replace(self, **changes)

    def without_normalization(self) -> "Preprocessing":
        """The same crop and resize, but the input is RGB pixels as they are, 0 to 255."""
        return self.replace(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), channels="RGB")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Preprocessing":
        """The inverse of `to_json`; ValueError naming the fields if there are others."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ValueError(f"preprocessing must be a JSON object: {error}") from None
        fields = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) - fields:
            raise ValueError(
                f"preprocessing must be a JSON object of {', '.join(sorted(fields))}. Received: {text:.200}"
            )
        return cls(**values)

    def save(self, path: str | os.PathLike) -> None:
        files.write_json(path, dataclasses.asdict(self))

    @classmethod
    def named(cls, name: str, size: tuple[int, int] = (224, 224)) -> "Preprocessing":
        """One of `NAMED`, or the one in a JSON file of that path, which brings a size of its own.

        Raises:
            ValueError: no such name, or the file does not hold a preprocessing.
        """
        if name in NAMED:
            return NAMED[name].replace(size=size)
        if not os.path.isfile(name):
            allowed = ", ".join(NAMED)
            raise ValueError(f"`preprocessing` must be one of {allowed}, or a JSON file. Received: {name!r}")
        with open(name, encoding="utf-8", errors="replace") as file:
            try:
                return cls.from_json(file.read())
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def box_in(
    image: "Image.Image", size: tuple[int, int], share: float = 1.0, place: float = 0.5
) -> tuple[float, float, float, float]:
    """The largest rectangle of the shape of `size` in a picture, each side times `share`.

    `place` is where it lies along the side that it leaves free: 0 is the left or the top, 0.5 the middle, 1 the end.

    Returns:
        left, upper, right, lower.
    """
    height, width = size
    scale = share * min(image.width / width, image.height / height)
    across = max(0.0, image.width - width * scale)  # rounding can leave it a hair below 0
    down = max(0.0, image.height - height * scale)
    rest = 1 - place
    return across * place, down * place, image.width - across * rest, image.height - down * rest


def _rgb(picture: "Image.Image | np.ndarray") -> "Image.Image":
    from PIL import Image

    if not isinstance(picture, Image.Image):
        picture = Image.fromarray(picture)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _slim(pixels: np.ndarray, size: tuple[int, int], crop: float) -> np.ndarray:
    upper, left = (int((side - side * crop) / 2) for side in pixels.shape[:2])
    height, width = pixels.shape[0] - 2 * upper, pixels.shape[1] - 2 * left
    rows, columns = np.arange(size[0]) * (height / size[0]), np.arange(size[1]) * (width / size[1])
    return _bilinear(pixels[upper : upper + height, left : left + width], rows, columns)


def _bilinear(pixels: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A picture at the rows and columns given, fractions of pixels between the four nearest; its edge beyond it."""
    height, width = pixels.shape[:2]
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    upper, left = rows.astype(int), columns.astype(int)
    lower, right = np.minimum(upper + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = (rows - upper)[:, None, None], (columns - left)[:, None]

    def between(row: np.ndarray) -> np.ndarray:
        return pixels[row][:, left] * (1 - across) + pixels[row][:, right] * across

    return np.rint(between(upper) * (1 - down) + between(lower) * down).astype(np.uint8)


# What the publishers of weights feed their networks when they test them.
NAMED = {
    # TF-slim's "inception_preprocessing".
    "inception": Preprocessing(crop=0.875, fitting="slim", antialias=False),
    "unit": Preprocessing(),
    "torchvision": Preprocessing(
        mean=(0.485 * 255, 0.456 * 255, 0.406 * 255),
        std=(0.229 * 255, 0.224 * 255, 0.225 * 255),
        crop=0.875,
        fitting="shorter",
    ),
    # torchvision's GoogLeNet with `transform_input`, which takes its own normalisation back to this; and timm's.
    "torchvision_unit": Preprocessing(crop=0.875, fitting="shorter"),
    # The examples of keras.applications' Inception networks. (The accuracies it lists were had otherwise: OpenCV's
    # bicubic resize to a shorter side of 256, and the middle of that; keras-applications, issue 88.)
    "keras": Preprocessing(interpolation="nearest", fitting="stretch"),
    # The same of VGG.
    "keras_caffe": Preprocessing(
        mean=(103.939, 116.779, 123.68),
        std=(1.0, 1.0, 1.0),
        channels="BGR",
        interpolation="nearest",
        fitting="stretch",
    ),
    # Its tools resize pictures to 256×256 by OpenCV.
    "caffe": Preprocessing(
        mean=(104.0, 117.0, 123.0),
        std=(1.0, 1.0, 1.0),
        channels="BGR",
        crop=0.875,
        fitting="stretch",
        antialias=False,
    ),
}
DEFAULT = NAMED["unit"]
