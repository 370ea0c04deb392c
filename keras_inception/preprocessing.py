"""`Preprocessing`: a single description of a network's input for tf.data, calibration, metadata and prediction."""

import dataclasses
import json
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.utils import files
from keras_inception.utils.checks import check_one_of

if TYPE_CHECKING:
    from PIL import Image

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
RESIZED_FIRST = ("shorter", "stretch")
PADDING = 128  # gray, which most networks see as about zero
LARGEST = 2**23  # pixels of an intermediate image; a larger one is cropped before it is resized
# Descriptions of how an image is fitted to the input. `Preprocessing` documents the exact rules.
FITTINGS = {
    "box": "the central {crop:.4g} of the largest centered rectangle of the input's aspect ratio, resized to the input",
    "shorter": "resized to just cover {height}×{width}, keeping the aspect ratio, then center-cropped to the input",
    "stretch": "resized to {height}×{width} whatever the aspect ratio, then center-cropped to the input",
    "central_crop": "the central {crop:.4g} of each side, resized to the input whatever the aspect ratio",
    "pad": "the whole image, resized to just fit into the input, keeping the aspect ratio, on a gray ground",
}
Box = tuple[float, float, float, float]  # left, upper, right, lower
GRAY = "gray"
LUMINANCE = (0.299, 0.587, 0.114)  # shares of red, green and blue, as in Pillow's mode L
SLIM = "slim"  # the old name of "central_crop" in files from earlier versions


