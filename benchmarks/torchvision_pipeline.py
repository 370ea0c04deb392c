"""Run torchvision's side of input_pipeline.py in an environment of its own: one round per line on standard input."""

import json
import os
import sys
import time
from pathlib import Path

import torch
import torchvision
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2

BATCH, SIZE = 32, 224


class Images(torch.utils.data.Dataset):
    def __init__(self, folder: str):
        self.paths = sorted(Path(folder).rglob("*.jpg"))
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(SIZE, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int):
        path = self.paths[index]
        image = decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB)
        return self.transform(image), int(path.parent.name)


def main() -> None:
    loader = torch.utils.data.DataLoader(
        Images(sys.argv[1]),
        batch_size=BATCH,
        shuffle=True,
        num_workers=os.cpu_count() or 1,
        persistent_workers=True,
        drop_last=True,
    )
    print(json.dumps(f"torch {torch.__version__}, torchvision {torchvision.__version__}"), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        for _ in loader:
            pass
        print(json.dumps([1000 * (time.perf_counter() - began)]), flush=True)


if __name__ == "__main__":
    main()
