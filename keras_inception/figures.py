"""Figures as PNG files: a confusion matrix, predictions, training curves, an Inception module, a network's cost.

Figures need no display and leave matplotlib's global state unchanged. Labels may be in any script; characters
that no installed font has are drawn as boxes.
"""

import itertools
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_inception.evaluation.metrics import Evaluation, top_k
from keras_inception.utils import files

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Target = str | os.PathLike  # PNG file to write

RIGHT, WRONG, OTHER = "#2a8f5b", "#cf4446", "#b9c0c8"
TRACK, INK = "#eef0f2", "#22272e"
STAGES = ("#4f7fb5", "#9dbbdc")  # alternate
# Each character is drawn in the first of these fonts that has it; the later ones cover Chinese, Japanese and Korean.
FONTS = ("DejaVu Sans", "Noto Sans", "Noto Sans CJK JP", "Hiragino Sans", "Microsoft YaHei", "Malgun Gothic")
COUNTED_CLASSES, NAMED_CLASSES = 30, 100
MIN_SIDE = 4.2  # inches, with room for a title


def confusion_picture(evaluation: Evaluation, path: Target) -> None:
    """Draw a confusion matrix: one row per true class, shaded by the share of its images predicted as each class.

    Cells show the number of images for up to 30 classes. Classes are named for up to 100.
    """
    confusion, classes = evaluation.confusion, len(evaluation.class_names)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    counted, named = classes <= COUNTED_CLASSES, classes <= NAMED_CLASSES
    side = 3 + min(classes, NAMED_CLASSES) * (0.36 if counted else 0.14)
    with _figure(path, max(side, MIN_SIDE), max(side, MIN_SIDE)) as figure:
        accuracy = f"top-1 {evaluation.top1:.1%}, top-5 {evaluation.top5:.1%}"
        figure.suptitle(f"{accuracy}\n{evaluation.count:,} images", fontsize=11)
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        axes.set(xlabel="predicted", ylabel="truth (number of images)", xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        if named:
            size = 9 if counted else 6
            columns = [_shortened(label) for label in evaluation.class_names]
            rows = [f"{_shortened(row.label)} ({row.pictures})" for row in evaluation.per_class]
            axes.set_xticks(range(classes), columns, rotation=90, fontsize=size)
            axes.set_yticks(range(classes), rows, fontsize=size)
            axes.tick_params(length=0)
        if counted:
            for row, column in np.argwhere(confusion):
                ink = "white" if shares[row, column] > 0.5 else INK
                axes.text(column, row, confusion[row, column], color=ink, fontsize=8, ha="center", va="center_baseline")


def prediction_picture(
    pictures: Sequence[np.ndarray], probabilities: np.ndarray, labels: Sequence[str], truth: Sequence[int], path: Target
) -> None:
    """Draw images, each next to its three likeliest classes. Correct guesses are green, a wrong first guess is red.

    Args:
        pictures: uint8 RGB images, (height, width, 3) each. About a dozen fit well.
        probabilities: (images, classes), in [0, 1].
        labels: names of the classes.
        truth: index of each image's class.
        path: PNG file to write.

    Raises:
        ValueError: there are no images, or the arguments differ in length.
    """
    probabilities = np.asarray(probabilities)
    lengths = [len(pictures), len(probabilities), len(truth)]
    if not min(lengths) or len(set(lengths)) > 1:
        raise ValueError(f"`pictures`, `probabilities` and `truth` must have one length, not 0. Received: {lengths}")
    columns = min(3, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    with _figure(path, max(3.7 * columns, MIN_SIDE), 1.75 * rows) as figure:
        cells = figure.add_gridspec(rows, 2 * columns, width_ratios=[1, 1.25] * columns)
        for index, (picture, values, true) in enumerate(zip(pictures, probabilities, truth, strict=True)):
            row, column = divmod(index, columns)
            guesses = top_k(values, 3)
            color = RIGHT if guesses[0] == true else WRONG

            shown = figure.add_subplot(cells[row, 2 * column])
            shown.imshow(picture)
            shown.set(xticks=[], yticks=[])
            shown.spines[:].set(color=color, linewidth=2.5)
            shown.set_title(_shortened(labels[true]), fontsize=9, color=INK)

            bars = figure.add_subplot(cells[row, 2 * column + 1])
            colors = [color, *(RIGHT if guess == true else OTHER for guess in guesses[1:])]
            bars.barh(range(len(guesses)), 1, height=0.3, color=TRACK)
            bars.barh(range(len(guesses)), values[guesses], height=0.3, color=colors)
            for place, guess in enumerate(guesses):
                text = f"{_shortened(labels[guess])}  {values[guess]:.0%}"
                bars.text(0, place - 0.25, text, fontsize=8.5, color=INK, va="bottom")
            bars.set(xlim=(0, 1), ylim=(2.5, -0.8))
            bars.axis("off")


def curves_picture(rows: Sequence[Mapping[str, float]], path: Target) -> None:
    """Draw the loss, the top-1 and the learning rate of a training over its epochs.

    Args:
        rows: the rows of ``metrics.csv``. Cells may be missing.
        path: PNG file to write.
    """
    panels = curves(rows)
    with _figure(path, 4 * len(panels), 3) as figure:
        for axes, (title, lines) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
            for name, points in lines.items():
                axes.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 3 else "")
            axes.set_title(title, fontsize=10, color=INK)
            axes.set_xlabel("epoch", fontsize=9)
            axes.tick_params(labelsize=8)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_ylim(bottom=0)
            axes.grid(color=TRACK)
            axes.spines[["top", "right"]].set_visible(False)
            if len(lines) > 1:
                axes.legend(fontsize=8, frameon=False)


def curves(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Return the curves of a training by panel and name, each as its (epoch, value) pairs.

    The panels are "loss", "top-1" and "learning rate". The training loss is that of the main output; those of auxiliary
    heads are curves of their own.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    heads = [name for name in columns if name.endswith("_loss") and name not in ("predictions_loss", "val_loss")]
    main = "predictions_" if heads else ""
    panels = {
        "loss": {
            "training": f"{main}loss",
            "validation": "val_loss",
            **{name.removesuffix("_loss"): name for name in heads},
        },
        "top-1": {"training": f"{main}top1", "validation": "val_top1"},
        "learning rate": {"learning rate": "learning_rate"},
    }
    return {
        title: {
            name: [(row["epoch"], row[column]) for row in rows if math.isfinite(row.get(column, math.nan))]
            for name, column in lines.items()
            if column in columns
        }
        for title, lines in panels.items()
    }


def batch_picture(pictures: Sequence[np.ndarray], labels: Sequence[str], path: Target) -> None:
    """Draw images in rows of four, each below its label.

    Args:
        pictures: uint8 RGB images, (height, width, 3) each.
        labels: a text for each image.
        path: PNG file to write.
    """
    columns = 4
    rows = math.ceil(len(pictures) / columns)
    height, width = pictures[0].shape[:2]
    with _figure(path, 1.6 * columns, (1.6 * height / width + 0.3) * rows) as figure:
        for axes in (every := figure.subplots(rows, columns, squeeze=False).ravel()):
            axes.axis("off")
        for axes, picture, label in zip(every, pictures, labels, strict=False):
            axes.imshow(picture)
            axes.set_title(_shortened(label, 24), fontsize=8, color=INK)


def module_picture(model: "keras.Model", name: str, path: Target) -> None:
    """Draw the branches of an Inception module as built, with the input at the bottom as in the paper.

    Args:
        model: a network of this package.
        name: name of the module's output, such as ``"inception_4e"``.
        path: PNG file to write.

    Raises:
        ValueError: the network has no module of that name.
    """
    import keras

    module = next((layer for layer in model.layers if layer.name == name), None)
    if not isinstance(module, keras.layers.Concatenate):
        raise ValueError(f"`name` must be that of an Inception module of {model.name}. Received: name={name!r}")
    branches = [_branch(model, tensor, f"{name}_") for tensor in module.input]
    top, middle = 3.2, (len(branches) - 1) / 2
    with _figure(path, 1.9 * len(branches), 3.8) as figure:
        axes = figure.add_subplot(xlim=(-0.55, len(branches) - 0.45), ylim=(-0.4, top + 0.4))
        axes.axis("off")
        _box(axes, middle, 0, f"input\n{sides(branches[0][0].input.shape[1:])}", "white")
        _box(axes, middle, top, f"{name}\n{sides(module.output.shape[1:])}", "white")
        for column, branch in enumerate(branches):
            drawn = [layer for layer in branch if hasattr(layer, "filters") or hasattr(layer, "pool_size")]
            heights = [top / 2 + 0.85 * (step - (len(drawn) - 1) / 2) for step in range(len(drawn))]
            for layer, height in zip(drawn, heights, strict=True):
                _box(axes, column, height, *_described(layer))
            places = [(middle, 0), *((column, height) for height in heights), (middle, top)]
            for (x, y), (next_x, next_y) in itertools.pairwise(places):
                arrow = {"arrowstyle": "-|>", "color": OTHER, "shrinkA": 0, "shrinkB": 0}
                axes.annotate("", (next_x, next_y - 0.25), (x, y + 0.25), arrowprops=arrow)


def cost_picture(cost: Any, path: Target) -> None:
    """Draw the multiply-adds and parameters of each module, first to last. The shade changes with each stage.

    Args:
        cost: result of `keras_inception.analysis.cost`.
        path: PNG file to write.
    """
    modules = [module for module in cost.modules if module.macs or module.parameters]
    stages = itertools.groupby(modules, key=lambda module: module.stage)
    colors = [STAGES[index % 2] for index, (_, members) in enumerate(stages) for _ in members]
    with _figure(path, 8, 1.4 + 0.26 * len(modules)) as figure:
        figure.suptitle(f"{cost.name}, input {sides(cost.input_shape)}", fontsize=11)
        axes = figure.subplots(1, 2, sharey=True)
        for drawn, amount, total in zip(axes, ("macs", "parameters"), (cost.macs, cost.parameters), strict=True):
            amounts = [getattr(module, amount) for module in modules]
            bars = drawn.barh(range(len(modules)), amounts, height=0.7, color=colors)
            drawn.bar_label(bars, [_rounded(value) for value in amounts], padding=3, fontsize=7.5, color=INK)
            drawn.set_title(f"{total:,} {'MACs' if amount == 'macs' else amount}", fontsize=9.5, color=INK)
            drawn.set(xlim=(0, 1.18 * max(amounts, default=1) or 1), xticks=[])
            drawn.spines[:].set_visible(False)
            drawn.tick_params(length=0)
        axes[0].set_yticks(range(len(modules)), [module.name for module in modules], fontsize=8.5)
        axes[0].invert_yaxis()


def sides(shape: Sequence[int]) -> str:
    """Return a shape as text, such as ``28×28×192``."""
    return "×".join(map(str, shape))


def _rounded(value: int) -> str:
    """Return a number rounded to about three digits, such as 118 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= size:
            return f"{value / size:.{2 - (value >= 10 * size) - (value >= 100 * size)}f} {unit}"
    return str(value)


def _branch(model: "keras.Model", tensor: "keras.KerasTensor", prefix: str) -> list:
    """Return the layers on the way to `tensor` whose names begin with `prefix`, first to last."""
    made_by = {id(layer.output): layer for layer in model.layers}
    branch = []
    while (layer := made_by[id(tensor)]).name.startswith(prefix):
        branch.append(layer)
        tensor = layer.input
    return branch[::-1]


def _described(layer: "keras.Layer") -> tuple[str, str]:
    """Return a layer's text and the color of its box."""
    if hasattr(layer, "pool_size"):
        return "{}×{} max pool\nstride {}".format(*layer.pool_size, layer.strides[0]), "#f6d5d3"
    height, width = layer.kernel_size
    return f"{height}×{width} convolution\n{layer.filters} filters", "#fbeec2" if height * width == 1 else "#cfe3f7"


def _box(axes: "Axes", x: float, y: float, text: str, color: str) -> None:
    style = {"boxstyle": "round,pad=0.5", "facecolor": color, "edgecolor": OTHER}
    axes.text(x, y, text, fontsize=9, color=INK, ha="center", va="center", linespacing=1.4, bbox=style)


def _shortened(label: str, length: int = 18) -> str:
    return label if len(label) <= length else f"{label[: length - 1]}…"


@contextmanager
def _figure(path: Target, width: float, height: float) -> Iterator["Figure"]:
    """Yield a figure of this size in inches to draw on, and write it to `path` if the block ends without an error."""
    import matplotlib
    from matplotlib import font_manager
    from matplotlib.figure import Figure

    fonts = [font for font in FONTS if font in set(font_manager.get_font_names())]
    # Labels such as "$5" are not formulas.
    style = matplotlib.rc_context({"font.family": fonts, "text.parse_math": False})
    with style, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with files.replacing(path) as beside:
            figure.savefig(beside, format="png", dpi=100)
