"""The report of an export."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

REPORT, LAYER_ERRORS = "report.json", "layer_errors.json"
COLUMNS = ("variant", "MB", "top-1", "agreement", "latency ms", "outside the delegate")


@dataclass(frozen=True, eq=False)
class ExportReport(Mapping[str, Any]):
    """What `export` measured. It prints as a table, and its fields can also be read as keys: ``report["variants"]``.

    Attributes:
        top1: accuracy of Keras on the held-out images, 0 to 1; None if their labels are not known.
        top1_interval: its 95 % interval, [low, high].
        top5: top-5 accuracy of Keras.
        seconds: time that the export took.
        pictures: number of held-out images; 0 if the files were verified on noise.
        litert_sample: whether the files are for Google's LiteRT sample of image classification.
        variants: for each variant by name ``path`` (relative to the folder), ``mb``, ``top1``, ``top1_interval``,
            ``top5``, ``agreement`` and ``agreement_interval``, ``max_difference`` (of probabilities, from Keras),
            ``latency_ms``, ``outside_delegate``, ``outside_gpu``, ``clients``, and ``keep_float`` if layers were kept.
            A variant that fell short has ``refused`` with the reason, and no ``path``.
    """

    top1: float | None
    top1_interval: list[float] | None
    top5: float | None
    seconds: float
    pictures: int
    litert_sample: bool
    variants: dict[str, dict]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``report.json``."""
        return dataclasses.asdict(self)

    def __getitem__(self, key: str) -> Any:
        if key not in {field.name for field in dataclasses.fields(self)}:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return (field.name for field in dataclasses.fields(self))

    def __len__(self) -> int:
        return len(dataclasses.fields(self))

    def __str__(self) -> str:
        rows = [_row(name, row) for name, row in self.variants.items() if "path" in row]
        lines = _aligned([COLUMNS, *rows]) if rows else []
        if self.top1 is not None:
            lines.append(f"Keras itself: top-1 {percent(self.top1)}, top-5 {percent(self.top5)}")
        lines.append(f"Measured on {self.measured_on}; 95 % intervals in parentheses.")
        lines += [f"{name} was refused: {row['refused']}" for name, row in self.variants.items() if "refused" in row]
        return "\n".join(lines)

    @property
    def measured_on(self) -> str:
        """What the files were verified on, in words."""
        if not self.pictures:
            return "noise, for lack of images"
        return f"{self.pictures} held-out image{'s' * (self.pictures > 1)}"


def _row(name: str, row: dict) -> tuple[str, ...]:
    return (
        name,
        f"{row['mb']:.2f}",
        with_interval(row, "top1"),
        with_interval(row, "agreement"),
        f"{row['latency_ms']:.1f}",
        ", ".join(row["outside_delegate"]) or "none",
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of text as lines with aligned columns: the first and last to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligns = ["<", *">" * (len(widths) - 2), "<"]
    return [
        "  ".join(f"{cell:{align}{width}}" for cell, align, width in zip(row, aligns, widths, strict=True)).rstrip()
        for row in rows
    ]


def with_interval(row: Mapping, name: str) -> str:
    """Return a share in a report's row as text, with its 95 % interval: ``91.2% (88.4–93.4)``."""
    if row[name] is None:
        return "–"
    low, high = row[f"{name}_interval"]
    return f"{row[name]:.1%} ({100 * low:.1f}–{100 * high:.1f})"


def percent(share: float | None) -> str:
    """Return a share as text; a dash if it is not known."""
    return "–" if share is None else f"{share:.1%}"
