"""Several runs side by side: their accuracy, their curves, and what differs in their recipes."""

from collections.abc import Sequence
from typing import Any

from keras_inception import figures
from keras_inception.evaluation import predictions
from keras_inception.evaluation.metrics import wilson
from keras_inception.reports import charts, html
from keras_inception.reports.run import best, recipe_of
from keras_inception.runs import Run
from keras_inception.utils import files

# Panels of the curves that are compared: title, panel and name in `figures.curves`, and whether they are fractions.
PANELS = (
    ("validation top-1", "top-1", "validation", True),
    ("training top-1", "top-1", "training", True),
    ("validation loss", "loss", "validation", False),
    ("training loss", "loss", "training", False),
    ("learning rate", "learning rate", "learning rate", False),
)
UNIMPORTANT = ("about",)


def page(runs: Sequence[Run]) -> str:
    """Return the page that compares runs."""
    names = _names(runs)
    parts = [html.section("Accuracy", _accuracy(runs, names), *_not_comparable(runs))]
    parts.append(html.section("Curves", _curves(runs, names)))
    parts.append(html.section("What differs in the recipes", _differences(runs, names)))
    return html.page(f"{len(runs)} runs", *parts)


def validated(run: Run) -> int | None:
    """Return the number of validation images of a run, by its table of predictions; None if it has none."""
    path = run.path / predictions.FILE
    return len(files.read_csv(path)) if path.is_file() else None


def _names(runs: Sequence[Run]) -> list[str]:
    """Return short names of runs: those of their folders if they differ, otherwise their paths."""
    short = [run.path.name for run in runs]
    return short if len(set(short)) == len(runs) else [str(run.path) for run in runs]


def _accuracy(runs: Sequence[Run], names: Sequence[str]) -> str:
    rows = []
    for run, name in zip(runs, names, strict=True):
        metrics = run.metrics
        found, count = best(metrics), validated(run)
        recipe = recipe_of(run)
        minutes = sum(row.get("seconds", 0.0) for row in metrics) / 60
        shown: list[Any] = [name, recipe.get("network") or "a network of one's own", len(metrics), f"{minutes:.1f}"]
        if found is None:
            rows.append([*shown, None, None, None, count])
            continue
        top1, epoch = found
        interval = None
        if count:
            low, high = wilson(round(top1 * count), count)
            interval = f"{low:.1%} to {high:.1%}"
        rows.append([*shown, epoch, f"{top1:.1%}", interval, count])
    heads = ["run", "network", "epochs", "minutes", "best epoch", "validation top-1", "95 % interval", "images"]
    return html.table(heads, rows, align="llrrrrrr")


def _not_comparable(runs: Sequence[Run]) -> list[str]:
    """Return a warning if the runs were not validated on the same images."""
    if len({run.fingerprint.get("validation") for run in runs}) == 1:
        return []
    return [html.paragraph("The validation images of these runs differ, so their accuracies do not compare directly.")]


def _curves(runs: Sequence[Run], names: Sequence[str]) -> str:
    curves = [figures.curves(run.metrics) for run in runs]
    drawn = []
    for title, panel, name, percent in PANELS:
        lines = [
            charts.Line(run, found.get(panel, {}).get(name, ()), place, dashed=place >= len(html.COLORS))
            for place, (run, found) in enumerate(zip(names, curves, strict=True))
        ]
        if any(line.points for line in lines):
            drawn.append(charts.line_chart(title, lines, percent=percent))
    return '<div class="charts">\n' + "\n".join(drawn) + "\n</div>"


def _differences(runs: Sequence[Run], names: Sequence[str]) -> str:
    recipes = [recipe_of(run) | {"data": run.data.get("source")} for run in runs]
    fields = dict.fromkeys(field for recipe in recipes for field in recipe if field not in UNIMPORTANT)
    rows = [[field, *(recipe.get(field) for recipe in recipes)] for field in fields]
    different = [row for row in rows if any(value != row[1] for value in row[2:])]
    if not different:
        return html.paragraph("Nothing: the recipes are the same.")
    return html.table(["field", *names], different)
