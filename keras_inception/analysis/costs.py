"""The cost of a network: parameters, multiply-adds, activations and memory, by layer, module and stage."""

import dataclasses
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import keras

from keras_inception.analysis.grouping import Group, modules
from keras_inception.figures import cost_picture, sides
from keras_inception.graph import Graph, walk
from keras_inception.utils.checks import check_one_of

BYTES = {"float32": 4, "float16": 2, "int8": 1}
SUMMED = ("parameters", "trainable", "macs", "lrn_macs", "activations")  # fields of `Amounts` that add up


class Memory(NamedTuple):
    """Memory in bytes: all weights, and the activations at their peak."""

    weights: int
    activations: int


@dataclass(frozen=True)
class Amounts:
    """Cost of a part of a network, for one image.

    Attributes:
        name: name of the part.
        output_shape: shape without the batch dimension.
        parameters: number of weights, moving statistics of batch norm included.
        trainable: number of trainable weights.
        macs: multiply-adds of convolution and dense layers. LRN, pooling, batch norm and biases are not counted.
        lrn_macs: multiply-adds of the banded convolutions in our LRN, which `macs` leaves out.
        activations: output values of convolution and dense layers, as Radosavovic et al. count them (2003.13678).
        peak: largest number of activation values in memory at once if layers run in Keras' order, with batch norm, ReLU
            and the like in place. A runtime may need less, or scratch memory in addition.
        depth: number of convolution and dense layers on the longest path from the input to the end of the part.
    """

    name: str
    output_shape: tuple[int, ...]
    parameters: int
    trainable: int
    macs: int
    lrn_macs: int
    activations: int
    peak: int
    depth: int

    def memory(self, dtype: str = "float32") -> Memory:
        """Return the memory if all weights and activations have one data type.

        Args:
            dtype: ``"float32"``, ``"float16"`` or ``"int8"``.

        Raises:
            ValueError: `dtype` is none of these.
        """
        check_one_of("dtype", dtype, BYTES)
        return Memory(self.parameters * BYTES[dtype], self.peak * BYTES[dtype])


@dataclass(frozen=True)
class Layer(Amounts):
    """Cost of one call of a layer. Shared weights are counted at the first call.

    Attributes:
        kind: name of the layer's class.
        module: name of the module that it belongs to.
        stage: name of the stage that it belongs to.
    """

    kind: str
    module: str
    stage: str


@dataclass(frozen=True)
class Module(Amounts):
    """Cost of layers that belong together (`analysis.grouping`): ``inception_4e``, ``conv1``, ``block1``."""

    layers: tuple[str, ...]
    stage: str


@dataclass(frozen=True)
class Stage(Amounts):
    """Consecutive modules whose outputs have the same height and width, such as ``14×14``.

    Everything after the last feature map is the stage ``head``. Every auxiliary head is a stage of its own.
    """

    modules: tuple[str, ...]


class Share(NamedTuple):
    """A stage's share of all multiply-adds, 0 to 1."""

    stage: str
    macs: int
    share: float


@dataclass(frozen=True)
class Budget:
    """A network's multiply-adds compared with a budget. True if they are within the budget.

    Attributes:
        budget: allowed multiply-adds.
        macs: counted multiply-adds.
        stages: shares of the stages, largest first.
    """

    budget: float
    macs: int
    stages: tuple[Share, ...]

    @property
    def holds(self) -> bool:
        """Return whether the multiply-adds are within the budget."""
        return self.macs <= self.budget

    def __bool__(self) -> bool:
        return self.holds

    def __str__(self) -> str:
        verdict = "Within the budget" if self.holds else "Over the budget"
        shares = ", ".join(f"{stage} {share:.1%}" for stage, macs, share in self.stages if macs) or "none"
        used = f"{self.macs:,} of {self.budget:,.0f} MACs, {self.macs / self.budget:.1%} of it"
        return f"{verdict}: {used}\nby stage: {shares}"

    def to_dict(self) -> dict:
        """Return all values as a dictionary that ``json.dumps`` accepts."""
        return {**dataclasses.asdict(self), "holds": self.holds, "stages": [share._asdict() for share in self.stages]}


