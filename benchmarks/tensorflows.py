"""Compare the int8 files of several TensorFlow versions: python benchmarks/tensorflows.py [--runs N] [ENVIRONMENT ...]

Each environment, a folder made by `make test-versions`, has another TensorFlow and converts the same networks with the
same random weights. All files of a network then run in turns on one thread of LiteRT; nothing else may run. Writes
``benchmarks/results/tensorflows.json`` and updates its table in the documentation.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from circumstances import circumstances
from exports import converted, drawn
from readme import insert, keep

from keras_inception.utils import tables

ROOT = Path(__file__).parents[1]
PROCESSES = 5
NETWORKS = {
    "GoogLeNet, the paper's, 96 px": ("googlenet", 96, {}),
    "GoogLeNet, batch norm, 96 px": ("googlenet", 96, {"normalization": "batch_norm"}),
    "Inception v3, 299 px": ("inception_v3", 299, {}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environments", nargs="*", type=Path, default=sorted(ROOT.glob(".venv-2.*")))
    parser.add_argument("--runs", type=int, default=50, help=f"runs of each file in each of {PROCESSES} processes")
    parser.add_argument("--convert", type=Path, help=argparse.SUPPRESS)  # called by this script in an environment
    arguments = parser.parse_args()
    if arguments.convert:
        return convert(arguments.convert)
    if not arguments.environments:
        parser.error("there is no environment: run make test-versions")
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for environment in arguments.environments:
            python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
            parts = Path(folder) / environment.name
            parts.mkdir()
            done = subprocess.run(
                [python, __file__, "--convert", parts], capture_output=True, encoding="utf-8", check=True
            )
            files[done.stdout.splitlines()[-1]] = parts
        cases = [case(index, name, files, arguments.runs) for index, name in enumerate(NETWORKS)]
    command = f"python benchmarks/tensorflows.py --runs {arguments.runs}"
    result = {"command": command, **circumstances(), "cases": cases}
    keep("tensorflows", result)
    insert("tensorflows", table(result))
    print(table(result))


def convert(folder: Path) -> None:
    """Write an int8 file of each network and print the version of this environment's TensorFlow."""
    import tensorflow as tf

    from keras_inception import registry

    for index, (name, side, options) in enumerate(NETWORKS.values()):
        model = drawn(registry.create(name, input_shape=(side, side, 3), **options))
        converted(model, {"int8": folder / f"{index}.tflite"})
    print(tf.__version__)


def case(index: int, network: str, folders: dict[str, Path], runs: int) -> dict:
    """Return the median milliseconds and the operations outside the delegate, by TensorFlow version."""
    from keras_inception.tflite.benchmark import benchmark
    from keras_inception.tflite.delegate import outside_delegate

    files = [folder / f"{index}.tflite" for folder in folders.values()]
    medians = []
    for number in range(PROCESSES):  # the memory that a process gets changes its speed by a few percent
        turn = -1 if number % 2 else 1
        medians.append([row["median_ms"] for row in benchmark(files[::turn], runs=runs)][::turn])
        print(network, medians[-1], file=sys.stderr, flush=True)
    milliseconds = np.median(medians, axis=0).round(3).tolist()
    return {
        "network": network,
        "ms": dict(zip(folders, milliseconds, strict=True)),
        "outside_delegate": dict(zip(folders, map(outside_delegate, files), strict=True)),
    }


def table(result: dict) -> str:
    """Return the result as Markdown: the oldest TensorFlow's milliseconds, and the others' share of them."""
    first, *others = result["cases"][0]["ms"]
    columns = {
        "network": tables.COLUMNS["network"],
        first: tables.Column(f"{first}, ms", tables.fixed(1)),
        **{version: tables.Column(f"{version} to it", tables.fixed(2)) for version in others},
        "outside_delegate": tables.COLUMNS["outside_delegate"],
    }
    rows = []
    for case in result["cases"]:
        before = case["ms"][first]
        ratios = {version: case["ms"][version] / before for version in others}
        outside = {", ".join(names) or "none" for names in case["outside_delegate"].values()}
        rows.append({**case, first: before, **ratios, "outside_delegate": "; ".join(sorted(outside))})
    return tables.markdown(columns, rows)


if __name__ == "__main__":
    main()
