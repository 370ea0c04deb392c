"""Filter pruning: remove whole filters across all branches, which leaves an ordinary, smaller network.

An Inception network is defined by its numbers of filters, so a pruned one is the same network with smaller numbers.
Every pruned layer keeps a multiple of 8 filters, for which kernels are fast. Filters with the lowest score per
multiply-add go first, across the whole network. Three functions score filters: `taylor`, `l1` and `batch_norm_scale`
(`job.CRITERIA`).
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_inception.exporting.rewrites import fold_batch_norm
from keras_inception.graph import Step, size, walk
from keras_inception.layers import LocalResponseNormalization
from keras_inception.models.flat_copy import flat_copy, is_flat

MULTIPLE = 8  # pruned layers keep a multiple of this many filters
MIN_KEPT = 1 / 4  # never prune a layer below this share of its filters: scores are unreliable there

# Layers that process each channel separately and keep the order of the channels. LRN also reads neighboring channels;
# pruning changes which channels are neighbors.
CHANNELWISE = (
    *(layers.Activation, layers.BatchNormalization, layers.DepthwiseConv2D, layers.LeakyReLU, layers.ReLU),
    *(layers.AveragePooling2D, layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D, layers.MaxPooling2D),
    *(layers.AdaptiveAveragePooling2D, layers.UpSampling2D, layers.ZeroPadding2D),
    *(layers.Dropout, layers.SpatialDropout2D, layers.GaussianDropout, layers.GaussianNoise),
    *(layers.Cropping2D, layers.Flatten, LocalResponseNormalization),
)
# Layers and operations of Keras that combine the same channel of several tensors, such as a map and its
# squeeze-and-excite factors, or a tensor with a number.
ELEMENTWISE = {"Add", "Average", "Divide", "Maximum", "Minimum", "Multiply", "Subtract", "TrueDivide"}
ACTIVATIONS = {
    *("Elu", "Gelu", "HardSigmoid", "HardSilu", "LeakyRelu", "Relu", "Relu6", "Selu", "Sigmoid", "Silu"),
    *("Softplus", "Softsign", "Tanh"),
}


@dataclass(eq=False)
class PruningGroup:
    """Convolutions whose outputs are added or multiplied, so that the same filters must be removed from each.

    Attributes:
        size: number of filters of each convolution.
        convolutions: names of the convolutions; empty if other layers produce the channels.
        fixed: reason why no filter may be removed, or None.
    """

    size: int
    convolutions: list[str]
    fixed: str | None = None

    @property
    def min_filters(self) -> int:
        """Return the smallest number of filters that `MIN_KEPT` allows."""
        return math.ceil(self.size * MIN_KEPT / MULTIPLE) * MULTIPLE

    def fix(self, reason: str) -> None:
        """Mark all filters to be kept. Only the first reason is recorded."""
        self.fixed = self.fixed or reason


class DependencyGraph:
    """The dependencies between the filters of a functional network.

    Args:
        model: the network. Nested models and separable convolutions are written as their layers (`models.flat_copy`).

    Attributes:
        model: the network, or its flat form.
        steps: the network's steps in the order in which Keras runs them.

    Raises:
        ValueError: the network is not functional, or has no convolution.
    """

    def __init__(self, model: keras.Model):
        is_plain = is_flat(model) and not any(isinstance(each, layers.SeparableConv2D) for each in model.layers)
        self.model = model if is_plain else flat_copy(model, simple=True)
        graph = walk(self.model)
        self.steps = graph.steps
        calls = Counter(id(step.operation) for step in graph.steps if getattr(step.operation, "weights", ()))
        self._shared = {place for place, count in calls.items() if count > 1}
        self._groups = {id(x): [PruningGroup(x.shape[-1], [], "it is the image")] for x in graph.inputs}
        for step in graph.steps:
            self._visit(step)
        for group in (group for x in graph.outputs for group in self.of(x)):
            group.fix("it is an output")
        if not self.groups():
            raise ValueError(f"`model` must have a convolution to prune. Received: {model.name}, which has none")
        self._costs = [(step.macs, self._scaled(step)) for step in graph.steps if step.macs]

    def of(self, x: keras.KerasTensor) -> list[PruningGroup]:
        """Return the groups that produce a tensor's channels, in channel order."""
        return self._groups[id(x)]

    def groups(self) -> list[PruningGroup]:
        """Return the groups that contain convolutions, each once."""
        found = dict.fromkeys(group for groups in self._groups.values() for group in groups)
        return [group for group in found if group.convolutions]

    def prunable(self) -> list[PruningGroup]:
        """Return the groups from which filters may be removed."""
        return [group for group in self.groups() if group.fixed is None and group.size > MULTIPLE]

    def macs(self, kept: Mapping[str, int]) -> int:
        """Return the multiply-adds of the network if the named convolutions keep these numbers of filters."""
        total = 0
        for macs, scaled in self._costs:
            whole, left = (math.prod(_width(groups, counts) for groups in scaled) for counts in ({}, kept))
            total += macs * left // whole
        return total

    def _scaled(self, step: Step) -> list[list[PruningGroup]]:
        """Return the groups of each tensor whose number of channels scales the multiply-adds of a step."""
        inputs = () if isinstance(step.operation, layers.DepthwiseConv2D) else step.inputs
        return [self.of(x) for x in (*inputs, *step.outputs)]

    def _visit(self, step: Step) -> None:
        """Find the groups that produce the channels of a step's output."""
        layer, inputs, output = step.operation, [self.of(x) for x in step.inputs], step.outputs[0]
        read = [group for groups in inputs for group in groups]
        keeps = isinstance(layer, CHANNELWISE) and getattr(layer, "depth_multiplier", 1) == 1
        concatenates = isinstance(layer, layers.Concatenate) and output.shape[-1] == _width(read, {})
        if id(layer) in self._shared:  # its weights belong to the channels of several tensors
            made = self._all_needed(step, read, f"{step.name} is called more than once")
        elif isinstance(layer, layers.Conv2D) and layer.groups == 1:
            made = [PruningGroup(layer.filters, [step.name])]
        elif isinstance(layer, layers.Dense):
            made = [PruningGroup(layer.units, [], "a dense layer makes it")]
        elif keeps or concatenates or _keeps_channels(step):
            made = read
        elif _combines(step) and len({tuple(group.size for group in groups) for groups in inputs}) == 1:
            made = self._joined(inputs)
        else:  # an unknown use of the channels, which may need all of them
            made = self._all_needed(step, read, f"{step.name} needs all of its inputs")
        self._groups[id(output)] = made

    def _all_needed(self, step: Step, read: list[PruningGroup], reason: str) -> list[PruningGroup]:
        """Keep all channels that a step reads and makes, and return the group of those that it makes."""
        for group in read:
            group.fix(reason)
        is_convolution = isinstance(step.operation, layers.Conv2D)
        makes = reason if is_convolution else f"{step.name} makes it"
        return [PruningGroup(step.outputs[0].shape[-1], [step.name] if is_convolution else [], makes)]

    def _joined(self, inputs: list[list[PruningGroup]]) -> list[PruningGroup]:
        """Merge the groups of tensors that are added or multiplied, and return the merged groups."""
        for first, *others in zip(*inputs, strict=True):
            for other in dict.fromkeys(others):
                if other is not first:
                    first.convolutions += other.convolutions
                    first.fixed = first.fixed or other.fixed
                    for groups in self._groups.values():
                        groups[:] = [first if group is other else group for group in groups]
        return inputs[0]


