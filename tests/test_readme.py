"""The README's figures are those of the result files."""

import json
import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_is_made_from_the_result():
    table = runpy.run_path(str(ROOT / "benchmarks" / "demo_table.py"))["table"]
    result = json.loads((ROOT / "benchmarks" / "demo.json").read_text(encoding="utf-8"))
    assert f"<!-- demo -->\n{table(result)}<!-- /demo -->" in README
    assert result["top1"] >= 0.5


def test_what_it_links_to_is_there():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