@dataclass(frozen=True)
class Preprocessing:
    """Turns an image into a network's input: crop, resize, then ``(pixel - mean) / std`` per channel.

    Publishers of weights differ in how they fit an image to the input. Below, c is `crop`, and halves round to even:

    - ``"box"``: take the largest centered rectangle with the input's aspect ratio, scale its sides by c, and resize it
      to `size`. The rectangle's coordinates are fractional.
    - ``"shorter"``, as in torchvision's ``Resize`` and ``CenterCrop``: resize the image, keeping its aspect ratio, so
      that it just covers round(size / c), with the longer side rounded down. Then crop the center, starting at
      round((resized - size) / 2). (To save memory, an image that would have more than 2**23 pixels after the resize,
      such as a very elongated one, is cropped first, as in ``"box"``; the crop then agrees to within a pixel.)
    - ``"stretch"``, as in Caffe's tools and, with c = 1, Keras' ``load_img(target_size=…)``: like ``"shorter"``, but
      resize to round(size / c), ignoring the aspect ratio.
    - ``"central_crop"``, as in TF-slim's ``central_crop`` and TensorFlow 1's ``resize_bilinear``: cut floor((side -
      side · c) / 2) pixels off both ends of each side, and resize the rest to `size`, ignoring the aspect ratio. Pixel
      i of n is sampled at i · rest / n; all other resizes here sample it at (i + ½) · rest / n - ½. Requires bilinear
      interpolation without antialiasing.
    - ``"pad"``, for images of which nothing may be cut off: resize the image, keeping its aspect ratio, so that it just
      fits into `size`, with the shorter side rounded down but at least 1. Put it into the middle, starting at
      round((size - resized) / 2), and fill the rest with pixels of 128. Requires c = 1.

    Attributes:
        size: (height, width) of the network's input.
        mean: mean of each channel in pixel values (0 to 255), in the order of `channels`.
        std: standard deviation of each channel, positive, in the same units and order.
        channels: ``"RGB"``, ``"BGR"`` for Caffe's networks, or ``"gray"`` for a network whose input has one channel.
            Gray is Pillow's luminance; its `mean` and `std` are three equal numbers, or a single one when they are
            given.
        crop: fraction of the image to keep, in (0, 1], or in [0.1, 1] for shorter and stretch. 0.875 is torchvision's
            224 out of 256.
        interpolation: nearest, bilinear, bicubic or lanczos.
        fitting: box, shorter, stretch, central_crop or pad.
        antialias: antialias when downsampling, as Pillow does. False interpolates between the four nearest pixels, as
            OpenCV and TensorFlow do, and requires bilinear or nearest interpolation (for nearest, it makes no
            difference).

    Raises:
        ValueError: a field is out of range.
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
            if field != "size":
                value = _for_each_channel(value)
            if not isinstance(value, (tuple, list)) or len(value) != length or not all(_is_number(v) for v in value):
                raise ValueError(f"`{field}` must be {length} numbers. Received: {field}={value!r}")
            object.__setattr__(self, field, tuple(value) if field == "size" else tuple(map(float, value)))
        if not all(isinstance(side, int) and side > 0 for side in self.size):
            raise ValueError(f"`size` must be positive integers. Received: size={self.size}")
        if min(self.std) <= 0:
            raise ValueError(f"`std` must be positive. Received: std={self.std}")
        check_one_of("channels", self.channels, ("RGB", "BGR", GRAY))
        if self.channels == GRAY and len(set(self.mean)) + len(set(self.std)) != 2:
            raise ValueError(
                f"`mean` and `std` must be one number each for gray images. Received: {self.mean}, {self.std}"
            )
        if not _is_number(self.crop) or not 0 < self.crop <= 1:
            raise ValueError(f"`crop` must be in (0, 1]. Received: crop={self.crop!r}")
        check_one_of("interpolation", self.interpolation, INTERPOLATIONS)
        object.__setattr__(self, "fitting", _current_name(self.fitting))
        check_one_of("fitting", self.fitting, FITTINGS)
        if self.fitting in RESIZED_FIRST and self.crop < 0.1:
            raise ValueError(f"`crop` must be in [0.1, 1] for fitting {self.fitting!r}. Received: crop={self.crop!r}")
        if self.fitting == "pad" and self.crop != 1:
            raise ValueError(
                f"`crop` must be 1 for fitting 'pad', which cuts nothing off. Received: crop={self.crop!r}"
            )
        if not isinstance(self.antialias, bool):
            raise ValueError(f"`antialias` must be True or False. Received: antialias={self.antialias!r}")
        if not self.antialias and self.interpolation not in ("nearest", "bilinear"):
            raise ValueError(f"`antialias` must be True for {self.interpolation} interpolation. Received: False")
        if self.fitting == "central_crop" and (self.antialias or self.interpolation != "bilinear"):
            raise ValueError(
                "`fitting` 'central_crop' requires bilinear interpolation and antialias=False. "
                f"Received: {self.interpolation}, antialias={self.antialias}"
            )

    def normalize(self, pixels):
        """Return the network input for RGB pixels.

        Args:
            pixels: (..., 3), 0 to 255, already resized to the network's input. A NumPy array, or a tensor of any
                backend, of integers or floats.

        Returns:
            float32, (..., 3), in the order of `channels`, or (..., 1) if they are gray.
        """
        pixels = _as_float32(pixels)
        if self.channels == GRAY:
            red, green, blue = (pixels[..., i : i + 1] * share for i, share in enumerate(self.mixing[:, 0]))
            return (red + green + blue - np.float32(self.mean[0])) / np.float32(self.std[0])
        pixels = pixels[..., ::-1] if self.channels == "BGR" else pixels
        row = (pixels.shape[-2] or 1, 1)  # TensorFlow broadcasts a row three times as fast as three numbers
        return (pixels - np.tile(np.float32(self.mean), row)) / np.tile(np.float32(self.std), row)

    @property
    def mixing(self) -> np.ndarray:
        """The share of red, green and blue in each channel of the network's input, float32 (3, 1) or (3, 3)."""
        if self.channels == GRAY:
            return np.array(LUMINANCE, np.float32)[:, None]
        return np.eye(3, dtype=np.float32)[:: -1 if self.channels == "BGR" else 1]

    def fit(self, picture: "Image.Image | np.ndarray") -> np.ndarray:
        """Crop and resize an image, uint8 RGB (height, width, 3), to the network's size, uint8."""
        image = _rgb(picture)
        if self.channels == GRAY:
            image = image.convert("L").convert("RGB")
        if self.fitting == "box":
            return self.resize(image, self.size, box_in(image, self.size, self.crop))
        if self.fitting == "central_crop":
            return _central_crop(np.asarray(image), self.size, self.crop)
        if self.fitting == "pad":
            return self._padded(image)
        whole = self._covering(image.width, image.height) if self.fitting == "shorter" else self._before_crop()
        upper, left = (round((outer - inner) / 2) for outer, inner in zip(whole, self.size, strict=True))
        if whole[0] * whole[1] > LARGEST:
            down, across = image.height / whole[0], image.width / whole[1]
            box = (left * across, upper * down, (left + self.size[1]) * across, (upper + self.size[0]) * down)
            return self.resize(image, self.size, box)
        return self.resize(image, whole)[upper : upper + self.size[0], left : left + self.size[1]]

    def resize(self, picture: "Image.Image | np.ndarray", size: tuple[int, int], box: Box | None = None) -> np.ndarray:
        """Resize an image, or a box within it.

        Args:
            picture: uint8 RGB, (height, width, 3).
            size: (height, width) of the result.
            box: (left, upper, right, lower) in fractional pixels; None is the whole image.

        Returns:
            uint8, (*size, 3).
        """
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

    def _padded(self, image: "Image.Image") -> np.ndarray:
        inner = inside(self.size, image.width, image.height)
        upper, left = (round((outer - inner) / 2) for outer, inner in zip(self.size, inner, strict=True))
        fitted = np.full((*self.size, 3), PADDING, np.uint8)
        fitted[upper : upper + inner[0], left : left + inner[1]] = self.resize(image, inner)
        return fitted

    def _before_crop(self) -> tuple[int, int]:
        """Return the (height, width) from which the center is cropped."""
        return round(self.size[0] / self.crop), round(self.size[1] / self.crop)

    def _covering(self, width: int, height: int) -> tuple[int, int]:
        """Return the (height, width) at which an image just covers `_before_crop`, keeping its aspect ratio."""
        least_height, least_width = self._before_crop()
        if width * least_height <= height * least_width:
            return height * least_width // width, least_width
        return least_height, width * least_height // height

    def __call__(self, picture: "Image.Image | np.ndarray") -> np.ndarray:
        """Return the network input, float32 (height, width, 3), for a uint8 RGB image of any size."""
        return self.normalize(self.fit(picture).astype(np.float32))

    def describe(self) -> str:
        """Describe in words how an image is cropped and resized before normalization."""
        height, width = self._before_crop() if self.fitting in RESIZED_FIRST else self.size
        fitted = FITTINGS[self.fitting].format(crop=self.crop, height=height, width=width)
        return f"{fitted}; {self.interpolation} interpolation, {'' if self.antialias else 'not '}antialiased"

    def replace(self, **changes) -> "Preprocessing":
        """Return a copy with the named fields changed."""
        return dataclasses.replace(self, **changes)

    def with_channels(self, channels: int | None) -> "Preprocessing":
        """Return a copy for a network whose input has this number of channels: gray for 1, else RGB or BGR."""
        if (channels == 1) == (self.channels == GRAY):
            return self
        return self.replace(channels=GRAY if channels == 1 else "RGB")

    def without_normalization(self) -> "Preprocessing":
        """Return a copy with the same crop and resize that outputs plain RGB pixels, 0 to 255."""
        return self.replace(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), channels="RGB")

    def to_json(self) -> str:
        """Return the fields as a JSON object."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Preprocessing":
        """Create a `Preprocessing` from the output of `to_json`.

        Raises:
            ValueError: the text is not a JSON object, has unknown fields, or a value is out of range.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ValueError(f"preprocessing must be a JSON object: {error}") from None
        fields = sorted(field.name for field in dataclasses.fields(cls))
        if not isinstance(values, dict) or not values.keys() <= {*fields}:
            raise ValueError(f"preprocessing must be a JSON object of {', '.join(fields)}. Received: {text:.200}")
        if values.get("fitting") == SLIM:
            values["fitting"] = "central_crop"
        return cls(**values)

    def save(self, path: str | os.PathLike) -> None:
        """Write the fields to a JSON file."""
        files.write_json(path, dataclasses.asdict(self))

    @classmethod
    def named(cls, name: str, size: tuple[int, int] = (224, 224)) -> "Preprocessing":
        """Return the entry of `NAMED` at this size, or read a JSON file, which specifies its own size.

        Raises:
            ValueError: there is no such name, or the file is not a valid preprocessing.
        """
        if name in NAMED:
            return NAMED[name].replace(size=size)
        if not os.path.isfile(name):
            allowed = ", ".join(NAMED)
            raise ValueError(f"`preprocessing` must be one of {allowed}, or a JSON file. Received: {name!r}")
        try:
            return cls.from_json(Path(name).read_text(encoding="utf-8", errors="replace"))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def _current_name(fitting):
    if fitting != SLIM:
        return fitting
    warnings.warn("`fitting` 'slim' is now called 'central_crop'", DeprecationWarning, stacklevel=4)
    return "central_crop"


