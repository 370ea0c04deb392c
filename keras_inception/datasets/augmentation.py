"""Augmentation: random changes to the training images, which differ in every epoch."""

import dataclasses
import math
from collections.abc import Mapping

from keras_inception.utils.checks import check_one_of
from keras_inception.utils.suggestions import did_you_mean

SHARES = ("brightness", "contrast", "saturation", "lighting", "erase")
UPPER = dict.fromkeys(SHARES, 1.0) | {"hue": 0.5, "mixup": 10.0, "cutmix": 10.0}


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random crop, flip and color changes ("inception preprocessing"; 1409.4842, section 6, after 1312.5402).

    Attributes:
        area: range of the crop's area as a fraction of the image's, in (0, 1]. (1, 1) disables the random crop: the
            image is fitted as by `Preprocessing.fit`.
        aspect: range of the crop's aspect ratio (width / height) relative to the network input's, positive.
        scale: range of the image's shorter side relative to the network input's. A crop of the input size is then taken
            at a random position (1409.1556, section 3.1; 1512.03385, section 3.4). None: crop by `area`.
        interpolation: ``"bilinear"``, or ``"mixed"``: one of bilinear, area, nearest and bicubic at random, without
            antialiasing (1409.4842, section 6).
        flip: flip images horizontally with a probability of 0.5.
        brightness: maximum shift up or down, as a fraction of white, in [0, 1].
        contrast: maximum relative change of the distance to the mean color, in [0, 1].
        saturation: maximum relative change of the saturation, in [0, 1].
        hue: maximum rotation of the hue, as a fraction of the color wheel, in [0, 0.5].
        lighting: standard deviation of lighting noise along the principal axes of ImageNet's colors, in [0, 1]; 0.1 in
            Krizhevsky et al. 2012.
        distortions: number of Keras layers drawn from `augmenting.DISTORTIONS` and applied in sequence, 0 to 9. They
            are drawn once per batch; RandAugment (1909.13719) draws them per image.
        erase: fraction of the images in which a region, 2 to 33 % of the area, is replaced by noise (random erasing,
            1708.04896), in [0, 1].
        mixup: alpha of MixUp's Beta distribution, which mixes pairs of images and labels in a batch (1710.09412), in
            [0, 10].
        cutmix: alpha of CutMix, which pastes a region of one image into another (1905.04899), in [0, 10]. If
            `mixup` is set too, each batch uses one of the two at random.

    Raises:
        ValueError: a field is out of range.
    """

    area: tuple[float, float] = (0.35, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    scale: tuple[float, float] | None = None
    interpolation: str = "bilinear"
    flip: bool = True
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.02
    lighting: float = 0.0
    distortions: int = 0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        ranges = {"area": 1.0, "aspect": math.inf} | ({} if self.scale is None else {"scale": math.inf})
        for field, upper in ranges.items():
            value = getattr(self, field)
            if not _is_range(value) or not 0 < value[0] <= value[1] <= upper:
                allowed = "low and high, 0 < low <= high" + (f" <= {upper:g}" if upper < math.inf else "")
                raise ValueError(f"`{field}` must be two numbers, {allowed}. Received: {field}={value!r}")
            object.__setattr__(self, field, (float(value[0]), float(value[1])))
        if self.scale and self.scale[0] < 1:
            raise ValueError(f"`scale` must be at least 1 so that the crop fits. Received: scale={self.scale}")
        check_one_of("interpolation", self.interpolation, ("bilinear", "mixed"))
        if type(self.distortions) is not int or not 0 <= self.distortions <= 9:
            raise ValueError(f"`distortions` must be a whole number, 0 to 9. Received: {self.distortions!r}")
        if not isinstance(self.flip, bool):
            raise ValueError(f"`flip` must be True or False. Received: flip={self.flip!r}")
        for field, upper in UPPER.items():
            value = getattr(self, field)
            if not _is_number(value) or not 0 <= value <= upper:
                raise ValueError(f"`{field}` must be in [0, {upper:g}]. Received: {field}={value!r}")
            object.__setattr__(self, field, float(value))

    @classmethod
    def none(cls) -> "Augmentation":
        """Return an augmentation that changes nothing."""
        return cls(area=(1, 1), aspect=(1, 1), flip=False, brightness=0, contrast=0, saturation=0, hue=0)

    def to_dict(self) -> dict:
        """Return the fields as JSON types."""
        return dataclasses.asdict(self)

    def replace(self, **changes) -> "Augmentation":
        """Return a copy with the named fields changed."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_dict(cls, values: Mapping) -> "Augmentation":
        """Create an augmentation from a dictionary like that of `to_dict`. Missing fields take their defaults.

        Raises:
            ValueError: a field is unknown, or a value is out of range.
        """
        fields = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(map(str, set(values) - set(fields))) if isinstance(values, Mapping) else [str(values)]
        if not unknown:
            return cls(**values)
        hint = did_you_mean(unknown[0], fields)
        raise ValueError(f"`augmentation` must have the fields {', '.join(fields)}.{hint} Received: {values!r:.200}")


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_range(value) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_number, value))