@dataclass(frozen=True)
class Cost(Amounts):
    """Cost of a network. Prints as a table by module.

    Attributes:
        input_shape: shape of the first input without the batch dimension.
        layers: layers in the order in which Keras runs them.
        modules: modules in the order of the network, auxiliary heads last. Their values sum to the network's, except
            for `peak` and `depth`, which are maxima.
        stages: stages, in the same order and with the same sums.
        uncounted: layers that multiply by weights but are neither convolution nor dense layers. Their multiply-adds are
            unknown and not included in `macs`.
    """

    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...] = field(repr=False)
    modules: tuple[Module, ...] = field(repr=False)
    stages: tuple[Stage, ...] = field(repr=False)
    uncounted: tuple[str, ...]

    def within(self, budget: float) -> Budget:
        """Compare the multiply-adds with a budget, and list each stage's share of them.

        Raises:
            ValueError: `budget` is not a positive number.
        """
        if not isinstance(budget, (int, float)) or not 0 < budget < math.inf:
            raise ValueError(f"`budget` must be a positive number of multiply-adds. Received: budget={budget!r}")
        shares = (Share(stage.name, stage.macs, _share(stage.macs, self.macs)) for stage in self.stages)
        return Budget(budget, self.macs, tuple(sorted(shares, key=lambda share: -share.macs)))

    def table(self, by: str = "modules") -> str:
        """Return a table as text, with a row for each of the ``"layers"``, ``"modules"`` or ``"stages"``."""
        check_one_of("by", by, ("layers", "modules", "stages"))
        header = (by[:-1], "output", "parameters", "MACs", "share", "activations", "peak")
        table = aligned([header, *map(self._line, getattr(self, by)), self._line(self, "all")])
        return "\n".join([f"{self.name}, input {sides(self.input_shape)}", table, *self._notes()])

    def plot(self, path: str | os.PathLike) -> None:
        """Plot multiply-adds and parameters by module to a PNG file."""
        cost_picture(self, path)

    def to_dict(self) -> dict:
        """Return all values, and the memory in bytes by data type, as a dictionary that ``json.dumps`` accepts."""
        return {**dataclasses.asdict(self), "memory": {dtype: self.memory(dtype)._asdict() for dtype in BYTES}}

    def __str__(self) -> str:
        return self.table()

    def _line(self, part: Amounts, name: str = "") -> tuple[str, ...]:
        macs = (f"{part.macs:,}", f"{_share(part.macs, self.macs):.1%}")
        memory = (f"{part.activations:,}", f"{part.peak:,}")
        return (name or part.name, sides(part.output_shape), f"{part.parameters:,}", *macs, *memory)

    def _notes(self) -> Iterator[str]:
        yield f"{self.depth} convolution and dense layers deep; {self.trainable:,} of the parameters are trainable"
        for dtype in ("float32", "int8"):
            weights, activations = self.memory(dtype)
            yield f"memory in {dtype}: {weights / 1e6:.1f} MB of weights, {activations / 1e6:.1f} MB of activations"
        if self.lrn_macs:
            yield f"not counted: {self.lrn_macs:,} MACs of LRN's banded convolutions"
        if self.uncounted:
            yield f"not counted because unknown: the MACs of {', '.join(self.uncounted)}"


def cost(model: keras.Model, *, input_shape: Sequence[int] | None = None) -> Cost:
    """Count the cost of a functional or sequential Keras model for one image, layer by layer.

    Layers of nested models are counted one by one, as ``{model}/{layer}``.

    Args:
        model: the model.
        input_shape: (height, width, channels) of the image; None uses the model's own input.

    Raises:
        ValueError: `model` is not functional, its input size is unknown and `input_shape` is not given, or it cannot
            take `input_shape`.
    """
    graph = walk(model, input_shape)
    groups = [(group, _stage(group)) for group in modules(graph)]
    layers = _layers(graph, {id(step): (group.name, stage) for group, stage in groups for step in group.steps})
    parts = []
    for group, stage in groups:
        members = [layers[id(step)] for step in group.steps]
        parts.append(Module(**_sum(group.name, members), layers=tuple(part.name for part in members), stage=stage))
    rows = [list(row) for _, row in itertools.groupby(parts, key=lambda part: part.stage)]
    main = sum(not group.auxiliary for group, _ in groups)
    return Cost(
        **_sum(model.name, parts[main:] + parts[:main]),  # the main output last
        input_shape=tuple(graph.inputs[0].shape[1:]),
        layers=tuple(layers.values()),
        modules=tuple(parts),
        stages=tuple(Stage(**_sum(row[0].stage, row), modules=tuple(part.name for part in row)) for row in rows),
        uncounted=tuple(step.name for step in graph.steps if step.macs is None),
    )


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text as a table whose header is the first row. All columns but the first are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _layers(graph: Graph, places: Mapping[int, tuple[str, str]]) -> dict[int, Layer]:
    """Return the cost of each step by the step's `id`, given the names of its module and stage."""
    layers = {}
    depths = {id(x): 0 for x in graph.inputs}
    for step, peak in zip(graph.steps, graph.peaks(), strict=True):
        macs = step.macs or 0
        depth = max(depths[id(x)] for x in step.inputs) + (macs > 0)
        depths.update((id(x), depth) for x in step.outputs)
        module, stage = places[id(step)]
        layers[id(step)] = Layer(
            name=step.name,
            output_shape=tuple(step.outputs[0].shape[1:]),
            parameters=step.parameters,
            trainable=step.trainable,
            macs=macs,
            lrn_macs=step.lrn_macs,
            activations=step.values if macs else 0,
            peak=peak,
            depth=depth,
            kind=step.kind,
            module=module,
            stage=stage,
        )
    return layers


def _stage(group: Group) -> str:
    if group.auxiliary:
        return group.name
    shape = group.steps[-1].outputs[0].shape[1:]
    height_width = shape[1:] if keras.config.image_data_format() == "channels_first" else shape[:-1]
    return sides(height_width) if max(height_width, default=1) > 1 else "head"


def _sum(name: str, parts: Sequence[Amounts]) -> dict:
    """Return the fields of `Amounts` for several parts combined."""
    summed = {figure: sum(getattr(part, figure) for part in parts) for figure in SUMMED}
    largest = {figure: max(getattr(part, figure) for part in parts) for figure in ("peak", "depth")}
    return {"name": name, "output_shape": parts[-1].output_shape, **summed, **largest}


def _share(macs: int, of: int) -> float:
    return macs / of if of else 0.0
