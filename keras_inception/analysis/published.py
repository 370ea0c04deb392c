"""Table 1 of Going Deeper with Convolutions (Szegedy et al., 1409.4842), next to the counts of its columns.

The published params are in units of 1,024 weights without biases, and the ops in millions of multiply-adds. Counted
that way, most rows agree. The others are marked, and their published figures never replace computed ones.
"""

from dataclasses import dataclass
from typing import NamedTuple

from keras_inception.analysis.costs import Amounts, Cost, aligned, cost
from keras_inception.figures import sides
from keras_inception.utils.names import bare

K, M = 1024, 1e6
TOLERANCE = 0.03  # a little more than rounding
COLUMNS = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")


class Published(NamedTuple):
    """A row as printed. Its filters are `keras_inception.models.googlenet.MODULES`. None marks an empty cell.

    Attributes:
        name: name of our module.
        kind: type of the layer, as printed.
        patch: kernel size and stride.
        output: (height, width, channels).
        depth: number of weighted layers.
        params: published weights in units of 1,024.
        ops: published multiply-adds in millions.
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
    """A row of Table 1 and the figures counted in the layers built from it.

    Attributes:
        published: the row as printed.
        filters: filters of the built layers, in the order of `COLUMNS`; None where the row has no such layer.
        depth: number of weighted layers that the row adds to the longest path through the network.
        weights: number of weights without biases, to compare with `published.params`.
        counted: the row's module in `Cost.modules`, biases included.
    """

    published: Published
    filters: tuple[int | None, ...]
    depth: int
    weights: int
    counted: Amounts

    @property
    def deviating(self) -> tuple[str, ...]:
        """Return which of "params" and "ops" differ by more than 3 % from the counts of the row's own columns."""
        printed = {"params": self.published.params, "ops": self.published.ops}
        counted = {"params": self.weights / K, "ops": self.counted.macs / M}
        return tuple(name for name, value in printed.items() if value and abs(value / counted[name] - 1) > TOLERANCE)


@dataclass(frozen=True)
class Table1:
    """Table 1, published and counted; printing shows both. Dropout and softmax, which cost nothing, are left out."""

    rows: tuple[Row, ...]
    whole: Cost

    @property
    def deviating(self) -> tuple[Row, ...]:
        """Return the rows with a published figure that does not follow from their own columns."""
        return tuple(row for row in self.rows if row.deviating)

    def table(self) -> str:
        """Return the table as text, with the counted figure to the right of each published one."""
        names = [column.replace("x", "×").replace("_", " ") for column in COLUMNS]
        header = ["type", "patch", "output", "depth", *names, "params", "counted", "ops", "counted"]
        params, ops = (sum(getattr(row.published, name) or 0 for row in self.rows) for name in ("params", "ops"))
        weights = sum(row.weights for row in self.rows)
        total = ["sum", *[""] * 9, f"{params:,.1f} K", f"{weights / K:,.1f} K", f"{ops:,.0f} M", _millions(self.whole)]
        notes = [
            f"* {row.published.kind}: published {row.published.params:g} K and {row.published.ops:g} M; "
            f"its columns come to {row.counted.parameters:,} parameters with biases and {row.counted.macs:,} MACs"
            for row in self.deviating
        ]
        return "\n".join([aligned([header, *map(self._line, self.rows), total]), *notes])

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
    """Build the paper's GoogLeNet and compare its cost with Table 1, row by row."""
    from keras_inception.models import GoogLeNet

    whole = cost(GoogLeNet())
    modules = {bare(module.name): module for module in whole.modules}
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
    if module == "conv2":  # the paper prints its reduction in the columns of a module
        channels = {"conv2_3x3_reduce": channels["conv2_reduce"], "conv2_3x3": channels["conv2"]}
    return tuple(channels.get(f"{module}_{column}") for column in COLUMNS)


def _millions(part: Amounts) -> str:
    return f"{part.macs / M:,.1f} M"
