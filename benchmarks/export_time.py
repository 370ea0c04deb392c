"""Measure how long an export takes: python benchmarks/export_time.py RUN [--runs N]

RUN is a run of the demo, such as ``demo/run``. Each export is a process of its own, timed from its start to its end; it
verifies all four variants on all test images, with the clients that are installed. Nothing else may run. Writes the run
of median duration to ``benchmarks/results/export_time.json`` and updates its table in the documentation. ``--readme``
only updates the table.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time

from circumstances import circumstances
from readme import insert, keep, kept, not_measured

from keras_inception.utils import tables

COMMAND = [sys.executable, "-m", "keras_inception.cli", "export", "--verify-pictures", "all", "--json"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", metavar="RUN")
    parser.add_argument("--runs", type=int, default=3, help="exports, of which the median counts")
    parser.add_argument("--readme", action="store_true", help="only update the table")
    arguments = parser.parse_args()
    if not arguments.readme:
        if arguments.run is None:
            parser.error("RUN is missing: give a run of the demo, such as demo/run")
        measured = sorted((measure(arguments.run) for _ in range(arguments.runs)), key=lambda each: each["seconds"])
        command = f"python benchmarks/export_time.py demo/run --runs {arguments.runs}"
        keep("export_time", {"command": command, **circumstances(), **measured[len(measured) // 2]})
    insert("export_time", table(kept("export_time")))


def measure(run: str) -> dict:
    """Export a run, and return the seconds of the process, of each step in all, and of each step of each variant."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [*COMMAND, run, "--output", f"{folder}/exported"]
        done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True)
        seconds = round(time.perf_counter() - began, 1)
    report = json.loads(done.stdout)
    print(f"{seconds:.1f} s: {report['steps']}", flush=True)
    variants = {name: row["steps"] for name, row in report["variants"].items()}
    return {"seconds": seconds, "images": report["pictures"], "steps": report["steps"], "variants": variants}


def table(result: dict) -> str:
    """Return the result as Markdown."""
    if not result:
        return not_measured(["the export of the demo's run"])
    variants = result["variants"]
    columns = {"step": tables.Column("step")}
    columns |= {name: tables.Column(name, tables.fixed(1)) for name in (*variants, "in all")}
    rows = [
        {"step": step.replace("_", " "), **{name: steps.get(step) for name, steps in variants.items()}, "in all": total}
        for step, total in result["steps"].items()
    ]
    whole = f"The whole took {result['seconds']:.1f} s, with {result['images']:,} images for each file."
    return f"{tables.markdown(columns, rows)}\n{whole}\n"


if __name__ == "__main__":
    main()
