"""Table 1 of Going Deeper with Convolutions (Szegedy et al., arXiv 1409.4842), beside what its columns come to.

The published params are in units of 1,024 weights, biases left out, and the ops in millions of multiply-adds: so
counted, most rows agree. Those that do not are named, and never taken for computed ones.
"""

from dataclasses import dataclass
from typing import NamedTuple

from keras_inception.analysis.costs import Amounts, Cost, aligned, cost, sides

K, M = 1024, 1e6
TOLERANCE = 0.03  # of rounding, and a little
COLUMNS = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")


class Published(NamedTuple):
    """A row as printed; its filters are `keras_inception.models.googlenet.MODULES`. None is an empty cell.

    Attributes:
        name: our module.
        patch: size and stride.
        output: height, width, channels.
        params: in K.
        ops: in M.
    """

    name: str
    kind: str
    patch: str
    output: tuple[int, int, int]
    depth: int
    params: float | None = None
    ops: float | None = None


TABLE_1 = (
    Published("conv1", "convolution", "7×7/2", (112, 112, 64), 1, 2.7, 34),
    Published("pool1", "max pool", "3×3/2", (56, 56, 64), 0),
    Published("conv2", "convolution", "3×3/1", (56, 56, 192), 2, 112, 360),
    Published("pool2", "max pool", "3×3/2", (28, 28, 192), 0),
    Published("inception_3a", "inception (3a)", "", (28, 28, 256), 2, 159, 128),
    Published("inception_3b", "inception (3b)", "", (28, 28, 480), 2, 380, 304),
    Published("pool3", "max pool", "3×3/2", (14, 14, 480), 0),
    Published("inception_4a", "inception (4a)", "", (14, 14, 512), 2, 364, 73),
    Published("inception_4b", "inception (4b)", "", (14, 14, 512), 2, 437, 88),
    Published("inception_4c", "inception (4c)", "", (14, 14, 512), 2, 463, 100),
    Published("inception_4d", "inception (4d)", "", (14, 14, 528), 2, 580, 119),
    Published("inception_4e", "inception (4e)", "", (14, 14, 832), 2, 840, 170),
    Published("pool4", "max pool", "3×3/2", (7, 7, 832), 0),
    Published("inception_5a", "inception (5a)", "", (7, 7, 832), 2, 1072, 54),
    Published("inception_5b", "inception (5b)", "", (7, 7, 1024), 2, 1388, 71),
    Published("global_pool", "avg pool", "7×7/1", (1, 1, 1024), 0),
    Published("predictions", "linear", "", (1, 1, 1000), 1, 1000, 1),
)


@dataclass(frozen=True)
class Row:
    """A row of Table 1 and what was counted in the layers that are built from it.

    Attributes:
        published: as printed.
        filters: of the built layers, in the order of `COLUMNS`; None where the row has no such layer.
        depth: weighted layers that the row adds to the longest way through the network.
        weights: without biases, what `published.params` should be K of.
        counted: the row's module in `Cost.modules`, biases and all.
    """

    published: Published
    filters: tuple[int | None, ...]
    depth: int
    weights: int
    counted: Amounts

    @property
    def deviating(self) -> tuple[str, ...]:
        """Which of "params" and "ops" do not follow from the row's own columns, by more than 3 %."""
        pairs = (
            ("params", self.published.params, self.weights / K),
            ("ops", self.published.ops, self.counted.macs / M),
        )
        return tuple(
            name for name, printed, counted in pairs if printed is not None and abs(printed / counted - 1) > TOLERANCE
        )


@dataclass(frozen=True)
class Table1:
    """The table, published and counted; printed, it shows both. The rows of dropout and softmax, which cost nothing,
    are left out."""

    rows: tuple[Row, ...]
    whole: Cost

    @property
    def deviating(self) -> tuple[Row, ...]:
        """The rows of which a published figure does not follow from the row's own columns."""
        return tuple(row for row in self.rows if row.deviating)

    def table(self) -> str:
        """The columns of the paper; where it has a figure for params and ops, what is counted stands right of it."""
        names = [column.replace("x", "×").replace("_", " ") for column in COLUMNS]
        header = ["type", "patch", "output", "depth", *names, "params", "counted", "ops", "counted"]
        lines = [self._line(row) for row in self.rows]
        params, ops = (sum(getattr(row.published, name) or 0 for row in self.rows) for name in ("params", "ops"))
        weights = sum(row.weights for row in self.rows)
        total = ["sum", *[""] * 9, f"{params:,.1f} K", f"{weights / K:,.1f} K", f"{ops:,.0f} M", _millions(self.whole)]
        notes = [
            f"* {row.published.kind}: published {row.published.params:g} K and {row.published.ops:g} M; "
            f"its columns come to {row.counted.parameters:,} parameters with biases and {row.counted.macs:,} MACs"
            for row in self.deviating
        ]
        return "\n".join([aligned([header, *lines, total]), *notes])

    def __str__(self) -> str:
        return self.table()

    @staticmethod
    def _line(row: Row) -> list[str]:
        printed = row.published
        cells = [printed.kind, printed.patch, sides(printed.output), str(printed.depth)]
        cells += ["" if filters is None else str(filters) for filters in row.filters]
        if printed.params is None or printed.ops is None:
            return [*cells, "", "", "", ""]
        marks = ["*" if name in row.deviating else "" for name in ("params", "ops")]
        cells += [f"{marks[0]}{printed.params:g} K", f"{row.weights / K:,.1f} K"]
        return [*cells, f"{marks[1]}{printed.ops:g} M", _millions(row.counted)]


def table1() -> Table1:
    """Build the paper's GoogLeNet and hold what it costs against the paper's Table 1, row by row."""
    from keras_inception.models import GoogLeNet

    whole = cost(GoogLeNet())
    modules = {module.name: module for module in whole.modules}
    rows, depth = [], 0
    for published in TABLE_1:
        module = modules[published.name]
        layers = [layer for layer in whole.layers if layer.module == module.name and layer.macs]
        weights = sum(layer.parameters - layer.output_shape[-1] for layer in layers)
        filters = _filters(module.name, {layer.name: layer.output_shape[-1] for layer in layers})
        rows.append(Row(published, filters, max(module.depth - depth, 0), weights, module))
        depth = module.depth
    return Table1(tuple(rows), whole)


def _filters(module: str, channels: dict[str, int]) -> tuple[int | None, ...]:
    if module == "conv2":  # the paper has its reduction in the columns of a module
        channels = {"conv2_3x3_reduce": channels["conv2_reduce"], "conv2_3x3": channels["conv2"]}
    return tuple(channels.get(f"{module}_{column}") for column in COLUMNS)


def _millions(part: Amounts) -> str:
    return f"{part.macs / M:,.1f} M"
