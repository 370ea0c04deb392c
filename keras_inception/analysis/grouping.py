"""Group a network's layers into modules: first by the graph, which works for any network, then by layer names.

Wherever the whole network passes through a single tensor, one module may end and the next begin. Between two such
tensors lies either a single layer or a set of branches, from split to join: an Inception module or a residual block.
Single layers are grouped by name: ``conv1_bn`` belongs to ``conv1``, and ``block1_conv1`` and ``block1_conv2`` form
``block1``. A network whose skip connections span nearly all of it, such as U-Net, has no such tensors and is a single
module. So is NASNet, whose cells read the two cells before them.
"""

import itertools
import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import keras
from keras import layers

from keras_inception.graph import Graph, Step

PADDINGS = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)


class Group(NamedTuple):
    """A module. `auxiliary` marks a head that is not on the path to the main output."""

    name: str
    steps: list[Step]
    auxiliary: bool = False


class _Unit(NamedTuple):
    """A single layer, or a set of branches."""

    name: str
    steps: list[Step]

    @property
    def branches(self) -> bool:
        """Return whether this is a set of branches."""
        return len(self.steps) > 1

    @property
    def follows(self) -> bool:
        """Return whether this is a normalization, activation, dropout or the like: no MACs, unchanged shape."""
        step = self.steps[0]
        shapes = {x.shape for x in (*step.inputs, *step.outputs)}
        return not self.branches and step.macs == 0 and len(shapes) == 1


def modules(graph: Graph) -> list[Group]:
    """Return the modules in the order of the network, then the auxiliary heads. Each step is in exactly one of them.

    The main output is the one with the most steps on its path.
    """
    paths = [_path_to(output, graph.steps) for output in graph.outputs]
    main = max(range(len(paths)), key=lambda index: len(paths[index]))
    groups = _modules(_units(paths[main], graph.inputs, graph.outputs[main]))
    placed = set(map(id, paths[main]))
    for path in paths:
        steps = [step for step in path if id(step) not in placed]
        placed.update(map(id, steps))
        if steps:
            groups.append(Group(steps[-1].name, steps, auxiliary=True))
    return groups


def _path_to(output: keras.KerasTensor, steps: Sequence[Step]) -> list[Step]:
    needed, path = {id(output)}, []
    for step in reversed(steps):
        if needed & set(map(id, step.outputs)):
            needed.update(map(id, step.inputs))
            path.append(step)
    return path[::-1]


def _units(steps: Sequence[Step], inputs: Sequence[keras.KerasTensor], output: keras.KerasTensor) -> list[_Unit]:
    """Split a network wherever everything downstream reads a single tensor."""
    readers = Counter(id(x) for step in steps for x in step.inputs)
    readers[id(output)] += 1
    open_ends = {id(x) for x in inputs if readers[id(x)]}
    found: list[list[Step]] = [[]]
    for step in steps:
        found[-1].append(step)
        readers.subtract(id(x) for x in step.inputs)
        open_ends.update(map(id, step.outputs))
        open_ends = {end for end in open_ends if readers[end] > 0}
        if len(open_ends) == 1 and open_ends <= set(map(id, step.outputs)):
            found.append([])
    found = [unit for unit in found if unit]
    named = [_Unit(_shared_name(unit), unit) for unit in found]
    counts = Counter(unit.name for unit in named if unit.branches)
    return [unit._replace(name=unit.steps[-1].name) if counts[unit.name] > 1 else unit for unit in named]


def _shared_name(steps: Sequence[Step]) -> str:
    """Return the prefix that the branches' names share, such as ``inception_3a``, or else the last name."""
    names = [step.name.split("_") for step in steps if not _is_automatic(step)]
    common = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*names, strict=False))
    return "_".join(parts[0] for parts in common) or steps[-1].name


def _is_automatic(step: Step) -> bool:
    """Return whether Keras chose the name, such as ``max_pooling2d_3``."""
    return bool(re.fullmatch(step.kind.lower() + r"\d*", step.name.rpartition("/")[2].replace("_", "")))


def _modules(units: Sequence[_Unit]) -> list[Group]:
    owners = {unit.name for unit in units}
    labels = _labels(units, owners)
    while apart := _apart(labels) & owners:  # a name that recurs elsewhere is no module
        owners -= apart
        labels = _labels(units, owners)
    groups = [list(group) for _, group in itertools.groupby(zip(labels, units, strict=True), key=lambda pair: pair[0])]
    labels = _stems([(group[0][0], [unit for _, unit in group]) for group in groups])
    joined: list[Group] = []
    padding: list[Step] = []  # belongs to the convolution or pooling that follows
    for label, members in itertools.groupby(zip(labels, groups, strict=True), key=lambda pair: pair[0]):
        steps = padding + [step for _, group in members for _, unit in group for step in unit.steps]
        padding = steps if all(isinstance(step.operation, PADDINGS) for step in steps) else []
        if not padding:
            joined.append(Group(label, steps))
    return [*joined, *(Group(step.name, [step]) for step in padding)]


def _labels(units: Sequence[_Unit], owners: Collection[str]) -> list[str]:
    """Return the name of the layer or branches that each unit belongs to: ``conv2`` for ``conv2_reduce``."""
    labels: list[str] = []
    for unit in units:
        label = unit.name
        if not unit.branches and not _is_automatic(unit.steps[0]):
            label = min((owner for owner in owners if label.startswith(f"{owner}_")), key=len, default=label)
        if label == unit.name and unit.follows and labels:
            label = labels[-1]
        labels.append(label)
    return labels


def _stems(groups: Sequence[tuple[str, Sequence[_Unit]]]) -> list[str]:
    """Return new names for groups of single layers: ``block1`` if there are ``block1_conv1`` and ``block1_pool``."""
    single = [
        sum(bool(step.macs) for unit in units for step in unit.steps) < 2
        and not any(unit.branches or _is_automatic(unit.steps[0]) for unit in units if unit.name == label)
        for label, units in groups
    ]
    labels = [label for label, _ in groups]
    stems = [label.rpartition("_")[0] if alone else "" for label, alone in zip(labels, single, strict=True)]
    kinds = {unit.steps[0].kind.lower() for _, units in groups for unit in units}  # "conv2d" is no module
    useless = {"", *kinds, *labels, *_apart(stems), *(stem for stem, count in Counter(stems).items() if count < 2)}
    return [label if stem in useless else stem for label, stem in zip(labels, stems, strict=True)]


def _apart(labels: Sequence) -> set:
    """Return the labels that occur in several separate places."""
    runs = Counter(label for label, _ in itertools.groupby(labels))
    return {label for label, count in runs.items() if count > 1}
