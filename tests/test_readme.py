"""The README's figures are those of the result files."""

import importlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture
def script(monkeypatch):
    """A script of ``benchmarks`` by name, as a module."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module


def result(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def stands(name: str, text: str) -> bool:
    return f"<!-- {name} -->\n{text}<!-- /{name} -->" in README


def test_the_table_of_the_demo(script):
    assert stands("demo", script("demo_table").table(result("demo")))
    assert result("demo")["top1"] >= 0.5


def test_the_tables_of_trained_networks(script):
    trained = script("train_table")
    for name, cells in trained.TABLES.items():
        assert stands(name, trained.table(name)), (
            f"python benchmarks/train_table.py --readme has not been run for {name}"
        )
        assert set(trained.results(name)) <= set(cells)
    for path in RESULTS.glob("*.json"):
        for row in result(path.stem).values() if path.stem in trained.TABLES else ():
            assert 0 <= row["test_top1"] <= row["test_top5"] <= 1
            assert row["command"].startswith("python benchmarks/train_table.py")


@pytest.mark.parametrize("name", ["training_step", "input_pipeline"])
def test_the_tables_of_speeds(script, name):
    assert stands(name, script(name).table(result(name)))


def test_what_it_links_to_is_there():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
