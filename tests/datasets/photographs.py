"""Pictures that are smooth in places, as photographs are, of any size."""

import numpy as np
from PIL import Image


def photograph(seed, width=40, height=30):
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def save_photographs(root, count, seed=0, classes=("a", "b", "é")):
    """`count` pictures a class; of every four two are plain JPEG, one is PNG and one CMYK, which only Pillow reads."""
    for number in range(count * len(classes)):
        label, place = classes[number % len(classes)], number // len(classes)
        picture = photograph(seed + number, width=40 + number)
        path = root / label / f"{place}.{'png' if place % 4 == 2 else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        (picture.convert("CMYK") if place % 4 == 3 else picture).save(path)
    return root