def _width(groups: Iterable[PruningGroup], kept: Mapping[str, int]) -> int:
    """Return the total number of channels of the groups if the named convolutions keep these numbers of filters."""
    return sum(kept.get(group.convolutions[0], group.size) if group.convolutions else group.size for group in groups)


def _keeps_channels(step: Step) -> bool:
    """Return True for a step without weights that treats all channels of its only tensor alike, in their order."""
    layer, x, output = step.operation, step.inputs[0], step.outputs[0]
    if len(step.inputs) != 1 or x.shape[-1] != output.shape[-1]:
        return False
    if isinstance(layer, layers.Reshape):  # such as of pooled channels to a map of one pixel
        return size(x) == x.shape[-1]
    if isinstance(layer, layers.Rescaling):
        return np.ndim(layer.scale) == np.ndim(layer.offset) == 0
    if isinstance(layer, keras.Layer) or step.kind not in ELEMENTWISE | ACTIVATIONS:
        return False
    arguments = keras.tree.flatten(layer._inbound_nodes[0].arguments.args)
    return all(isinstance(each, keras.KerasTensor) or np.ndim(each) == 0 for each in arguments)


def _combines(step: Step) -> bool:
    """Return True for a layer or operation of Keras that combines several tensors channel by channel."""
    is_known = type(step.operation).__module__.startswith("keras.") and step.kind in ELEMENTWISE
    return is_known and len(step.inputs) > 1


