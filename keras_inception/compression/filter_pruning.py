"""Filter pruning: remove whole filters across all branches and get an ordinary, smaller network.

An Inception network is defined by its numbers of filters, so a pruned one is the same network with smaller numbers.
Filters are removed in multiples of 8, which kernels are fast with. Over the whole network, those that matter least
for the multiply-adds that they cost go first. Three functions score filters, as named by `job.CRITERIA`: `taylor`, `l1`
and `batch_norm_scale`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_inception.exporting.rewrites import fold_batch_norm
from keras_inception.graph import Step, multiply_adds, walk
from keras_inception.layers import LocalResponseNormalization

MULTIPLE = 8  # numbers of filters are rounded to multiples of it
MIN_KEPT = 1 / 4  # never prune a layer below this share of its filters: scores are unreliable there

# Layers that keep the channels in place and process each by itself.
CHANNELWISE = (
    layers.Activation,
    layers.AveragePooling2D,
    layers.BatchNormalization,
    layers.DepthwiseConv2D,
    layers.Dropout,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.LeakyReLU,
    layers.MaxPooling2D,
    layers.ReLU,
    layers.SpatialDropout2D,
    layers.UpSampling2D,
    layers.ZeroPadding2D,
    layers.AdaptiveAveragePooling2D,
    LocalResponseNormalization,  # reads neighboring channels, which pruning changes
)


@dataclass(eq=False)
class PruningGroup:
    """Convolutions whose outputs are added, so that the same filters must be removed from each.

    Attributes:
        size: number of filters of each convolution.
        convolutions: names of the layers.
        fixed: the reason why no filter may be removed, or None.
    """

    size: int
    convolutions: list[str]
    fixed: str | None = None


class ChannelSources(NamedTuple):
    """The filters that make a tensor's channels.

    Attributes:
        groups: indices of pruning groups, whose filters follow one another.
        positions: number of repetitions of the channels, once for each position of a flattened map.
    """

    groups: tuple[int, ...]
    positions: int = 1


class DependencyGraph:
    """The dependencies between the filters of a functional network.

    Args:
        model: the network.

    Attributes:
        model: the network.

    Raises:
        ValueError: the network is not functional, or has no convolution.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self._walk = walk(model)
        self._groups: list[PruningGroup] = []
        self._channels: dict[int, ChannelSources] = {}
        for x in self._walk.inputs:
            self._channels[id(x)] = self._new(x.shape[-1], [], "it is the image")
        for step in self._walk.steps:
            self._visit(step)
        for x in self._walk.outputs:
            self._fix(self._channels[id(x)], "it is an output")
        if not any(group.convolutions for group in self._groups):
            raise ValueError(f"`model` must have a convolution to prune. Received: {model.name}, which has none")

    @property
    def steps(self) -> tuple[Step, ...]:
        """Return the network's steps in the order of Keras."""
        return self._walk.steps

    def of(self, x: keras.KerasTensor) -> list[PruningGroup]:
        """Return the groups that make a tensor's channels, in channel order."""
        return [self._groups[index] for index in self._channels[id(x)].groups]

    def positions(self, x: keras.KerasTensor) -> int:
        """Return how often each channel occurs in a flattened map, 1 in an ordinary one."""
        return self._channels[id(x)].positions

    def groups(self) -> list[PruningGroup]:
        """Return the groups that contain convolutions, each once."""
        return [group for group in dict.fromkeys(self._groups) if group.convolutions]

    def _new(self, size: int, convolutions: list[str], fixed: str | None = None) -> ChannelSources:
        self._groups.append(PruningGroup(size, convolutions, fixed))
        return ChannelSources((len(self._groups) - 1,))

    def _visit(self, step: Step) -> None:
        layer, inputs = step.operation, [self._channels[id(x)] for x in step.inputs]
        if isinstance(layer, layers.Conv2D) and layer.groups == 1 and not isinstance(layer, layers.DepthwiseConv2D):
            made = self._new(layer.filters, [step.name])
        elif isinstance(layer, layers.Dense):
            made = self._new(layer.units, [], "a dense layer makes it")
        elif isinstance(layer, CHANNELWISE):
            made = inputs[0]
        elif isinstance(layer, layers.Concatenate):
            made = ChannelSources(tuple(index for each in inputs for index in each.groups))
        elif isinstance(layer, layers.Add) and len({each.groups for each in map(self._sizes, inputs)}) == 1:
            made = self._joined(inputs)
        elif isinstance(layer, layers.Flatten):
            made = inputs[0]._replace(positions=int(np.prod(step.inputs[0].shape[1:-1])))
        else:  # an unknown use of the channels, which may need all of them
            for each in inputs:
                self._fix(each, f"{step.name} needs all of its inputs")
            made = self._new(step.outputs[0].shape[-1], [], f"{step.name} makes it")
        self._channels[id(step.outputs[0])] = made

    def _sizes(self, channels: ChannelSources) -> ChannelSources:
        return ChannelSources(tuple(self._groups[index].size for index in channels.groups), channels.positions)

    def _joined(self, inputs: Sequence[ChannelSources]) -> ChannelSources:
        """Merge the groups of tensors that are added."""
        for indices in zip(*(each.groups for each in inputs), strict=True):
            first, *others = (self._groups[index] for index in indices)
            for other in others:
                if other is first:
                    continue
                first.convolutions += other.convolutions
                first.fixed = first.fixed or other.fixed
                self._groups = [first if group is other else group for group in self._groups]
        return inputs[0]

    def _fix(self, channels: ChannelSources, reason: str) -> None:
        for index in channels.groups:
            self._groups[index].fixed = self._groups[index].fixed or reason

    def macs(self, kept: Mapping[str, int]) -> int:
        """Return the multiply-adds of the network if the named convolutions keep these numbers of filters."""
        return sum(self._macs(step, kept) for step in self.steps)

    def _macs(self, step: Step, kept: Mapping[str, int]) -> int:
        layer = step.operation
        if not isinstance(layer, (layers.Conv2D, layers.Dense, layers.DepthwiseConv2D)):
            return 0
        inputs = self._width(step.inputs[0], kept)
        if isinstance(layer, layers.Dense):
            return inputs * layer.units
        outputs = self._width(step.outputs[0], kept)
        own = (outputs, 1) if isinstance(layer, layers.DepthwiseConv2D) else (inputs, outputs)
        return multiply_adds(step.outputs[0].shape[1:3], (*layer.kernel_size, *own))

    def _width(self, x: keras.KerasTensor, kept: Mapping[str, int]) -> int:
        return self.positions(x) * sum(
            kept.get(group.convolutions[0], group.size) if group.convolutions else group.size for group in self.of(x)
        )


