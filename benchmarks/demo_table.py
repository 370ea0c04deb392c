"""Record the report of `make demo`: python benchmarks/demo_table.py demo/report.json

Writes ``benchmarks/results/demo.json`` and updates its table in the documentation.
"""

import json
import sys
from pathlib import Path

from readme import insert, keep

from keras_inception.utils import tables

COLUMNS = tables.columns("variant", "mb", "top1", "agreement", "latency_ms", "outside_delegate")


def table(report: dict) -> str:
    """Return the report's variants as Markdown."""
    rows = [{"variant": variant, **row} for variant, row in report["variants"].items()]
    keras = f"Keras itself: top-1 {report['top1']:.1%}, top-5 {report['top5']:.1%}. "
    return f"{tables.markdown(COLUMNS, rows)}\n{keras}The whole took {report['seconds'] / 60:.1f} minutes.\n"


def main(path: str) -> None:
    report = json.loads(Path(path).read_text(encoding="utf-8"))
    for row in report["variants"].values():
        row["path"] = Path(row["path"]).name
    keep("demo", report)
    insert("demo", table(report))


if __name__ == "__main__":
    main(sys.argv[1])
