"""Random images and maps for tests."""

import numpy as np
from PIL import Image


def maps(shape, scale=1.0, seed=0):
    """Return float32 maps of normally distributed values."""
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def noise(height, width, seed=0):
    """Return an image of noise, uint8 (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def waves(height, width, seed=0):
    """Return an image of waves and noise, uint8 (height, width, 3).

    It is neither smooth, which would hide a shift, nor flat.
    """
    rows, columns = np.mgrid[:height, :width]
    waves = 90 * np.stack([np.sin(rows / 7), np.cos(columns / 5), np.sin((rows + columns) / 11)], axis=-1)
    noise = np.random.default_rng(seed).integers(-37, 38, waves.shape)
    return np.clip(127 + waves + noise, 0, 255).astype(np.uint8)


def photograph(seed=0, width=40, height=30):
    """Return an image that is smooth in places, like a photograph, so that JPEG decoders can differ on it."""
    return Image.fromarray(noise(6, 8, seed)).resize((width, height), Image.Resampling.BICUBIC)


def save_photographs(root, count, seed=0, classes=("a", "b", "é")):
    """Save `count` images per class. Of four, two are plain JPEG, one is PNG, and one is CMYK, for Pillow only."""
    for number in range(count * len(classes)):
        label, index = classes[number % len(classes)], number // len(classes)
        image = photograph(seed + number, width=40 + number)
        path = root / label / f"{index}.{'png' if index % 4 == 2 else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        (image.convert("CMYK") if index % 4 == 3 else image).save(path)
    return root


def scene(seed=0, size=(150, 120)):
    """Return an image with detail at several scales, like a photograph. Those of other seeds are unlike it."""
    random = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3))
    for cells, share in ((3, 1.0), (6, 0.7), (12, 0.5), (30, 0.4), (90, 0.3)):
        drawn = Image.fromarray(random.integers(0, 256, (cells, cells + 1, 3), dtype=np.uint8))
        total += share * np.asarray(drawn.resize(size, Image.Resampling.BICUBIC), float)
    return Image.fromarray(np.clip(total / 2.9, 0, 255).astype(np.uint8))
