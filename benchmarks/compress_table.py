"""Measure what compression costs and saves: python benchmarks/compress_table.py [TABLE | TABLE/CELL]...

Each cell is a compression of at most 20 minutes, of a network that ``train_table.py`` has trained or of another cell's
result. Without arguments, all cells without a result are run in order. An interrupted one is resumed from
``benchmarks/runs/TABLE``. Each result is written to ``benchmarks/results/TABLE.json`` at once, and the table in the
documentation is made from that file. All files of a table are timed side by side in one run. Each is evaluated once on
the test images.

``--list`` lists the cells, ``--readme`` only makes the tables.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from circumstances import circumstances
from readme import insert, keep, kept, not_measured
from scipy import stats
from train_table import RUNS

from keras_inception.compression.job import Job
from keras_inception.utils import tables

VARIANTS = {
    "float32": "float32",
    "float16": "float16",
    "dynamic": "8-bit weights",
    "int8": "int8 after training",
}


class Cell(NamedTuple):
    """A compression of the table's network, or of the cell that `source` names. Its result is an int8 file."""

    about: str
    job: Job
    epochs: int
    source: str | None = None
    seed: int = 0


class Table(NamedTuple):
    """Compressions of a network of ``train_table.py``."""

    base: str
    cells: dict[str, Cell]


TABLES = {
    "compress": Table(
        "pictograms_60/googlenet",
        {
            "qat": Cell("quantization-aware training", Job(quantize=True), 3),
            "pruned_50": Cell("pruned, 50 %", Job(prune=0.5), 3),
            "pqat_50": Cell("the same, trained for int8", Job(quantize=True), 2, "pruned_50"),
            "slim_50": Cell("slimmed to half of the MACs", Job(macs=0.5), 12),
            "slim_50_qat": Cell("the same, trained for int8", Job(quantize=True), 2, "slim_50"),
            "slim_50_seed_1": Cell("slimmed to half, second seed", Job(macs=0.5), 12, seed=1),
            "slim_50_seed_2": Cell("slimmed to half, third seed", Job(macs=0.5), 12, seed=2),
        },
    ),
    "compress_20": Table(
        "pictograms_20/googlenet",
        {
            "slim_75": Cell("slimmed to 0.75 of the MACs", Job(macs=0.75), 12),
            "slim_50": Cell("slimmed to half", Job(macs=0.5), 12),
            "slim_35": Cell("slimmed to 0.35", Job(macs=0.35), 12),
            "pruned_50": Cell("pruned, 50 %", Job(prune=0.5), 3),
            "pruned_87": Cell("pruned, 87.5 %", Job(prune=0.875), 3),
        },
    ),
    "compress_20_again": Table(
        "pictograms_20/googlenet_again",
        {
            "two_of_four": Cell("pruned, 2 of 4", Job(prune="2:4"), 3),
            "clustered_32": Cell("32 values a layer", Job(cluster=32), 3),
        },
    ),
    "compress_20_seed_1": Table(
        "pictograms_20/googlenet_seed_1",
        {
            "slim_50": Cell("slimmed to half", Job(macs=0.5), 12),
            "pruned_75": Cell("pruned, 75 %", Job(prune=0.75), 8),
            "pruned_87": Cell("pruned, 87.5 %", Job(prune=0.875), 8),
        },
    ),
    "compress_inception_v3": Table(
        "pictograms_20/inception_v3",
        {
            "qat": Cell("quantization-aware training", Job(quantize=True), 2),
            "pruned_50": Cell("pruned, 50 %", Job(prune=0.5), 2),
            "pqat_50": Cell("the same, trained for int8", Job(quantize=True), 1, "pruned_50"),
        },
    ),
    "compress_fashion_mnist": Table(
        "fashion_mnist/googlenet",
        {"qat": Cell("quantization-aware training", Job(quantize=True), 1)},
    ),
    "compress_fashion_mnist_30": Table(
        "fashion_mnist/googlenet_30",
        {
            "pruned_50": Cell("pruned, 50 %", Job(prune=0.5), 1),
            "pqat_50": Cell("the same, trained for int8", Job(quantize=True), 1, "pruned_50"),
        },
    ),
}
COLUMNS = {
    "about": tables.COLUMNS["network"],
    **tables.columns("macs", "parameters", "mb", "gzip_mb", "sparsity", "top1"),
    "ratio": tables.COLUMNS["ratio"]._replace(title="latency to int8"),
}


def run(table: str, name: str) -> dict:
    """Run a cell, or resume it."""
    from keras_inception import compress

    cell, output = TABLES[table].cells[name], RUNS / table / name
    source = RUNS / table / cell.source if cell.source else RUNS / TABLES[table].base
    if cell.source and not (source / "model.keras").exists():
        run(table, cell.source)
    settings = {"minutes": "none", "epochs": str(cell.epochs), "seed": str(cell.seed)}
    if output.exists():
        rows = compress(None, output, resume=True, on_step=print)
    else:
        rows = compress(source, output, cell.job, settings=settings, on_step=print)
    file = output / "steps" / "exported" / cell.job.steps[-1] / "model_int8.tflite"
    return {"about": cell.about, **rows[-1], **_origin(table, name, file)}


