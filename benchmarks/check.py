"""Measure `keras-inception check`: python benchmarks/check.py [--images N] [--cleanvision PYTHON]

Draws JPEG files of 500×375 pixels with the spectrum of photographs, checks a tenth and all of them, each in a process
of its own, and compares 100,000 hashes. With --cleanvision, the Python of an environment that has CleanVision, it looks
through the tenth too. Writes ``benchmarks/results/check.json`` and updates its table in the documentation.
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
from PIL import Image
from readme import insert, keep

from keras_inception.utils import tables

SIZE = (500, 375)
LAYERS = ((3, 1.0), (6, 0.7), (12, 0.5), (40, 0.25), (160, 0.12))  # cells per side of each noise, and its share
HASHES = 100_000
COLUMNS = {
    "what": tables.Column("what", is_text=True),
    "seconds": tables.Column("s", tables.fixed(1)),
    "cpu_seconds": tables.Column("processor time, s", tables.fixed(1)),
    "memory_mb": tables.COLUMNS["memory_mb"],
}
CLEANVISION = "from cleanvision import Imagelab; Imagelab(data_path={!r}).find_issues(n_jobs=1, verbose=False)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="number of images to draw")
    parser.add_argument("--cleanvision", metavar="PYTHON", help="Python that can import cleanvision 0.3.7")
    arguments = parser.parse_args()
    check = [sys.executable, "-m", "keras_inception.cli", "check", "--json"]
    few = arguments.images // 10
    with tempfile.TemporaryDirectory() as folder:
        for name, count in (("few", few), ("all", arguments.images)):  # not here: children inherit the peak of memory
            subprocess.run([sys.executable, __file__, "--draw", f"{folder}/{name}", str(count)], check=True)
        rows = [
            {"what": f"`check` of {few:,} images", **measured([*check, f"{folder}/few"])},
            {"what": f"`check` of {arguments.images:,} images", **measured([*check, f"{folder}/all"])},
            {"what": f"`check` compares {HASHES:,} hashes", **measured([sys.executable, __file__, "--compare"])},
        ]
        if arguments.cleanvision:
            script = CLEANVISION.format(f"{folder}/few")
            row = measured([arguments.cleanvision, "-c", script])
            rows.append({"what": f"CleanVision 0.3.7 of {few:,} images, one process", **row})
    keep("check", {"command": "python benchmarks/check.py", **circumstances(), "rows": rows})
    insert("check", table({"rows": rows}))


def table(result: dict) -> str:
    """Return the result as Markdown."""
    return tables.markdown(COLUMNS, result["rows"])


def draw(folder: Path, count: int) -> None:
    """Draw different images in ten classes, every tenth of them for test."""
    random = np.random.default_rng(count)
    layers = []
    for cells, share in LAYERS:
        noise = random.integers(0, 256, (40, cells, cells + 1, 3), dtype=np.uint8)
        drawn = [Image.fromarray(each).resize(SIZE, Image.Resampling.BICUBIC) for each in noise]
        layers.append(np.stack([share * np.asarray(each, np.float32) for each in drawn]))
    total = sum(share for _, share in LAYERS)
    for number in range(count):
        chosen = [each[random.integers(len(each))] for each in layers]
        pixels = sum(np.roll(each, random.integers(0, SIZE), (1, 0)) for each in chosen) / total
        path = folder / ("test" if number % 10 == 9 else "train") / f"class {number % 100 // 10}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path, quality=85)


def measured(command: list[str]) -> dict:
    """Run a command; return its seconds, those of processor time, and the most memory that it had, in MB."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "memory_mb": round(used.ru_maxrss / 1000),
    }


def compare() -> None:
    """Compare hashes, of which one in a hundred is near another."""
    from keras_inception.checking.groups import find_groups
    from keras_inception.checking.measures import MEASURES

    random = np.random.default_rng(0)
    measures = np.zeros(HASHES, MEASURES)
    measures["sha256"] = [f"{number}".encode() for number in range(HASHES)]
    measures["contrast"] = 50
    measures["phash"] = random.integers(0, 2**64, HASHES, dtype=np.uint64)
    copies = measures["phash"][::100]
    measures["phash"][1::100] = copies ^ np.uint64(0b1001)
    groups = find_groups(measures, near=4)
    assert len(groups) == len(copies)


if __name__ == "__main__":
    if sys.argv[1:] == ["--compare"]:
        compare()
    elif sys.argv[1:2] == ["--draw"]:
        draw(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
