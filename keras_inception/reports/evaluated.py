"""Parts of a report that show an evaluation: confusion, calibration, mistakes and results by class."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.evaluation.metrics import Evaluation, ImageResults
from keras_inception.figures import COUNTED_CLASSES
from keras_inception.reports import charts, html
from keras_inception.utils.tables import number

if TYPE_CHECKING:
    from keras_inception.datasets import Examples

SHOWN_MISTAKES, SHOWN_UNCERTAIN, DRAWN = 24, 12, 12


def accuracy(evaluation: Evaluation) -> str:
    """Return the results for all images together as a line of text."""
    low, high = evaluation.top1_interval
    error = evaluation.calibration_error
    parts = [
        f"{number(evaluation.count, 'image')}: top-1 {evaluation.top1:.1%} (95 % interval {low:.1%} to {high:.1%})",
        f"top-5 {evaluation.top5:.1%}",
        f"loss {evaluation.loss:.3f}",
        *([] if error is None else [f"calibration error {error:.1%}"]),
    ]
    return ", ".join(parts) + "."


def confusion(evaluation: Evaluation, picture: Path) -> str:
    """Return the confusion matrix: a table of counts for up to 30 classes, otherwise the picture.

    Args:
        evaluation: the evaluation.
        picture: PNG file for more classes. Without it there is only a sentence.
    """
    explained = html.paragraph("Rows are true classes, columns are predictions.", faint=True)
    if len(evaluation.class_names) > COUNTED_CLASSES:
        shown = html.picture(picture, "confusion matrix") if picture.is_file() else ""
        return explained + shown
    names = [html.text(name) for name in evaluation.class_names]
    head = "<td></td>" + "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = []
    for name, counts in zip(names, evaluation.confusion, strict=True):
        shares = counts / max(int(counts.sum()), 1)
        cells = [
            f'<td style="background: rgba(80, 130, 235, {0.65 * share:.2f})">{count}</td>' if count else "<td></td>"
            for count, share in zip(counts.tolist(), shares.tolist(), strict=True)
        ]
        rows.append(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>')
    body = "\n".join(rows)
    return f'{explained}\n<div class="wide"><table class="matrix">\n<tr>{head}</tr>\n{body}\n</table></div>'


def calibration(evaluation: Evaluation) -> str:
    """Return the reliability diagram with a sentence on how to read it."""
    said = "If the network is as right as it is sure, the bars end at the dashed line."
    return html.paragraph(said, faint=True) + charts.reliability_chart(evaluation.calibration)


def by_class(evaluation: Evaluation) -> str:
    """Return the table by class, the least accurate first."""

    def share(value: float | None) -> str | None:
        return None if value is None else f"{value:.1%}"

    rows = sorted(evaluation.per_class, key=lambda row: 2.0 if row.top1 is None else row.top1)
    shown = [(row.label, row.pictures, share(row.top1), share(row.precision), share(row.f1)) for row in rows]
    return html.table(["class", "images", "top-1", "precision", "F1"], shown, align="lrrrr")


def gallery(
    results: ImageResults, class_names: Sequence[str], chosen: Iterable[int], read: Callable[[int], np.ndarray]
) -> str:
    """Return images with their path, their label, and the network's guess with its probability.

    Args:
        results: the answers to all images.
        class_names: names of the classes.
        chosen: indices of the images to show.
        read: returns the pixels of an image by its index. Images that cannot be read any more have none.
    """

    def image(index: int) -> str:
        try:
            return html.thumbnail(read(index))
        except (OSError, ValueError):
            return ""

    chosen = list(chosen)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # photographs take a tenth of a second each
        images = list(pool.map(image, chosen))
    cells = []
    for index, shown in zip(chosen, images, strict=True):
        true, guess = int(results.truth[index]), int(results.predicted[index])
        path = results.paths[index] if results.paths else f"image {index}"
        lines = [
            path,
            f"label: {class_names[true]} ({results.probabilities[index, true]:.1%})",
            f"guess: {class_names[guess]} ({results.confidence[index]:.1%})",
        ]
        cells.append(html.Cell(shown, lines, "right" if guess == true else "wrong"))
    return html.gallery(cells)


def mistakes(evaluation: Evaluation, examples: "Examples") -> list[str]:
    """Return the sections of the worst mistakes and of the least certain images."""
    results = evaluation.images
    if results is None:
        return []
    wrong = results.mistakes()
    names, sections = evaluation.class_names, []
    if len(wrong):
        said = f"{len(wrong)} of {number(len(results), 'image')}, those of which the network is surest first."
        shown = gallery(results, names, wrong[:SHOWN_MISTAKES].tolist(), examples.read)
        sections.append(html.section("Worst mistakes", html.paragraph(said), shown))
    uncertain = gallery(results, names, results.least_certain()[:SHOWN_UNCERTAIN].tolist(), examples.read)
    return [*sections, html.section("Least certain", uncertain)]


def drawn_mistakes(results: ImageResults) -> list[int]:
    """Return the indices of the images to draw in ``mistakes.png``: mistakes, or without any the least certain."""
    wrong = results.mistakes()
    return (wrong if len(wrong) else results.least_certain())[:DRAWN].tolist()
