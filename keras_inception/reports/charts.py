"""Charts as SVG inside a page. They take their colors from its style, so that they fit light and dark screens."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_inception.evaluation.abstention import Abstention
from keras_inception.evaluation.metrics import ConfidenceBin
from keras_inception.reports.html import COLORS, text

WIDTH, HEIGHT = 360, 210  # in pixels of a phone, so that text has its size there
LEFT, RIGHT, TOP, BOTTOM = 42, 8, 12, 34
LEGEND_LINE, LETTER = 16, 6.3  # height of a line of the legend, and the width of a letter
MAX_POINTS = 400  # of a line


class Line(NamedTuple):
    """A line of a chart.

    Attributes:
        name: its name in the legend.
        points: (x, y) in ascending order of x.
        color: index of its color in `html.COLORS`.
        dashed: whether it is dashed.
    """

    name: str
    points: Sequence[tuple[float, float]]
    color: int = 0
    dashed: bool = False


def line_chart(title: str, lines: Sequence[Line], *, percent: bool = False) -> str:
    """Return a chart of lines over epochs, from 0 upward. Lines without finite points are left out.

    Args:
        title: what is drawn.
        lines: the lines.
        percent: whether values are fractions to be shown as percentages, up to 100 % at most.
    """
    finite = [line._replace(points=_thinned([p for p in line.points if math.isfinite(p[1])])) for line in lines]
    lines = [line for line in finite if line.points]
    points = [point for line in lines for point in line.points]
    last = max((x for x, _ in points), default=1)
    first = min((x for x, _ in points), default=0)
    high = max((y for _, y in points), default=1) or 1
    ticks = _ticks(high)
    high = max(high, min(1.0, ticks[-1]) if percent else ticks[-1])
    named = [] if [line.name for line in lines] == [title] else lines
    top = TOP + LEGEND_LINE * (1 + _legend_rows(named))

    def x_of(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ((x - first) / (last - first) if last > first else 0.5)

    def y_of(y: float) -> float:
        return top + (HEIGHT - BOTTOM - top) * (1 - y / high)

    shown = [_title(title), _legend(named)]
    ticks = [tick for tick in ticks if tick <= high * 1.001]
    labels = [f"{tick:.0%}" for tick in ticks] if percent else _labels(ticks)
    shown += [_horizontal(y_of(tick), label) for tick, label in zip(ticks, labels, strict=True)]
    for tick in _whole_ticks(first, last):
        shown.append(_text(x_of(tick), HEIGHT - BOTTOM + 15, f"{tick:g}", "middle"))
    shown.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "epoch", "middle"))
    for line in lines:
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line.points)
        dash = ' stroke-dasharray="4 3"' if line.dashed else ""
        paint = _paint(line.color)
        if len(line.points) == 1:
            x, y = path.split(",")
            shown.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{paint}"/>')
        else:
            drawn = f'fill="none" stroke="{paint}" stroke-width="2" stroke-linejoin="round"{dash}'
            shown.append(f'<polyline points="{path}" {drawn}/>')
    return _svg(title, shown)


def reliability_chart(bins: Sequence[ConfidenceBin]) -> str:
    """Return a reliability diagram: the top-1 of the images in each bin of confidence, beside the diagonal."""
    top = TOP + LEGEND_LINE
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - BOTTOM - top

    def x_of(share: float) -> float:
        return LEFT + width * share

    def y_of(share: float) -> float:
        return top + height * (1 - share)

    shown = [_title("top-1 by confidence")]
    shown += [_horizontal(y_of(share), f"{share:.0%}") for share in (0, 0.5, 1)]
    shown += [_text(x_of(share), HEIGHT - BOTTOM + 15, f"{share:.0%}", "middle") for share in (0.25, 0.5, 0.75)]
    shown.append(_text(LEFT + width / 2, HEIGHT - 4, "confidence", "middle"))
    for each in bins:
        if each.top1 is None or each.confidence is None:
            continue
        said = (
            f"{each.low:.0%} to {each.high:.0%}: {each.pictures} images, "
            f"mean confidence {each.confidence:.1%}, top-1 {each.top1:.1%}"
        )
        shown.append(
            f'<rect x="{x_of(each.low) + 1:.1f}" y="{y_of(each.top1):.1f}" width="{width / len(bins) - 2:.1f}" '
            f'height="{height * each.top1:.1f}" fill="{_paint(0)}" fill-opacity=".45"><title>{said}</title></rect>'
            f'<circle cx="{x_of(each.confidence):.1f}" cy="{y_of(each.top1):.1f}" r="2.5" fill="{_paint(0)}"/>'
        )
    shown.append(
        f'<line x1="{LEFT}" y1="{y_of(0)}" x2="{x_of(1)}" y2="{top}" stroke="currentColor" stroke-dasharray="4 3"/>'
    )
    return _svg("reliability diagram", shown)


def abstention_chart(answered: np.ndarray, top1: np.ndarray, rows: Sequence[Abstention]) -> str:
    """Return the accuracy against the share of images that are answered, with a dot at each threshold.

    Args:
        answered: the shares, ascending in (0, 1].
        top1: top-1 of the images that are answered, at each share.
        rows: the thresholds with their shares and accuracies.
    """
    low = math.floor(10 * min(top1)) / 10
    low = min(low, 0.9)
    top = TOP + LEGEND_LINE

    def x_of(share: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * share

    def y_of(share: float) -> float:
        return top + (HEIGHT - BOTTOM - top) * (1 - (share - low) / (1 - low))

    shown = [_title("top-1 by share of answers")]
    shown += [_horizontal(y_of(share), f"{share:.0%}") for share in (low, (low + 1) / 2, 1)]
    shown += [_text(x_of(share), HEIGHT - BOTTOM + 15, f"{share:.0%}", "middle") for share in (0.25, 0.5, 0.75)]
    shown.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "images that are answered", "middle"))
    points = _thinned(list(zip(map(float, answered), map(float, top1), strict=True)))
    path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
    shown.append(f'<polyline points="{path}" fill="none" stroke="{_paint(0)}" stroke-width="2"/>')
    for row in rows:
        if row.top1 is not None:
            said = f"{row.answered:.1%} answered, top-1 {row.top1:.1%}"
            x, y = x_of(row.answered), y_of(row.top1)
            shown.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_paint(1)}"><title>{said}</title></circle>')
    return _svg("accuracy by share of answers", shown)


def _svg(title: str, parts: Sequence[str]) -> str:
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(title)}"'
    return f"<svg {box}>\n" + "\n".join(parts) + "\n</svg>"


def _text(x: float, y: float, content: str, anchor: str = "start", extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{text(content)}</text>'


def _title(title: str) -> str:
    return _text(LEFT, TOP, title, extra=' class="title"')


def _horizontal(y: float, label: str) -> str:
    across = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
    return across + _text(LEFT - 6, y + 4, label, "end")


def _paint(color: int) -> str:
    return f"var(--color{color % len(COLORS)})"


def _placed(lines: Sequence[Line]) -> list[tuple[Line, float, int]]:
    """Return each line with the x and the row of its name in the legend."""
    placed, x, row = [], float(LEFT), 0
    for line in lines:
        width = 24 + LETTER * len(line.name)
        if x + width > WIDTH and x > LEFT:
            x, row = float(LEFT), row + 1
        placed.append((line, x, row))
        x += width + 8
    return placed


def _legend_rows(lines: Sequence[Line]) -> int:
    return max((row for *_, row in _placed(lines)), default=-1) + 1


def _legend(lines: Sequence[Line]) -> str:
    parts = []
    for line, x, row in _placed(lines):
        y = TOP + LEGEND_LINE * (row + 1)
        dash = ' stroke-dasharray="4 3"' if line.dashed else ""
        mark = f'x1="{x:.1f}" x2="{x + 18:.1f}" y1="{y - 4}" y2="{y - 4}" stroke="{_paint(line.color)}"'
        parts.append(f'<line {mark} stroke-width="2"{dash}/>{_text(x + 22, y, line.name)}')
    return "".join(parts)


def _ticks(high: float) -> list[float]:
    """Return about four round numbers from 0 to `high` or just above it."""
    step = _step(high / 4)
    return [round(place * step, 12) for place in range(math.ceil(round(high / step, 6)) + 1)]


def _labels(ticks: Sequence[float]) -> list[str]:
    """Return numbers as text; if one of them is longer than five letters, all in powers of ten: 5e-4."""
    plain = [f"{tick:g}" for tick in ticks]
    if max(map(len, plain)) <= 5:
        return plain
    parts = [f"{tick:.1e}".split("e") for tick in ticks]
    return [f"{mantissa.removesuffix('.0')}e{int(power)}" if mantissa != "0.0" else "0" for mantissa, power in parts]


def _whole_ticks(first: float, last: float) -> list[float]:
    """Return about six whole numbers from `first` to `last`."""
    step = max(1.0, _step((last - first) / 6))
    start = math.ceil(first / step) * step
    return [start + place * step for place in range(int((last - start) / step) + 1)]


def _step(about: float) -> float:
    """Return the next number of 1, 2 or 5 and zeros that is not below `about`."""
    power = 10.0 ** math.floor(math.log10(about)) if about > 0 else 1.0
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= about * 0.999)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return evenly chosen points, with the last, if there are too many."""
    every = max(1, math.ceil(len(points) / MAX_POINTS))
    chosen = list(points[::every])
    return chosen if not chosen or chosen[-1] == points[-1] else [*chosen, points[-1]]
