"""Keep what `make demo` gave: python benchmarks/demo_table.py demo/report.json

Writes ``benchmarks/demo.json`` and, from it, the table in the README.
"""

import json
import re
import sys
from pathlib import Path

RESULT = Path(__file__).with_name("demo.json")
README = Path(__file__).parents[1] / "README.md"
COLUMNS = (
    "| variant | MB | top-1 | agreement with Keras | latency, ms | outside the delegate |\n|---|---|---|---|---|---|\n"
)


def table(report: dict) -> str:
    """The report's variants as Markdown."""
    rows = (
        f"| {variant} | {row['mb']:.2f} | {row['top1']:.1%} | {row['agreement']:.1%} | {row['latency_ms']:.2f} "
        f"| {', '.join(row['outside_delegate']) or 'none'} |\n"
        for variant, row in report["variants"].items()
    )
    keras = f"Keras itself: top-1 {report['top1']:.1%}, top-5 {report['top5']:.1%}. "
    return COLUMNS + "".join(rows) + f"\n{keras}The whole took {report['seconds'] / 60:.1f} minutes.\n"


def main(path: str) -> None:
    report = json.loads(Path(path).read_text(encoding="utf-8"))
    for row in report["variants"].values():
        row["path"] = Path(row["path"]).name
    RESULT.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    new = re.sub(r"(<!-- demo -->\n).*?(<!-- /demo -->)", rf"\g<1>{table(report)}\g<2>", text, flags=re.DOTALL)
    README.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
