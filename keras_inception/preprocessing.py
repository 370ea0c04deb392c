"""`Preprocessing`: the one value that tf.data, calibration, metadata, prediction and the README all read."""

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from keras_inception import files

if TYPE_CHECKING:
    from PIL import Image

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Preprocessing:
    """From a picture to a network's input: crop, resize, then ``(pixel - mean) / std`` channel by channel.

    Attributes:
        size: (height, width) of the network's input.
        mean, std: three figures each, in units of pixels (0 to 255), in the order of `channels`.
        channels: ``"RGB"``, or ``"BGR"`` as Caffe's networks take them.
        crop: share of the largest centred rectangle of the input's shape that is kept, in (0, 1]: 0.875 is
            torchvision's 224 of 256.
        interpolation: of the resize, by Pillow, antialiased: nearest, bilinear, bicubic or lanczos.

    Raises:
        ValueError: a field is not as above.
    """

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)
    channels: str = "RGB"
    crop: float = 1.0
    interpolation: str = "bilinear"

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

    def normalize(self, pixels):
        """Network input from RGB pixels: (..., 3), 0 to 255, float32 out.

        `pixels` is a NumPy array, uint8 or float32, or a float32 tensor of any backend, already of the network's size.
        """
        pixels = pixels[..., ::-1] if self.channels == "BGR" else pixels
        return (pixels - np.float32(self.mean)) / np.float32(self.std)

    def fit(self, picture: "Image.Image | np.ndarray") -> np.ndarray:
        """Crop and resize a picture, uint8 RGB (height, width, 3), to the network's size, uint8."""
        from PIL import Image

        if not isinstance(picture, Image.Image):
            picture = Image.fromarray(picture)
        height, width = self.size
        scale = self.crop * min(picture.width / width, picture.height / height)
        left = max(0.0, (picture.width - width * scale) / 2)  # rounding can leave it a hair below 0
        upper = max(0.0, (picture.height - height * scale) / 2)
        box = (left, upper, picture.width - left, picture.height - upper)
        resampling = Image.Resampling[self.interpolation.upper()]
        return np.asarray(picture.convert("RGB").resize((width, height), resampling, box=box))

    def __call__(self, picture: "Image.Image | np.ndarray") -> np.ndarray:
        """Network input, float32 (height, width, 3), from a picture, uint8 RGB (height, width, 3) of any size."""
        return self.normalize(self.fit(picture).astype(np.float32))

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


# What the publishers of weights feed their networks.
NAMED = {
    # TF-slim and keras.applications' Inception networks, and torchvision's GoogLeNet with `transform_input`,
    # which takes its own normalisation back to this.
    "inception": Preprocessing(crop=0.875),
    "unit": Preprocessing(),
    "torchvision": Preprocessing(
        mean=(0.485 * 255, 0.456 * 255, 0.406 * 255), std=(0.229 * 255, 0.224 * 255, 0.225 * 255), crop=0.875
    ),
    "caffe": Preprocessing(mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0), channels="BGR", crop=0.875),
}
DEFAULT = NAMED["unit"]
