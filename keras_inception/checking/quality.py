"""Which images show little: tiny, of one color, dark, overexposed, blurry, or of an odd shape.

The thresholds leave borderline cases alone. What is usual depends on the dataset: 28×28 pixels are not tiny among
images of that size, so that size, shape and sharpness are compared with the median.
"""

from collections.abc import Callable

import numpy as np

from keras_inception.checking.measures import CELLS

SMALL, SMALLER = 64, 3  # tiny: a shorter side below 64 pixels and at most a third of the median,
TINIEST = 8  # or below 8 pixels
PLAIN, PLAIN_COLORS = 1.5, 4  # single color: standard deviation of gray levels; range of each channel of the grid
DARK, LIT = 60, 100  # dark: 99 % of the pixels are not brighter, where the median of this is higher
PALE = 200  # overexposed: 99 % of the pixels are brighter in all channels,
LIGHT, WHITE = 60, 0.5  # or brighter than 60 in all channels and most of them white,
USUAL_WHITE = 0.2  # where white is no usual background: the median share of it is lower
BLURRY, BLURRIER, SPREADS = 0.1, 1.7, 3  # blurry: sharpness; times less than the median, and as many of its spread
ODD = 3  # times longer, or wider, than the median shape


def tiny(measures: np.ndarray) -> np.ndarray:
    """Return which images are much smaller than the others, bool (n,)."""
    sides = np.minimum(measures["height"], measures["width"])
    return (sides < TINIEST) | ((sides < SMALL) & (sides * SMALLER <= np.median(sides)))


def single_color(measures: np.ndarray) -> np.ndarray:
    """Return which images have one color throughout, bool (n,)."""
    colors = measures["colors"].reshape(len(measures), CELLS**2, 3).astype(np.int16)
    ranges = (colors.max(axis=1) - colors.min(axis=1)).max(axis=1)
    return (measures["contrast"] < PLAIN) & (ranges <= PLAIN_COLORS)


def dark(measures: np.ndarray) -> np.ndarray:
    """Return which images have hardly a bright pixel, unlike the others, bool (n,)."""
    brightest = measures["brightest"]
    return (brightest < DARK) & (np.median(brightest) > LIT) & ~single_color(measures)


def overexposed(measures: np.ndarray) -> np.ndarray:
    """Return which images are mostly white without a dark or saturated part, unlike the others, bool (n,)."""
    darkest, white = measures["darkest"], measures["white"]
    pale = (darkest > PALE) | ((darkest > LIGHT) & (white > WHITE))
    return pale & (np.median(white) < USUAL_WHITE) & ~single_color(measures)


def blurry(measures: np.ndarray) -> np.ndarray:
    """Return which images are far less sharp than the others at about the size that a network sees, bool (n,)."""
    sharpness = np.log(np.maximum(measures["sharpness"], 1e-3))
    known = ~np.isnan(sharpness)
    if not known.any():
        return known
    median = np.median(sharpness[known])
    spread = 1.4826 * np.median(np.abs(sharpness[known] - median))  # a standard deviation, if they are normal
    return known & (sharpness < np.log(BLURRY)) & (median - sharpness > max(np.log(BLURRIER), SPREADS * spread))


def odd_shape(measures: np.ndarray) -> np.ndarray:
    """Return which images are far longer or wider than the others, bool (n,)."""
    shape = np.log(measures["width"] / measures["height"])
    return np.abs(shape - np.median(shape)) > np.log(ODD)


FINDINGS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (single_color, tiny, dark, overexposed, blurry, odd_shape)


def poor(measures: np.ndarray) -> dict[str, np.ndarray]:
    """Return the indices of the images of each finding, by its name."""
    return {find.__name__: np.flatnonzero(find(measures)) if len(measures) else np.arange(0) for find in FINDINGS}