def base(table: str) -> dict[str, dict]:
    """Return the rows of the table's network as it is exported without compression."""
    from keras_inception import analysis, export, inference_model
    from keras_inception.runs import Run
    from keras_inception.tflite.operations import gzip_mb, sparsity

    source, exported = Run(RUNS / TABLES[table].base), RUNS / table / "exports"
    cost = analysis.cost(inference_model(source.model()))
    report = export(source.path, exported, name="base", min_agreement=0, overwrite=True)
    rows = {}
    for variant, about in VARIANTS.items():
        path = exported / f"base_{variant}.tflite"
        rows[variant] = {
            "about": about,
            "macs": cost.macs,
            "parameters": cost.parameters,
            **{key: report["variants"][variant][key] for key in ("top1", "mb", "outside_delegate")},
            "gzip_mb": gzip_mb(path),
            "sparsity": sparsity(path),
            **_origin(table, "base", path),
        }
    return rows


def timed(rows: dict[str, dict]) -> dict[str, dict]:
    """Return the rows with new latencies, timed side by side."""
    from keras_inception.tflite.benchmark import benchmark

    measured = dict(zip(rows, benchmark([str(RUNS / row["file"]) for row in rows.values()]), strict=True))
    plain = measured["int8"]["median_ms"]
    return {
        name: {**row, "latency_ms": measured[name]["median_ms"], "ratio": measured[name]["median_ms"] / plain}
        for name, row in rows.items()
    }


def table(name: str, rows: dict[str, dict]) -> str:
    """Return the table as Markdown, followed by a list of the cells that have no result."""
    titles = VARIANTS | {key: cell.about for key, cell in TABLES[name].cells.items()}
    missing = not_measured(title for key, title in titles.items() if key not in rows)
    return tables.markdown(COLUMNS, [rows[key] for key in titles if key in rows]) + missing + paired(name, rows)


def paired(name: str, rows: dict[str, dict]) -> str:
    """Compare cells that differ only in their seed with the network's int8 file, on the same test images."""
    lines = []
    cells = TABLES[name].cells
    for cell in cells.values():
        keys = [key for key, other in cells.items() if other._replace(about=cell.about, seed=cell.seed) == cell]
        if cell.seed or len(keys) == 1 or not rows.keys() >= set(keys):
            continue
        about = f"{cell.about[0].upper()}{cell.about[1:]}, {len(keys)} seeds of the training"
        lines.append(f"\n{about}: {_interval([_points(rows, key) for key in keys])}\n")
    return "".join(lines)


def networks(results: dict[str, dict], key: str) -> str:
    """Return how much a cell changed the top-1 of each network that has it, with an interval."""
    points = [_points(rows, key) for rows in results.values() if key in rows]
    return f"On average {_interval(points)}\n" if len(points) > 1 else ""


def _points(rows: dict[str, dict], key: str) -> float:
    """Return the top-1 of a cell minus that of int8 after training, in points, on the same test images."""
    return 100 * (rows[key]["top1"] - rows["int8"]["top1"])


def _interval(points: list[float]) -> str:
    mean = np.mean(points)
    low, high = stats.t.interval(0.95, len(points) - 1, mean, stats.sem(points))
    each = ", ".join(f"{point:+.1f}" for point in points)
    return (
        f"{mean:+.1f} points ({each}) against int8 after training; "
        f"95 % interval {low:+.1f} to {high:+.1f} (Student's t)."
    )


def _origin(table: str, name: str, file: Path) -> dict:
    command = f"python benchmarks/compress_table.py {table}/{name}"
    return {"file": str(file.relative_to(RUNS)), "command": command, **circumstances()}


def main(arguments: list[str]) -> None:
    results = {name: kept(name) for name in TABLES}
    cells = [f"{name}/{key}" for name, table in TABLES.items() for key in ("base", *table.cells)]
    if unknown := set(arguments) - {*TABLES, *cells, "--readme", "--list"}:
        raise SystemExit(f"no such cell: {' '.join(sorted(unknown))}; --list lists the cells")
    asked = set(arguments) | {f"{argument.split('/')[0]}/base" for argument in arguments}
    for cell in cells:
        name, key = cell.split("/")
        rows = results[name]
        shown = rows.get("int8" if key == "base" else key)
        if arguments == ["--list"]:
            print(f"{cell}: {shown['top1']:.1%}" if shown else f"{cell}: not run yet")
        elif arguments != ["--readme"] and not shown and (not arguments or {name, cell} & asked):
            print(cell, flush=True)
            results[name] = rows = timed(rows | (base(name) if key == "base" else {key: run(name, key)}))
            keep(name, rows)
            insert(name, table(name, rows))
    for name, rows in results.items():
        insert(name, table(name, rows))
    insert("compress_networks", networks(results, "slim_50"))


if __name__ == "__main__":
    main(sys.argv[1:])
