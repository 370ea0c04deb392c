"""What a network says about unlabeled images: a table of all of them, and a page of those it is least certain of."""

import heapq
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from keras_inception.evaluation import predictions
from keras_inception.evaluation.prediction import Answer
from keras_inception.reports import html
from keras_inception.reports.output import REPORT, report_folder
from keras_inception.utils import tables

SHOWN = 500  # images, and as many errors
GUESSES = 3


def contact_sheet(
    answers: Iterable[Answer],
    output: str | os.PathLike,
    network: str,
    class_names: Sequence[str],
    *,
    overwrite: bool = False,
) -> Iterator[Answer]:
    """Pass answers on, and write a report of them to a folder, which appears after the last one.

    ``predictions.csv`` has all images that can be read, in the order of the answers. ``report.html`` shows the `SHOWN`
    whose most probable class is the least probable. Only these are kept in memory.

    Args:
        answers: the answers of a network.
        output: the folder to create.
        network: path of the network.
        class_names: names of its classes.
        overwrite: replace an existing report.

    Raises:
        FileExistsError: `output` exists (`check_output`).
        OSError: the folder cannot be written.
    """
    sheet = _Sheet(class_names)
    with report_folder(output, overwrite=overwrite) as folder:
        path = folder / predictions.FILE
        with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as table:
            table.write(tables.csv_line(predictions.columns(class_names, labeled=False)))
            for answer in answers:
                if answer.probabilities is not None:
                    row = predictions.row(answer.path, answer.probabilities, class_names, None)
                    table.write(tables.csv_line(row.values()))
                sheet.add(answer)
                yield answer
        html.write(folder / REPORT, sheet.page(network))


class _Sheet:
    """The images that the network is least certain of, the images that cannot be read, and sums over the others."""

    def __init__(self, class_names: Sequence[str]):
        self.class_names = class_names
        self.images: Counter[int] = Counter()  # by most probable class
        self.certainty: Counter[int] = Counter()  # the sum of its probability
        self.least: list[tuple[float, int, html.Cell]] = []  # a heap, by negative probability
        self.errors: list[tuple[str, str]] = []
        self.unreadable = 0

    def add(self, answer: Answer) -> None:
        if answer.probabilities is None or answer.picture is None:
            self.unreadable += 1
            if len(self.errors) < SHOWN:
                self.errors.append((answer.path, answer.error or ""))
            return
        best = int(np.argmax(answer.probabilities))
        probability = float(answer.probabilities[best])
        number = self.images.total()
        self.images[best] += 1
        self.certainty[best] += probability  # type: ignore[assignment]  # a Counter of floats
        if len(self.least) < SHOWN or -probability > self.least[0][0]:
            push = heapq.heappush if len(self.least) < SHOWN else heapq.heapreplace
            push(self.least, (-probability, -number, self._cell(answer, answer.picture)))

    def page(self, network: str) -> str:
        count = self.images.total()
        told = [f"{tables.number(count, 'image')}, classified by {network}."]
        if self.unreadable:
            told.append(f"{self.unreadable} could not be read.")
        parts = [html.paragraph(" ".join(told)), html.paragraph(f"All of them are in {predictions.FILE}.", faint=True)]
        if count:
            parts += [self._classes(), self._gallery()]
        if self.errors:
            more = self.unreadable - len(self.errors)
            listed = [html.table(["image", "reason"], self.errors)] + [html.paragraph(f"and {more} more")] * (more > 0)
            parts.append(html.section("Images that cannot be read", *listed))
        return html.page(f"Predictions of {os.path.basename(network)}", *parts)

    def _cell(self, answer: Answer, picture: np.ndarray) -> html.Cell:
        guesses = answer.prediction(self.class_names, GUESSES).top
        lines = [answer.path, *(f"{label} {probability:.1%}" for label, probability in guesses)]
        return html.Cell(html.thumbnail(picture), lines)

    def _classes(self) -> str:
        rows = [
            (self.class_names[label], images, f"{self.certainty[label] / images:.1%}")
            for label, images in self.images.most_common()
        ]
        return html.section("Classes", html.table(["most probable", "images", "mean probability"], rows, align="lrr"))

    def _gallery(self) -> str:
        cells = [cell for *_, cell in sorted(self.least, reverse=True)]
        of = (
            f"The {len(cells)} images of the lowest probability, "
            if len(cells) < self.images.total()
            else "All images, "
        )
        return html.section(
            "Least certain first", html.paragraph(f"{of}as the network sees them."), html.gallery(cells)
        )