Scores = dict[str, np.ndarray]  # convolution name -> a score for each filter; the lowest are pruned first


def taylor(model: keras.Model, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> Scores:
    """Score filters by how much the loss would change without them, to first order (Molchanov et al., 1611.06440).

    Their equation 8 averages over a filter's map and rescales each layer afterwards. The sum estimates the change of
    the loss itself, so layers with maps of different sizes can be compared without rescaling.

    Args:
        model: a classifier with one output of probabilities.
        batches: inputs and class indices.
    """
    ends = _last_layers(model)
    maps = {name: model.get_layer(end).output for name, end in ends.items()}
    probe = keras.Model(model.inputs[0], {**maps, "": model.output})
    sums = {name: np.zeros(model.get_layer(name).filters) for name in ends}
    for x, y in batches:
        with tf.GradientTape() as tape:
            maps = probe(x, training=False)
            losses = keras.losses.sparse_categorical_crossentropy(y, maps.pop(""))
            loss = tf.reduce_sum(losses)
        gradients = tape.gradient(loss, maps)
        for name, gradient in gradients.items():
            sums[name] += np.abs(tf.reduce_sum(maps[name] * gradient, axis=(1, 2)).numpy()).sum(axis=0)
    return sums


def l1(model: keras.Model, batches: Iterable = ()) -> Scores:
    """Score filters by the L1 norm of their weights with batch norm folded in (Li et al., 1608.08710, section 3.1)."""
    folded = fold_batch_norm(model)
    kernels = {name: folded.get_layer(name).kernel.numpy() for name in _last_layers(model)}
    return {name: _unit_norm(np.abs(kernel).sum(axis=(0, 1, 2))) for name, kernel in kernels.items()}


def batch_norm_scale(model: keras.Model, batches: Iterable = ()) -> Scores:
    """Score filters by the scale of the batch norm after them (Liu et al., 1708.06519, section 3).

    Raises:
        ValueError: a convolution has no batch norm with a scale.
    """
    scores = {}
    for step in (graph := walk(model)).steps:
        if isinstance(step.operation, layers.Conv2D) and not isinstance(step.operation, layers.DepthwiseConv2D):
            norm = graph.only_reader(step.outputs[0])
            if norm is None or getattr(norm.operation, "gamma", None) is None:
                raise ValueError(f"`batch_norm_scale` needs the scale of a batch norm: {step.name} has none")
            scores[step.name] = _unit_norm(np.abs(norm.operation.gamma.numpy()))
    return scores


def _unit_norm(scores: np.ndarray) -> np.ndarray:
    """Scale a layer's magnitudes to an L2 norm of 1, so that layers can be compared."""
    return scores / max(float(np.sqrt((scores**2).sum())), 1e-12)


def _last_layers(model: keras.Model) -> dict[str, str]:
    """Return the name of the last layer of each convolution's block: its ReLU, its batch norm or itself."""
    graph, ends = walk(model), {}
    for step in graph.steps:
        if type(step.operation) is not layers.Conv2D:
            continue
        end = step
        while (after := graph.only_reader(end.outputs[0])) and isinstance(
            after.operation, (layers.BatchNormalization, layers.ReLU, layers.Activation)
        ):
            end = after
        ends[step.name] = end.name
    return ends


def min_macs(graph: DependencyGraph) -> int:
    """Return the multiply-adds that are left if every group is pruned as far as `MIN_KEPT` allows."""
    return graph.macs({name: _min_filters(group) for group in _prunable(graph) for name in group.convolutions})


def _prunable(graph: DependencyGraph) -> list[PruningGroup]:
    return [group for group in graph.groups() if group.fixed is None and group.size > MULTIPLE]


def _min_filters(group: PruningGroup) -> int:
    return math.ceil(group.size * MIN_KEPT / MULTIPLE) * MULTIPLE


def choose(graph: DependencyGraph, scores: Scores, macs: float) -> dict[str, np.ndarray]:
    """Choose the filters to keep, so that the network has at most the given multiply-adds.

    Args:
        graph: the network's dependency graph.
        scores: a score for each filter of each convolution.
        macs: number of multiply-adds, or up to 1 a share of the network's.

    Returns:
        The rising indices of the kept filters for each convolution, such as ``{"conv2": array([0, 3, ...])}``.
        Convolutions that keep all of their filters are left out.

    Raises:
        ValueError: the network cannot be made that small.
    """
    whole = graph.macs({})
    target = macs * whole if macs <= 1 else macs
    groups = _prunable(graph)
    order = {id(group): np.argsort(_group_scores(group, scores), kind="stable") for group in groups}
    kept = {id(group): group.size for group in groups}

    def widths() -> dict[str, int]:
        return {name: kept[id(group)] for group in groups for name in group.convolutions}

    now = whole
    while now > target:
        best: tuple[float, PruningGroup, int, int] | None = None
        for group in groups:
            before = kept[id(group)]
            after = (before - 1) // MULTIPLE * MULTIPLE
            if after < _min_filters(group):
                continue
            lost = order[id(group)][group.size - before : group.size - after]
            kept[id(group)] = after
            left = graph.macs(widths())
            kept[id(group)] = before
            price = float(_group_scores(group, scores)[lost].sum()) / (now - left)
            if best is None or price < best[0]:
                best = price, group, after, left
        if best is None:
            raise ValueError(
                f"{graph.model.name} cannot be made that small: with {MIN_KEPT:.0%} of the filters in every prunable "
                f"convolution it has {now / whole:.1%} of its multiply-adds. Received: macs={macs:g}"
            )
        _, group, kept[id(group)], now = best
    return {
        name: np.sort(order[id(group)][group.size - kept[id(group)] :])
        for group in groups
        if kept[id(group)] < group.size
        for name in group.convolutions
    }


def _group_scores(group: PruningGroup, scores: Scores) -> np.ndarray:
    return np.sum([scores[name] for name in group.convolutions], axis=0)


def prune(graph: DependencyGraph, kept: Mapping[str, np.ndarray]) -> keras.Model:
    """Return a copy of the network in which the named convolutions keep only these filters, and the others all."""
    model = graph.model

    def narrowed(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        return type(layer).from_config({**config, "filters": len(kept[layer.name])} if layer.name in kept else config)

    copy = keras.models.clone_model(model, clone_function=narrowed)
    copy_kept_weights(graph, kept, copy)
    return copy


def copy_kept_weights(graph: DependencyGraph, kept: Mapping[str, np.ndarray], target: keras.Model) -> None:
    """Copy the weights of the kept filters to the pruned network `target`."""

    def channel_indices(x: keras.KerasTensor) -> np.ndarray:
        """Return the indices of a tensor's channels that are kept."""
        found, start = [], 0
        for group in graph.of(x):
            left = kept.get(group.convolutions[0]) if group.convolutions else None
            found.append(start + (np.arange(group.size) if left is None else left))
            start += group.size
        channels = np.concatenate(found)
        return np.concatenate([position * start + channels for position in range(graph.positions(x))])

    for step in graph.steps:
        layer, weights = step.operation, getattr(step.operation, "weights", ())
        if not weights:
            continue
        inputs, outputs = channel_indices(step.inputs[0]), channel_indices(step.outputs[0])
        arrays = layer.get_weights()
        if isinstance(layer, layers.DepthwiseConv2D):
            arrays = [arrays[0][:, :, inputs], *(bias[outputs] for bias in arrays[1:])]
        elif isinstance(layer, (layers.Conv2D, layers.Dense)):
            arrays = [arrays[0][..., inputs, :][..., outputs], *(bias[outputs] for bias in arrays[1:])]
        elif isinstance(layer, layers.BatchNormalization):
            arrays = [array[inputs] for array in arrays]
        target.get_layer(step.name).set_weights(arrays)


def recalibrate_batch_norm(model: keras.Model, batches: Iterable[np.ndarray]) -> None:
    """Recompute the moving statistics of all batch norms as the mean over these inputs.

    The averages of training lag behind by hundreds of steps, and a freshly pruned network changes fast.
    """
    norms = {layer: layer.momentum for layer in model.layers if isinstance(layer, layers.BatchNormalization)}
    for number, x in enumerate(batches if norms else ()):
        for norm in norms:
            norm.momentum = number / (number + 1)  # turns the moving average into a mean
        model(x, training=True)
    for norm, momentum in norms.items():
        norm.momentum = momentum
