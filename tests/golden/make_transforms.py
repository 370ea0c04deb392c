"""Run torchvision's own transforms on drawn images; see README_PEERS.md. Needs torchvision and NumPy.

Every `STEP`th pixel of the cropped image and of the network's input is stored.
"""

import json

import numpy as np
import PIL
import torchvision
from draw import draw_input
from making import GOLDEN
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize
from torchvision.transforms._presets import ImageClassification

STEP = 37
# Landscape, portrait, square, smaller than the crop, very wide.
SIZES = [(375, 500), (501, 333), (333, 333), (19, 31), (40, 399)]
# Crop, resize and interpolation of GoogLeNet and ResNet-34, of Inception v3, and one with odd margins.
TRANSFORMS = [(224, 256, "bilinear"), (299, 342, "bilinear"), (160, 181, "bicubic")]

cases = []
for seed, (height, width) in enumerate(SIZES):
    picture = Image.fromarray(np.rint(draw_input(height, width, seed)[0] * 255).astype(np.uint8))
    for crop_size, resize_size, name in TRANSFORMS:
        interpolation = InterpolationMode(name)
        cropped = Compose([Resize(resize_size, interpolation), CenterCrop(crop_size)])(picture)
        preset = ImageClassification(crop_size=crop_size, resize_size=resize_size, interpolation=interpolation)
        normalised = preset(picture).permute(1, 2, 0).numpy()[::STEP, ::STEP]
        cases.append(
            {
                "height": height,
                "width": width,
                "seed": seed,
                "crop_size": crop_size,
                "resize_size": resize_size,
                "interpolation": name,
                "pixels": np.asarray(cropped)[::STEP, ::STEP].ravel().tolist(),
                "normalised": [float(f"{value:.7g}") for value in normalised.ravel()],
            }
        )

document = {
    "format": "transforms 1",
    "peer": {"package": "torchvision", "version": f"{torchvision.__version__}, Pillow {PIL.__version__}"},
    "step": STEP,
    "cases": cases,
}
path = GOLDEN / "tv_transforms.json"
path.write_text(json.dumps(document, separators=(",", ":")) + "\n")
print(path.name, path.stat().st_size, len(cases))