def _for_each_channel(value):
    """Return a number, alone or in a sequence, once for each of three channels."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        (value,) = value
    return (value,) * 3 if _is_number(value) else value


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def box_in(image: "Image.Image", size: tuple[int, int], share: float = 1.0, place: float = 0.5) -> Box:
    """Return the largest rectangle of a given aspect ratio within an image, with its sides scaled by `share`.

    Args:
        image: the image.
        size: (height, width), which gives the aspect ratio.
        share: scale factor for both sides, in (0, 1].
        place: position along the axis with slack: 0 is left or top, 0.5 the center, 1 right or bottom.

    Returns:
        (left, upper, right, lower) in fractions of pixels.
    """
    height, width = size
    scale = share * min(image.width / width, image.height / height)
    across = max(0.0, image.width - width * scale)  # rounding can make it slightly negative
    down = max(0.0, image.height - height * scale)
    return across * place, down * place, image.width - across * (1 - place), image.height - down * (1 - place)


def inside(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """Return the (height, width) at which an image just fits into `size`, keeping its aspect ratio."""
    if width * size[0] <= height * size[1]:
        return size[0], max(1, width * size[0] // height)
    return max(1, height * size[1] // width), size[1]


def _as_float32(pixels):
    """Cast pixels: TensorFlow would turn the mean into the type of integer pixels, not the pixels into floats."""
    if hasattr(pixels, "astype"):  # NumPy and JAX
        return pixels.astype(np.float32, copy=False)
    tensorflow = sys.modules.get("tensorflow")  # also the elements of a tf.data pipeline, whatever Keras' backend is
    if tensorflow is not None and tensorflow.is_tensor(pixels):
        return tensorflow.cast(pixels, "float32")
    import keras

    return keras.ops.cast(pixels, "float32")


def _rgb(picture: "Image.Image | np.ndarray") -> "Image.Image":
    from PIL import Image

    if not isinstance(picture, Image.Image):
        picture = Image.fromarray(picture)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _central_crop(pixels: np.ndarray, size: tuple[int, int], crop: float) -> np.ndarray:
    upper, left = (int((side - side * crop) / 2) for side in pixels.shape[:2])
    height, width = pixels.shape[0] - 2 * upper, pixels.shape[1] - 2 * left
    rows, columns = np.arange(size[0]) * (height / size[0]), np.arange(size[1]) * (width / size[1])
    return _bilinear(pixels[upper : upper + height, left : left + width], rows, columns)


def _bilinear(pixels: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Sample an image bilinearly at fractional rows and columns. Edge pixels are replicated."""
    height, width = pixels.shape[:2]
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    upper, left = rows.astype(int), columns.astype(int)
    lower, right = np.minimum(upper + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = (rows - upper)[:, None, None], (columns - left)[:, None]

    def between(row: np.ndarray) -> np.ndarray:
        return pixels[row][:, left] * (1 - across) + pixels[row][:, right] * across

    return np.rint(between(upper) * (1 - down) + between(lower) * down).astype(np.uint8)


# Caffe's normalization; each network has its own mean.
CAFFE = Preprocessing(std=(1.0, 1.0, 1.0), channels="BGR", fitting="stretch")
# torchvision's GoogLeNet with `transform_input`, which converts torchvision's normalization to this one; also timm's.
TORCHVISION_UNIT = Preprocessing(crop=0.875, fitting="shorter")
# Presets: how publishers of weights preprocess images for evaluation.
NAMED = {
    # TF-slim's "inception_preprocessing".
    "inception": Preprocessing(crop=0.875, fitting="central_crop", antialias=False),
    "unit": Preprocessing(),
    # For networks that normalize raw pixels themselves, and for those that were trained on pixels / 255.
    "raw": Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    "zero_to_one": Preprocessing(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0)),
    "torchvision": TORCHVISION_UNIT.replace(
        mean=(0.485 * 255, 0.456 * 255, 0.406 * 255), std=(0.229 * 255, 0.224 * 255, 0.225 * 255)
    ),
    "torchvision_unit": TORCHVISION_UNIT,
    # From the examples for keras.applications' Inception networks. (The accuracies listed there were measured
    # differently: OpenCV's bicubic resize to a shorter side of 256, then a center crop; keras-applications, issue 88.)
    "keras": Preprocessing(interpolation="nearest", fitting="stretch"),
    # From the examples for keras.applications' VGG.
    "keras_caffe": CAFFE.replace(mean=(103.939, 116.779, 123.68), interpolation="nearest"),
    # Caffe's tools resize images to 256×256 with OpenCV.
    "caffe": CAFFE.replace(mean=(104.0, 117.0, 123.0), crop=0.875, antialias=False),
}
DEFAULT = NAMED["unit"]
