"""Measure `predict` on photographs of 12 megapixels: python benchmarks/predict.py [--counts N ...]

Photographs are drawn, and GoogLeNet with random weights, 224 px, is saved as an int8 .tflite file and as a Keras model.
The command classifies 2, 20 and 500 photographs with each, in a process of its own; `--output` also writes the contact
sheet. Memory is the most that the process, or its child if that has more, held at once. Nothing else may run. Writes
``benchmarks/results/predict.json`` and updates its table in the documentation.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from circumstances import circumstances
from exports import converted, drawn
from PIL import Image
from readme import insert, keep

from keras_inception.utils import tables

SIZE = 4000, 3000
DIFFERENT = 20  # photographs; the others are links to them
CASES = {
    "file": ("the int8 file", "googlenet.tflite"),
    "sheet": ("the int8 file, with `--output`", "googlenet.tflite", "--output", "sheet"),
    "model": ("the Keras model", "googlenet.keras", "--preprocessing", "unit"),
}
COLUMNS = {
    **tables.columns("network", "pictures"),
    "seconds": tables.Column("s", tables.fixed(1)),
    "cpu_seconds": tables.Column("CPU, s", tables.fixed(1)),
    "peak_mb": tables.COLUMNS["memory_mb"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[2, 20, 500], help="numbers of photographs")
    parser.add_argument("--prepare", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments.prepare)
        return
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In another process, since that of a new process begins with the memory of this one.
        subprocess.run([sys.executable, __file__, "--prepare", name], check=True)
        for count in arguments.counts:
            link(folder, count)
            for case, (title, *words) in CASES.items():
                row = {"case": case, "network": title, "pictures": count, **measured(folder, words, count)}
                print(row, flush=True)
                rows.append(row)
    rows.sort(key=lambda row: list(CASES).index(row["case"]))
    result = {"command": "python benchmarks/predict.py", **circumstances(), "rows": rows}
    keep("predict", result)
    insert("predict", table(result))


def table(result: dict) -> str:
    """Return the result as Markdown."""
    return tables.markdown(COLUMNS, result["rows"])


def prepare(folder: Path) -> None:
    """Draw the photographs and save the network."""
    import keras_inception

    chance = np.random.default_rng(0)
    for number in range(DIFFERENT):
        smooth = Image.fromarray(chance.integers(0, 256, (30, 40, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
        grain = chance.normal(0, 6, (SIZE[1], SIZE[0], 1)).astype(np.float32)
        pixels = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=90)
    network = drawn(keras_inception.GoogLeNet(classes=100, auxiliary=False))
    network.save(folder / "googlenet.keras")
    converted(network, {"int8": folder / "googlenet.tflite"})


def link(folder: Path, count: int) -> None:
    """Fill a folder with this number of photographs."""
    (folder / str(count)).mkdir()
    for number in range(count):
        os.link(folder / f"{number % DIFFERENT}.jpg", folder / str(count) / f"{number:04}.jpg")


def measured(folder: Path, words: list[str], count: int) -> dict[str, float]:
    """Return the seconds and the memory that the command takes for a folder of photographs."""
    network, *options = words
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        began = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-m", "keras_inception.cli", "predict", folder / network, folder / str(count), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=scratch,
        )
        assert child.stdout
        lines = sum(1 for _ in child.stdout)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
    if status or lines != count:
        raise SystemExit(f"predict ended with {status} after {lines} of {count} photographs")
    cpu = usage.ru_utime + usage.ru_stime
    return {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "peak_mb": round(usage.ru_maxrss / 1024)}


if __name__ == "__main__":
    main()