Scores = dict[str, np.ndarray]  # convolution name -> a score for each filter; the lowest are pruned first


def taylor(model: keras.Model, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> Scores:
    """Score filters by how much the loss would change without them, to first order (Molchanov et al., 1611.06440).

    Their equation 8 averages over a filter's feature map and then rescales each layer. The sum, used here, estimates
    the change of the loss itself, so layers with maps of different sizes can be compared without rescaling.

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
            loss = tf.reduce_sum(keras.losses.sparse_categorical_crossentropy(y, maps.pop("")))
        for name, gradient in tape.gradient(loss, maps).items():
            sums[name] += np.abs(tf.reduce_sum(maps[name] * gradient, axis=(1, 2)).numpy()).sum(axis=0)
    return sums


def l1(model: keras.Model, batches: Iterable = ()) -> Scores:
    """Score filters by the L1 norm of their weights with batch norm folded in (Li et al., 1608.08710, section 3.1)."""
    convolutions = [layer for layer in fold_batch_norm(model).layers if type(layer) is layers.Conv2D]
    return {layer.name: _unit_norm(np.abs(layer.kernel.numpy()).sum(axis=(0, 1, 2))) for layer in convolutions}


def batch_norm_scale(model: keras.Model, batches: Iterable = ()) -> Scores:
    """Score filters by the scale of the batch norm that follows (Liu et al., 1708.06519, section 3).

    Raises:
        ValueError: a convolution has no batch norm with a scale.
    """
    scores = {}
    for step in (graph := walk(model)).steps:
        if isinstance(step.operation, layers.Conv2D):
            norm = graph.only_reader(step.outputs[0])
            if norm is None or getattr(norm.operation, "gamma", None) is None:
                raise ValueError(f"`batch_norm_scale` needs a batch norm scale: {step.name} has none")
            scores[step.name] = _unit_norm(np.abs(norm.operation.gamma.numpy()))
    return scores


def _unit_norm(scores: np.ndarray) -> np.ndarray:
    """Scale a layer's magnitudes to an L2 norm of 1, so that layers can be compared."""
    return scores / max(float(np.sqrt((scores**2).sum())), 1e-12)


def _last_layers(model: keras.Model) -> dict[str, str]:
    """Return the name of the last layer of each convolution's block: its ReLU, its batch norm or itself."""
    graph, ends = walk(model), {}
    later = (layers.BatchNormalization, layers.ReLU, layers.Activation)
    for step in graph.steps:
        if type(step.operation) is layers.Conv2D:
            end = step
            while (after := graph.only_reader(end.outputs[0])) and isinstance(after.operation, later):
                end = after
            ends[step.name] = end.name
    return ends


def min_macs(graph: DependencyGraph) -> int:
    """Return the multiply-adds that are left if every group is pruned as far as `MIN_KEPT` allows."""
    return graph.macs({name: group.min_filters for group in graph.prunable() for name in group.convolutions})


def choose(graph: DependencyGraph, scores: Scores, macs: float) -> dict[str, np.ndarray]:
    """Choose the filters to keep, so that the network has at most the given multiply-adds.

    Args:
        graph: the network's dependency graph.
        scores: a score for each filter of each convolution.
        macs: target number of multiply-adds, or a share of the network's if at most 1.

    Returns:
        The sorted indices of the kept filters for each convolution, such as ``{"conv2": array([0, 3, ...])}``.
        Convolutions that keep all of their filters are left out.

    Raises:
        ValueError: the target cannot be reached, or no filters can be pruned.
    """
    now = whole = graph.macs({})
    target = macs * whole if macs <= 1 else macs
    groups = graph.prunable()
    if not groups:
        raise ValueError(f"no filters of {graph.model.name} can be pruned: {_reasons(graph)}")
    totals = {group: np.sum([scores[name] for name in group.convolutions], axis=0) for group in groups}
    order = {group: np.argsort(totals[group], kind="stable") for group in groups}
    sizes = {group: group.size for group in groups}
    while now > target:
        choices = []
        for group, before in sizes.items():
            after = (before - 1) // MULTIPLE * MULTIPLE
            if after >= group.min_filters:
                changed = {**sizes, group: after}
                left = graph.macs({name: changed[group] for group in groups for name in group.convolutions})
                lost = totals[group][order[group][group.size - before : group.size - after]]
                choices.append((float(lost.sum()) / (now - left), group, after, left))
        if not choices:
            raise ValueError(
                f"{graph.model.name} cannot be pruned that far: with {MIN_KEPT:.0%} of the filters in every prunable "
                f"convolution, it has {now / whole:.1%} of its multiply-adds. Received: macs={macs:g}"
            )
        _, group, sizes[group], now = min(choices, key=lambda choice: choice[0])
    kept = {group: np.sort(order[group][group.size - size :]) for group, size in sizes.items() if size < group.size}
    return {name: indices for group, indices in kept.items() for name in group.convolutions}


def _reasons(graph: DependencyGraph) -> str:
    """Return in one line why the groups of a network keep all filters."""
    groups = graph.groups()
    reasons = [f"{group.convolutions[0]}: {group.fixed or f'it has {MULTIPLE} filters or fewer'}" for group in groups]
    return "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")


