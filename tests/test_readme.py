"""The README's figures are those of the result files, and its commands are such."""

import importlib
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
import typer

from keras_inception import training
from keras_inception.cli import console as cli
from keras_inception.training import building

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results"
COMMANDS = [shlex.split(line, comments=True) for line in re.findall(r"^keras-inception (.+)$", README, re.MULTILINE)]
TRAININGS = [arguments for arguments in COMMANDS if arguments[0] == "train" and "--distribute" not in arguments]


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


def test_the_tables_of_compressions(script):
    compressed = script("compress_table")
    results = {name: script("readme").kept(name) for name in compressed.TABLES}  # nothing of a table not begun
    for name, rows in results.items():
        assert stands(name, compressed.table(name, rows)), (
            f"python benchmarks/compress_table.py --readme has not been run for {name}"
        )
        assert set(rows) <= {*compressed.VARIANTS, *compressed.TABLES[name].cells}
    assert stands("compress_networks", compressed.networks(results, "slim_50"))


@pytest.mark.parametrize("name", ["training_step", "input_pipeline", "latency", "arm64", "startup", "tensorflows"])
def test_the_tables_of_speeds(script, name):
    assert stands(name, script(name).table(result(name)))


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_its_commands_are_such(arguments):
    name, *rest = arguments
    assert typer.main.get_command(cli.app).commands[name].make_context(name, list(rest))


@pytest.mark.parametrize("arguments", TRAININGS, ids=" ".join)
def test_its_trainings_can_begin(arguments, monkeypatch, tmp_path):
    recipes = []

    def train(pictures, output, *, recipe, **others):
        recipes.append(building.resolved(recipe))
        return SimpleNamespace(path=output)

    monkeypatch.chdir(tmp_path)
    for source in ("PICTURES", "shards"):
        Path(source).mkdir()
    monkeypatch.setattr(training, "train", train)
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert not stop.value.code
    (recipe,) = recipes
    with keras.StatelessScope(initialize_variables=False):  # only the shapes
        kept, trained = (
            building.build(recipe, 10, size, "float32") for size in (recipe.size, recipe.training_size or recipe.size)
        )
    assert [weight.shape for weight in kept.weights] == [weight.shape for weight in trained.weights]


def test_what_it_links_to_is_there():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
