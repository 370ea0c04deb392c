"""Tables of results: one list of columns, rendered as plain text or as Markdown.

The command line, the model card and the README share the titles and formats in `COLUMNS`, so that a figure is called
and rounded the same everywhere:

    rows = [{"variant": "int8", "mb": 5.85, "latency_ms": 3.12, "outside_delegate": ["SOFTMAX"]}]
    columns = tables.columns("variant", "mb", "latency_ms", "outside_delegate")
    print(tables.text(columns, rows))
    tables.markdown(columns, rows)
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

MISSING = "–"


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        title: the heading.
        show: turns a value into text.
        is_text: align left and wrap long cells; otherwise align right.
    """

    title: str
    show: Callable[[Any], str] = str
    is_text: bool = False


def fixed(digits: int, unit: str = "", per: float = 1) -> Callable[[float], str]:
    """Return a format with `digits` decimals: ``fixed(2, " M", per=1e6)(6_998_552)`` is ``"7.00 M"``."""
    return lambda value: f"{value / per:.{digits}f}{unit}"


def percent(digits: int = 1) -> Callable[[float], str]:
    """Return a format of a fraction of 1 as a percentage: ``percent()(0.5232)`` is ``"52.3%"``."""
    return lambda share: f"{share:.{digits}%}"


COLUMNS = {
    "about": Column("about", is_text=True),
    "agreement": Column("agreement with Keras", percent()),
    "agreement_interval": Column("agreement with Keras"),
    "epochs": Column("epochs"),
    "error": Column("error so far", percent()),
    "f1": Column("F1", percent()),
    "gzip_mb": Column("gzip MB", fixed(2)),
    "images": Column("images"),
    "label": Column("class", is_text=True),
    "latency_ms": Column("latency, ms", fixed(2)),
    "layer": Column("layer", is_text=True),
    "load_ms": Column("load, ms", fixed(0)),
    "macs": Column("MACs", fixed(0, " M", per=1e6)),
    "mb": Column("MB", fixed(2)),
    "median_ms": Column("median, ms", fixed(2)),
    "memory_mb": Column("memory, MB", fixed(0)),
    "minutes": Column("minutes", fixed(0)),
    "network": Column("network", is_text=True),
    "operation": Column("operation", is_text=True),
    "outside_delegate": Column("outside the delegate", is_text=True),
    "outside_gpu": Column("not on the GPU", is_text=True),
    "own_error": Column("own error", percent()),
    "p10_ms": Column("p10", fixed(2)),
    "p90_ms": Column("p90", fixed(2)),
    "parameters": Column("parameters", fixed(2, " M", per=1e6)),
    "path": Column("file", is_text=True),
    "pictures": Column("images"),
    "precision": Column("precision", percent()),
    "ratio": Column("ratio", fixed(2)),
    "recipe": Column("recipe", is_text=True),
    "rewrite": Column("rewrite", is_text=True),
    "share_of_peak": Column("of peak", percent(0)),
    "size": Column("pixels"),
    "sparsity": Column("zeros", percent(0)),
    "sqnr_db": Column("SQNR, dB", fixed(1)),
    "step": Column("step", is_text=True),
    "top1": Column("top-1", percent()),
    "top1_interval": Column("top-1"),
    "top5": Column("top-5", percent()),
    "type": Column("type", is_text=True),
    "variant": Column("variant", is_text=True),
    "variants": Column("variants", is_text=True),
}


def number(count: int, thing: str) -> str:
    """Return a count with its noun: "1 image", "2 images"."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def columns(*keys: str, **changed: Column) -> dict[str, Column]:
    """Return the named columns of `COLUMNS` in this order, some of them changed.

    ``columns("network", "macs", macs=COLUMNS["macs"]._replace(show=fixed(2, " G", per=1e9)))`` shows billions.
    """
    return {key: changed.get(key) or COLUMNS[key] for key in keys}


def cell(row: Mapping[str, Any], key: str, column: Column) -> str:
    """Return one cell as text.

    A value that is missing or None is shown as a dash, a string as it is, and a list as its items or "none". A key
    that ends in ``_interval`` shows the share that the interval belongs to as well: ``52.3% (49.5–55.1)``.
    """
    value = row.get(key)
    if value is None:
        return MISSING
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
    """Return a table for a terminal, as wide as the terminal at most, without a line break at its end."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns.values():
        table.add_column(column.title, justify="left" if column.is_text else "right", no_wrap=not column.is_text)
    for row in rows:
        table.add_row(*(cell(row, *each) for each in columns.items()))
    console = Console(color_system=None, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