def prune(graph: DependencyGraph, kept: Mapping[str, np.ndarray]) -> keras.Model:
    """Return a copy of the network, weights included, in which the named convolutions keep only these filters."""

    def narrowed(layer: keras.Operation) -> keras.Operation:
        config = layer.get_config()
        if layer.name in kept:
            config["filters"] = len(kept[layer.name])
        elif isinstance(layer, layers.Reshape) and layer.name in reshaped:
            config["target_shape"] = (*layer.target_shape[:-1], reshaped[layer.name])
        return type(layer).from_config(config)

    def is_kept(group: PruningGroup) -> np.ndarray:
        every = np.arange(group.size)
        return np.isin(every, kept.get(group.convolutions[0], every) if group.convolutions else every)

    def kept_channels(x: keras.KerasTensor) -> np.ndarray:
        """Return a mask of a tensor's channels, which a flattened map repeats for each of its positions."""
        mask = np.concatenate([is_kept(group) for group in graph.of(x)])
        return np.tile(mask, x.shape[-1] // len(mask))

    reshaped = {
        step.name: int(kept_channels(step.outputs[0]).sum())
        for step in graph.steps
        if isinstance(step.operation, layers.Reshape) and _keeps_channels(step)
    }
    copy = keras.models.clone_model(graph.model, clone_function=narrowed)
    for step in graph.steps:
        if not getattr(step.operation, "weights", ()):
            continue
        inputs, outputs = kept_channels(step.inputs[0]), kept_channels(step.outputs[0])
        arrays = step.operation.get_weights()
        if not (inputs.all() and outputs.all()):
            last = slice(None) if isinstance(step.operation, layers.DepthwiseConv2D) else outputs
            arrays = [a[outputs] if a.ndim == 1 else a[..., inputs, :][..., last] for a in arrays]
        copy.get_layer(step.name).set_weights(arrays)
    return copy
