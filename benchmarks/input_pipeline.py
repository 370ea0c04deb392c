"""Measure images per second from JPEG files to batches: python benchmarks/input_pipeline.py [--torch-env FOLDER]

JPEGs of 500×375 become antialiased random crops of 224×224 (8 to 100 % of the area, 3:4 to 4:3), randomly flipped and
normalized, 32 in a batch: with `keras_inception.datasets.training_batches`, and with torchvision's transforms of
tensors in a DataLoader with one worker per core. In each round both read all images once; between rounds they are idle.
They take turns; nothing else may run. Writes ``benchmarks/results/input_pipeline.json`` and updates its table in the
documentation.
"""

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from circumstances import circumstances
from peers import CACHE, environment, median_ratio, race
from readme import insert, keep

from keras_inception.utils import tables

HERE = Path(__file__).parent
COLUMNS = {
    "ours": tables.Column("images/s", tables.fixed(0)),
    "theirs": tables.Column("torchvision's", tables.fixed(0)),
    "ratio": tables.COLUMNS["ratio"],
}
IMAGES, DISTINCT, BATCH, SIZE = 2048, 256, 32, 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-env", type=Path, default=CACHE / "torch", help="created if it does not exist")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        measure(arguments.ours)
        return
    python = environment(arguments.torch_env)
    with tempfile.TemporaryDirectory() as folder:
        size = write_images(Path(folder))
        ours = [sys.executable, __file__, "--ours", folder]
        theirs = [python, HERE / "torchvision_pipeline.py", folder]
        times, versions = race(ours, theirs, arguments.rounds)
    result = {
        "command": f"python benchmarks/input_pipeline.py --rounds {arguments.rounds}",
        "ratio": round(median_ratio(times), 3),
        "pictures_per_second": {name: round(IMAGES / statistics.median(seconds), 1) for name, seconds in times.items()},
        "rounds": arguments.rounds,
        "seconds": {name: [round(value, 3) for value in seconds] for name, seconds in times.items()},
        "pictures": IMAGES,
        "mean_bytes": size,
        **circumstances(),
        "versions": versions,
    }
    keep("input_pipeline", result)
    insert("input_pipeline", table(result))
    print(table(result))


def table(result: dict) -> str:
    """Return the result as Markdown."""
    return tables.markdown(COLUMNS, [{**result["pictures_per_second"], "ratio": result["ratio"]}])


def write_images(folder: Path) -> int:
    """Write JPEGs in two classes, with detail on every scale as in photographs; return their mean size in bytes."""
    import numpy as np
    from PIL import Image

    total = 0
    chance = np.random.default_rng(0)
    for number in range(DISTINCT):
        image = np.zeros((375, 500, 3))
        for octave in range(7):
            height, width = 3 * 2**octave, 4 * 2**octave
            noise = chance.integers(0, 256, (height, width, 3), dtype=np.uint8)
            larger = Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC)
            image += (np.asarray(larger) - 127.5) * 0.72**octave
        content = io.BytesIO()
        Image.fromarray(np.clip(image * 0.7 + 127.5, 0, 255).astype(np.uint8)).save(content, "JPEG", quality=90)
        total += content.tell()
        for copy in range(IMAGES // DISTINCT):
            path = folder / f"{number % 2}" / f"{number:04}-{copy}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content.getvalue())
    return total // DISTINCT


def measure(folder: Path) -> None:
    """Run our pipeline: one round for each line on standard input."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    from keras_inception import __version__, datasets
    from keras_inception.preprocessing import Preprocessing

    examples = datasets.open_folder(folder, validation=0).train
    augmentation = datasets.Augmentation(area=(0.08, 1.0), brightness=0, contrast=0, saturation=0, hue=0)
    epoch = datasets.training_batches(
        examples,
        Preprocessing.named("torchvision", (SIZE, SIZE)),
        batch_size=BATCH,
        seed=0,
        first_epoch=0,
        epochs=1,
        augmentation=augmentation,
    )
    print(json.dumps(f"keras-inception {__version__}, tensorflow {tf.__version__}"), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        batches = iter(epoch)
        for _ in range(IMAGES // BATCH):
            next(batches)
        print(json.dumps([1000 * (time.perf_counter() - began)]), flush=True)
        del batches  # waits up to seconds for its autotuning thread, once per training


if __name__ == "__main__":
    main()
