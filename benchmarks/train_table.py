"""Train the cells of the documentation's tables: python benchmarks/train_table.py [TABLE | TABLE/CELL]...

Each cell is one run with a fixed budget. Without arguments, all cells without a result are run in order. An interrupted
run is resumed from ``benchmarks/runs``. Each result is written to ``benchmarks/results/TABLE.json`` at once, and the
table in the documentation is made from that file. The weights are chosen on the validation images; the test images are
used once, at the end. Budgets in minutes require that nothing else runs on the machine.

``--list`` lists the cells, ``--readme`` only makes the tables.
"""

import json
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from circumstances import circumstances
from readme import RESULTS, insert, keep, not_measured

from keras_inception.datasets import Augmentation
from keras_inception.training import RECIPES, Recipe
from keras_inception.utils import tables

RUNS = Path(__file__).with_name("runs")
PICTOGRAMS = "pictograms"
SMALL = RECIPES["small"].replace(epochs=1000)


class Cell(NamedTuple):
    """One run, on the bundled pictograms or on another source for `keras_inception.datasets.open_data`."""

    about: str
    recipe: Recipe
    source: str = PICTOGRAMS
    validation: float = 0.15


FASHION = SMALL.replace(
    size=28,
    training_size=24,
    options={"stem_stride": 2},
    auxiliary=False,
    epochs=14,
    batch_size=128,
    ema=0.998,
    validate_every=2,
    augmentation=Augmentation(scale=(1.0, 1.25), erase=0.25, brightness=0, contrast=0, saturation=0, hue=0),
)
TWENTY = SMALL.replace(minutes=20, validate_every=4)
HOUR = SMALL.replace(
    size=112,
    training_size=96,
    minutes=60,
    ema=0.995,
    validate_every=8,
    augmentation=RECIPES["small"].augmentation.replace(distortions=1, erase=0.1, mixup=0.2, cutmix=1.0, hue=0.05),
)
TABLES = {
    "fashion_mnist": {
        "googlenet": Cell("GoogLeNet, stem stride 2", FASHION, "fashion_mnist", validation=0.05),
        "googlenet_30": Cell(
            "the same, 30 minutes",
            FASHION.replace(epochs=1000, minutes=30, validate_every=1),
            "fashion_mnist",
            validation=0.05,
        ),
    },
    "pictograms_60": {"googlenet": Cell("GoogLeNet", HOUR)},
    "pictograms_20": {
        "googlenet": Cell("GoogLeNet: reduced modules, batch norm, heads", TWENTY),
        "googlenet_again": Cell("the same, once more", TWENTY),
        "googlenet_seed_1": Cell("the same, second seed", TWENTY.replace(seed=1)),
        "naive": Cell("GoogLeNet with naive modules", TWENTY.replace(options={"module": "naive"})),
        "lrn": Cell(
            "GoogLeNet with LRN (a quarter of the learning rate)",
            TWENTY.replace(options={"normalization": "lrn"}, learning_rate=5e-4),
        ),
        "no_heads": Cell("GoogLeNet without auxiliary heads", TWENTY.replace(auxiliary=False)),
        "inception_v3": Cell("Inception v3, trained at 96 px", TWENTY.replace(network="inception_v3", training_size=0)),
        "plain34": Cell("Plain-34", TWENTY.replace(network="plain34")),
        "resnet34": Cell("ResNet-34", TWENTY.replace(network="resnet34")),
        "vgg16": Cell(
            "VGG-16, batch norm, trained at 64 px", TWENTY.replace(network="vgg16", size=64, training_size=0)
        ),
        "network_in_network": Cell(
            "Network in Network, trained at 96 px", TWENTY.replace(network="network_in_network", training_size=0)
        ),
    },
}
COLUMNS = {
    "about": tables.COLUMNS["network"],
    **tables.columns("size", "parameters"),
    "macs": tables.COLUMNS["macs"]._replace(show=tables.fixed(3, " G", per=1e9)),
    **tables.columns("minutes", "epochs"),
    "validation_top1": tables.COLUMNS["top1"]._replace(title="validation top-1"),
    "test_top1": tables.COLUMNS["top1"]._replace(title="test top-1"),
    "test_top5": tables.COLUMNS["top5"]._replace(title="test top-5"),
}


def results(table: str) -> dict[str, dict]:
    """Return the results of a table by cell."""
    path = RESULTS / f"{table}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def trained(source: str | os.PathLike, output: Path, recipe: Recipe, **options):
    """Train a run, or resume it."""
    from keras_inception import train

    if output.exists():
        return train(None, output, resume=True)
    return train(source, output, recipe=recipe, **options)


def run(table: str, name: str) -> dict:
    """Train a cell, or resume it, and evaluate it on the test images."""
    from keras_inception import analysis, datasets, evaluate, inference_model

    cell, output = TABLES[table][name], RUNS / table / name
    source = datasets.pictograms(RUNS / PICTOGRAMS) if cell.source == PICTOGRAMS else cell.source
    result = trained(source, output, cell.recipe, validation=cell.validation)
    measured, rows = evaluate(result), result.metrics
    cost = analysis.cost(inference_model(result.model()))
    return {
        "about": cell.about,
        "test_top1": round(measured.top1, 5),
        "test_top5": round(measured.top5, 5),
        "test_loss": round(measured.loss, 5),
        "test_pictures": measured.count,
        "validation_top1": round(max(row["val_top1"] for row in rows if "val_top1" in row), 5),
        "epochs": len(rows),
        "minutes": round(sum(row["seconds"] for row in rows) / 60, 1),
        "size": cell.recipe.size,
        "parameters": cost.parameters,
        "macs": cost.macs,
        "command": f"python benchmarks/train_table.py {table}/{name}",
        **circumstances(),
        "versions": {package: metadata.version(package) for package in ("tensorflow", "keras")},
        "recipe": json.loads((output / "recipe.json").read_text(encoding="utf-8")),
    }


def table(name: str) -> str:
    """Return a table as Markdown, followed by a list of the cells that have no result."""
    done, cells = results(name), TABLES[name]
    missing = not_measured(cell.about for key, cell in cells.items() if key not in done)
    return tables.markdown(COLUMNS, [done[key] for key in cells if key in done]) + missing


def main(arguments: list[str]) -> None:
    cells = [(name, key) for name, row in TABLES.items() for key in row]
    if arguments == ["--list"]:
        for name, key in cells:
            done = results(name).get(key)
            state = (
                f"{done['test_top1']:.1%}" if done else "interrupted" if (RUNS / name / key).exists() else "not run yet"
            )
            print(f"{name}/{key}: {state}")
        return
    if arguments != ["--readme"]:
        wanted = [cell for cell in cells if not arguments or cell[0] in arguments or "/".join(cell) in arguments]
        known = {name for cell in cells for name in (cell[0], "/".join(cell))}
        if unknown := set(arguments) - known:
            raise SystemExit(f"no such cell: {' '.join(sorted(unknown))}; --list lists the cells")
        for name, key in wanted:
            if key not in results(name):
                print(f"{name}/{key}", flush=True)
                row = run(name, key)
                keep(name, {**results(name), key: row})
                print(f"{name}/{key}: test top-1 {row['test_top1']:.2%}", flush=True)
                insert(name, table(name))
    for name in TABLES:
        insert(name, table(name))


if __name__ == "__main__":
    main(sys.argv[1:])
