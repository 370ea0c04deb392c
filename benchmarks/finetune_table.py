"""Measure what fine-tuning gains and which settings suit it: python benchmarks/finetune_table.py [CELL]...

GoogLeNet is trained on every second class of the bundled pictograms. Each cell then trains a network for the other
classes, from these weights or from random ones, for the same number of epochs: on 20 images per class and, for recipe
`finetune` and random weights, on all of them, with three seeds, which also choose the images. Without arguments, all
runs without a result are run in order. An interrupted one is resumed from ``benchmarks/runs/finetune``. Each result is
written to a file of its own in ``benchmarks/results/finetune`` at once, and the table in the documentation is made from
these files. Weights and recipe are chosen on the validation images; the test images of each run are used once, at its
end.

``--list`` lists the cells, ``--readme`` only makes the table. ``--try`` runs one epoch of everything in
``benchmarks/runs/finetune_try`` and keeps no result.
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from circumstances import circumstances
from readme import insert, keep, kept, not_measured
from scipy import stats
from train_table import PICTOGRAMS, RUNS, trained

from keras_inception.datasets import Augmentation
from keras_inception.training import RECIPES, Recipe
from keras_inception.utils import tables

NAME, BASE, SCRATCH = "finetune", "base", "scratch"
SEEDS = (0, 1, 2)
FEW = 20  # images per class; 0 stands for all of them
SMALL = RECIPES["small"].replace(epochs=20, batch_size=32, warmup_epochs=1.0)
AREA = SMALL.augmentation.area
CHOSEN = SMALL.replace(
    freeze_epochs=RECIPES["finetune"].freeze_epochs,
    learning_rate=RECIPES["finetune"].learning_rate,
    thaw_learning_rate=RECIPES["finetune"].thaw_learning_rate,
    weight_decay=RECIPES["finetune"].weight_decay,
    augmentation=RECIPES["finetune"].augmentation,
)
SLOW = CHOSEN.replace(thaw_learning_rate=1e-4)


class Setting(NamedTuple):
    """A row of the table: a recipe, trained from the weights of the other classes or from random ones."""

    about: str
    recipe: Recipe
    is_tuned: bool = True


SETTINGS = {
    SCRATCH: Setting("from random weights: recipe `small`", SMALL, is_tuned=False),
    "fastest": Setting("recipe `finetune`: 4 epochs frozen, then 1e-3", CHOSEN),
    "thawed": Setting("nothing frozen, 1e-3", CHOSEN.replace(freeze_epochs=0)),
    "augmented": Setting(
        f"recipe `finetune`, crops of {AREA[0]:.0%} and more instead of {CHOSEN.augmentation.area[0]:.0%}",
        CHOSEN.replace(augmentation=Augmentation(area=AREA)),
    ),
    "tuned": Setting("4 epochs frozen, then 1e-4", SLOW),
    "batch_norm": Setting(
        "4 epochs frozen, then 1e-4, batch norms frozen to the end", SLOW.replace(freeze_batch_norm=True)
    ),
    "frozen": Setting("the classifier alone", CHOSEN.replace(freeze_epochs=20)),
}
COLUMNS = {
    "about": tables.COLUMNS["about"]._replace(title="training"),
    "images": tables.Column("images per class"),
    **tables.columns("epochs"),
    "validation_top1": tables.Column("validation top-1", tables.percent()),
    "top1_interval": tables.Column("test top-1 (95 % interval)"),
    "gain_interval": tables.Column("more than from random weights"),
}


class Cell(NamedTuple):
    """One run."""

    setting: str
    images: int
    seed: int

    def __str__(self) -> str:
        return f"{self.setting}_{self.images or 'all'}_{self.seed}"


CELLS = [Cell(setting, FEW, seed) for seed in SEEDS for setting in SETTINGS]
CELLS += [Cell(setting, 0, seed) for seed in SEEDS for setting in (SCRATCH, "fastest")]


def images(runs: Path, half: int, per_class: int = 0, seed: int = 0) -> Path:
    """Return the folder of every second class of the pictograms, of which training has at most `per_class` images.

    Args:
        runs: where to write it, unless it is there.
        half: 0 for the first class and every second from it on, 1 for the others.
        per_class: images per class for training; 0 keeps all.
        seed: chooses these images.
    """
    from keras_inception import datasets

    folder = runs / f"images_{half}_{per_class}_{seed}"
    if folder.exists():
        return folder
    source, beside = datasets.pictograms(runs.parent / PICTOGRAMS), folder.with_name(f"{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    for split in sorted(source.iterdir()):
        for each in sorted(split.iterdir())[half::2] if split.is_dir() else ():
            paths = sorted(each.iterdir())
            few = np.random.default_rng(seed).permutation(len(paths))
            (beside / split.name / each.name).mkdir(parents=True)
            for place in few[:per_class] if per_class and split.name == "train" else few:
                shutil.copy(paths[place], beside / split.name / each.name)
    beside.rename(folder)
    return folder


def run(runs: Path, cell: Cell, epochs: int | None = None) -> dict:
    """Train a cell, or resume it, and evaluate it on the test images."""
    from keras_inception import evaluate

    setting, base = SETTINGS[cell.setting], runs / BASE / "model.keras"
    recipe = setting.recipe.replace(seed=cell.seed)
    if setting.is_tuned:
        trained(images(runs, 0), runs / BASE, SMALL.replace(epochs=epochs or 30, batch_size=64))
        recipe = recipe.replace(weights=str(base))
    recipe = recipe.replace(epochs=epochs) if epochs else recipe
    result = trained(images(runs, 1, cell.images, cell.seed), runs / str(cell), recipe)
    measured, rows = evaluate(result), result.metrics
    return {
        **cell._asdict(),
        "top1": round(measured.top1, 5),
        "test_loss": round(measured.loss, 5),
        "test_pictures": measured.count,
        "validation_top1": round(max(row["val_top1"] for row in rows if "val_top1" in row), 5),
        "epochs": len(rows),
        "minutes": round(sum(row["seconds"] for row in rows) / 60, 2),
        "command": f"python benchmarks/finetune_table.py {cell}",
        **circumstances(),
        "recipe": {**recipe.to_dict(), "weights": recipe.weights and f"runs/{NAME}/{BASE}/model.keras"},
    }


def results() -> dict[Cell, dict]:
    """Return the results of the cells that have one."""
    return {cell: row for cell in CELLS if (row := kept(f"{NAME}/{cell}"))}


def rows(done: dict[Cell, dict]) -> Iterator[dict]:
    """Yield a row for each setting and number of images of which all seeds have a result."""
    for count in (FEW, 0):
        found = {name: [done[cell] for seed in SEEDS if (cell := Cell(name, count, seed)) in done] for name in SETTINGS}
        top1 = {name: [each["top1"] for each in of_seeds] for name, of_seeds in found.items()}
        for name in (name for name in SETTINGS if len(found[name]) == len(SEEDS)):
            row = {"about": SETTINGS[name].about, "images": count or "all", "epochs": found[name][0]["epochs"]}
            row["validation_top1"] = float(np.mean([each["validation_top1"] for each in found[name]]))
            row |= _interval("top1", top1[name])
            if name != SCRATCH and len(top1[SCRATCH]) == len(SEEDS):
                row |= _interval("gain", np.subtract(top1[name], top1[SCRATCH]))
            yield row


def _interval(name: str, values: Sequence[float] | np.ndarray) -> dict:
    """Return the mean of the seeds' values and its 95 % interval (Student's t)."""
    mean = float(np.mean(values))
    low, high = stats.t.interval(0.95, len(values) - 1, mean, max(float(stats.sem(values)), 1e-9))
    return {name: mean, f"{name}_interval": (float(low), float(high))}


def table(done: dict[Cell, dict]) -> str:
    """Return the table as Markdown, followed by a list of the settings that lack results."""
    shown = list(rows(done))
    lacking = {(cell.setting, cell.images) for cell in CELLS if cell not in done}
    named = [f"{SETTINGS[name].about} ({count or 'all'} images)" for name, count in sorted(lacking)]
    return tables.markdown(COLUMNS, shown) + not_measured(named)


def main(arguments: list[str]) -> None:
    if unknown := set(arguments) - {*map(str, CELLS), "--list", "--readme", "--try"}:
        raise SystemExit(f"no such cell: {' '.join(sorted(unknown))}; --list lists the cells")
    done, asked = results(), [cell for cell in CELLS if str(cell) in arguments]
    if "--list" in arguments:
        for cell in CELLS:
            print(f"{cell}: {done[cell]['top1']:.1%}" if cell in done else f"{cell}: not run yet")
        return
    if "--try" in arguments:
        for cell in asked or [Cell(name, FEW, 0) for name in SETTINGS]:
            print(f"{cell}: test top-1 {run(RUNS / f'{NAME}_try', cell, epochs=1)['top1']:.2%}", flush=True)
        return
    for cell in [] if "--readme" in arguments else asked or CELLS:
        if cell not in done:
            print(cell, flush=True)
            done[cell] = row = run(RUNS / NAME, cell)
            keep(f"{NAME}/{cell}", row)
            print(f"{cell}: test top-1 {row['top1']:.2%}", flush=True)
            insert(NAME, table(done))
    insert(NAME, table(done))


if __name__ == "__main__":
    main(sys.argv[1:])
