"""Tables of results: one list of columns, rendered as plain text or as Markdown.

The command line, the model card and the README share the titles and formats in `COLUMNS`, so that a figure has the
same name and rounding everywhere:

    rows = [{"variant": "int8", "mb": 5.85, "latency_ms": 3.12, "outside_delegate": ["SOFTMAX"]}]
    columns = tables.columns("variant", "mb", "latency_ms", "outside_delegate")
    print(tables.text(columns, rows))
    tables.markdown(columns, rows)
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

WHOLE = 30  # letters up to which the names in the first column of a table are never cut


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        title: the heading.
        show: formats a value.
        is_text: align left and wrap long cells; otherwise align right.
    """

    title: str
    show: Callable[[Any], str] = str
    is_text: bool = False


def fixed(digits: int, unit: str = "", per: float = 1) -> Callable[[float], str]:
    """Return a formatter with `digits` decimals: ``fixed(2, " M", per=1e6)(6_998_552)`` is ``"7.00 M"``."""
    return lambda value: f"{value / per:.{digits}f}{unit}"


def percent(digits: int = 1) -> Callable[[float], str]:
    """Return a formatter of fractions as percentages: ``percent()(0.5232)`` is ``"52.3%"``."""
    return lambda share: f"{share:.{digits}%}"


def _columns(show: Callable[[Any], str], is_text: bool = False, /, **titles: str) -> dict[str, Column]:
    return {key: Column(title, show, is_text) for key, title in titles.items()}


def _on_gpu(tried: Mapping[str, Any]) -> str:
    """Return how much of a file a GPU takes, given what the report says of it."""
    if "reason" in tried:
        return "no"
    if tried["whole"] or not tried["outside"]:
        return "whole" if tried["whole"] else "in part"
    return f"all but {number(len(tried['outside']), 'kind')} of operations"


COLUMNS = {
    **_columns(str, accelerator="on"),
    **_columns(str, True, about="about", label="class", layer="layer", network="network", operation="operation"),
    **_columns(str, True, outside_delegate="outside the delegate", path="file"),
    **_columns(str, True, recipe="recipe", rewrite="rewrite", step="step", type="type"),
    **_columns(str, True, variant="variant", variants="variants"),
    **_columns(str, agreement_interval="agreement with Keras", threshold="not sure below", top1_interval="top-1"),
    **_columns(str, epochs="epochs", pictures="images", size="pixels"),
    **_columns(_on_gpu, True, gpu="on a GPU"),
    **_columns(lambda runtime: runtime["version"] or "unknown", runtime="oldest TensorFlow Lite"),
    **_columns(percent(), agreement="agreement with Keras", answered="answered", error="error so far"),
    **_columns(percent(), own_error="own error"),
    **_columns(percent(), f1="F1", precision="precision", top1="top-1", top5="top-5"),
    **_columns(percent(0), share_of_peak="of peak", sparsity="zeros"),
    **_columns(fixed(2), gzip_mb="gzip MB", mb="MB", ratio="ratio"),
    **_columns(fixed(2), latency_ms="latency, ms", median_ms="median, ms", p10_ms="p10", p90_ms="p90"),
    **_columns(fixed(1), sqnr_db="SQNR, dB"),
    **_columns(fixed(0), load_ms="load, ms", memory_mb="memory, MB", minutes="minutes"),
    **_columns(fixed(0, " M", per=1e6), macs="MACs"),
    **_columns(fixed(2, " M", per=1e6), parameters="parameters"),
}


def number(count: int, thing: str) -> str:
    """Return a count with its noun: "1 image", "2 images"."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def columns(*keys: str, **changed: Column) -> dict[str, Column]:
    """Return columns of `COLUMNS` by key, in the given order, with replacements for some.

    ``columns("network", "macs", macs=COLUMNS["macs"]._replace(show=fixed(2, " G", per=1e9)))`` shows billions.
    """
    return {key: changed.get(key) or COLUMNS[key] for key in keys}


def cell(row: Mapping[str, Any], key: str, column: Column) -> str:
    """Return one cell as text.

    A value that is missing or None becomes a dash, a string stays as it is, and a list becomes its items or "none". A
    key that ends in ``_interval`` shows the value that the interval belongs to as well: ``52.3% (49.5–55.1)``.
    """
    value = row.get(key)
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if key.endswith("_interval"):
        low, high = value
        return f"{row[key.removesuffix('_interval')]:.1%} ({100 * low:.1f}–{100 * high:.1f})"
    if isinstance(value, (list, tuple)):
        return ", ".join(value) or "none"
    return column.show(value)


def markdown(columns: Mapping[str, Column], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a Markdown table that ends in a line break."""
    lines = [
        [column.title for column in columns.values()],
        ["---"] * len(columns),
        *([cell(row, *each) for each in columns.items()] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def text(columns: Mapping[str, Column], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a table no wider than the terminal, without a line break at its end."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    lines = [[cell(row, *each) for each in columns.items()] for row in rows]
    named = all(len(line[0].split()) == 1 and len(line[0]) <= WHOLE for line in lines if line)
    for place, column in enumerate(columns.values()):
        whole = not column.is_text or (named and not place)
        table.add_column(column.title, justify="left" if column.is_text else "right", no_wrap=whole)
    for line in lines:
        table.add_row(*line)
    console = Console(color_system=None, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def csv_line(cells: Iterable[Any]) -> str:
    """Return a row of a CSV file with its line break."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
