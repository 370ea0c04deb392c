"""What compression costs and saves: python benchmarks/compress_table.py [CELL]...

Each cell is a compression of at most 20 minutes, of GoogLeNet as ``train_table.py pictograms_60`` has trained it, or of
another cell's network; without arguments all that have no result yet are made, in their order. One that was stopped
goes on where it was, in ``benchmarks/runs/compress``. Its result is written into ``benchmarks/results/compress.json``,
and the README's table made from that, as soon as it is there. All latencies are from one run, by turns. The test
pictures are looked at once for each file.

``--list`` tells which cells there are, ``--readme`` makes the table alone.
"""

import sys
from typing import NamedTuple

import train_table
from circumstances import circumstances
from readme import insert, keep, kept, markdown

from keras_inception.mobile.compression import Job

BASE = ("pictograms_60", "googlenet")
RUNS = train_table.RUNS / "compress"
EXPORTS = RUNS / "exports"
VARIANTS = {
    "float32": "float32",
    "float16": "float16",
    "dynamic": "8-bit weights",
    "int8": "int8 after training",
}


class Cell(NamedTuple):
    """A compression, of the base network if `source` names no other cell; all in int8."""

    about: str
    job: Job
    epochs: int
    source: str | None = None


CELLS = {
    "qat": Cell("quantization-aware training", Job(quantize=True), 3),
    "pruned_50": Cell("pruned, 50 %", Job(prune=0.5), 4),
    "pqat_50": Cell("the same, trained for int8", Job(quantize=True), 3, "pruned_50"),
    "slim_50": Cell("slimmed to half of the MACs", Job(macs=0.5), 12),
    "slim_50_qat": Cell("the same, trained for int8", Job(quantize=True), 3, "slim_50"),
    "pruned_75": Cell("pruned, 75 %", Job(prune=0.75), 4),
    "pruned_87": Cell("pruned, 87.5 %", Job(prune=0.875), 4),
    "two_of_four": Cell("pruned, 2 of 4", Job(prune="2:4"), 4),
    "clustered_32": Cell("32 values a layer", Job(cluster=32), 3),
    "slim_75": Cell("slimmed to 0.75 of the MACs", Job(macs=0.75), 12),
    "slim_35": Cell("slimmed to 0.35 of the MACs", Job(macs=0.35), 12),
}
COLUMNS = ("network", "MACs", "parameters", "MB", "gzip MB", "zeros", "top-1", "latency to int8")


def run(name: str) -> dict:
    """Make a cell, or go on with it."""
    from keras_inception.mobile.compression import compress

    cell, output = CELLS[name], RUNS / name
    source = (RUNS / cell.source) if cell.source else train_table.RUNS.joinpath(*BASE)
    if cell.source and not (source / "model.keras").exists():
        run(cell.source)
    settings = {"minutes": "none", "epochs": str(cell.epochs)}
    if output.exists():
        rows = compress(None, output, resume=True, on_step=print)
    else:
        rows = compress(source, output, cell.job, settings=settings, on_step=print)
    return {"about": cell.about, **rows[-1], "file": str(_exported(name)), "command": _command(name), **circumstances()}


def base() -> dict[str, dict]:
    """The rows of the base network as it is exported without compression."""
    from keras_inception import analysis, inference_model
    from keras_inception.mobile import contents, export
    from keras_inception.runs import Run

    source = Run(train_table.RUNS.joinpath(*BASE))
    cost = analysis.cost(inference_model(source.model()))
    report = export(source.path, EXPORTS, name="base", min_agreement=0, overwrite=True)
    rows = {}
    for variant, about in VARIANTS.items():
        path = EXPORTS / f"base_{variant}.tflite"
        rows[variant] = {
            "about": about,
            "macs": cost.macs,
            "parameters": cost.parameters,
            **{key: report["variants"][variant][key] for key in ("top1", "mb", "outside_delegate")},
            "gzip_mb": contents.gzip_mb(path),
            "sparsity": contents.sparsity(path),
            "file": str(path),
            "command": _command("base"),
            **circumstances(),
        }
    return rows


def timed(rows: dict[str, dict]) -> dict[str, dict]:
    """The rows, with the latency of all files from one run."""
    from keras_inception.mobile.benchmark import benchmark

    measured = dict(zip(rows, benchmark([row["file"] for row in rows.values()]), strict=True))
    plain = measured["int8"]["median_ms"]
    return {
        name: {**row, "latency_ms": measured[name]["median_ms"], "ratio": measured[name]["median_ms"] / plain}
        for name, row in rows.items()
    }


def table(rows: dict[str, dict]) -> str:
    """The table as Markdown; cells that have not been made yet are empty."""
    lines = []
    for name in (*VARIANTS, *CELLS):
        row = rows.get(name)
        if row is None:
            lines.append([CELLS[name].about if name in CELLS else VARIANTS[name], "not run yet", *["–"] * 6])
            continue
        lines.append(
            [
                row["about"],
                f"{row['macs'] / 1e6:.0f} M",
                f"{row['parameters'] / 1e6:.2f} M",
                f"{row['mb']:.2f}",
                f"{row['gzip_mb']:.2f}",
                f"{row['sparsity']:.0%}",
                f"{row['top1']:.1%}",
                f"{row['ratio']:.2f}",
            ]
        )
    return markdown(COLUMNS, lines)


def _exported(name: str):
    return RUNS / name / "steps" / "exported" / CELLS[name].job.steps[-1] / "model_int8.tflite"


def _command(name: str) -> str:
    return f"python benchmarks/compress_table.py {name}"


def main(arguments: list[str]) -> None:
    rows = kept("compress")
    if arguments == ["--list"]:
        for name in CELLS:
            state = f"{rows[name]['top1']:.1%}" if name in rows else "not run yet"
            print(f"{name}: {state}")
        return
    if unknown := set(arguments) - set(CELLS) - {"--readme", "base"}:
        raise SystemExit(f"no such cell: {' '.join(sorted(unknown))}; --list tells which there are")
    if arguments != ["--readme"]:
        if not set(VARIANTS) <= set(rows):
            rows = {**base(), **rows}
        for name in [name for name in CELLS if name not in rows and (not arguments or name in arguments)]:
            print(name, flush=True)
            rows[name] = run(name)
            rows = timed(rows)
            keep("compress", rows)
            insert("compress", table(rows))
            print(f"{name}: top-1 {rows[name]['top1']:.1%}, {rows[name]['ratio']:.2f} of the time", flush=True)
    insert("compress", table(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
