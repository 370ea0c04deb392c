"""Networks made slim: whole filters are cut, over all branches, and what is left is an ordinary, smaller network.

An Inception network is a table of filters; with fewer of them it is another row of the same table. Which filters go is
decided over the whole network: by `CRITERIA`, in groups of 8 as runtimes like them, those first that matter least for
the multiply-adds that they cost.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_inception.exporting.rewrites import fold_batch_norm
from keras_inception.graph import Step, multiply_adds, walk
from keras_inception.layers import LocalResponseNormalization

MULTIPLE = 8  # filters are cut by so many
STAYS = 1 / 4  # of a layer's filters, at least: what each is worth tells nothing of the last ones

# What gives each channel back as it is, or does something to each by itself.
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
    LocalResponseNormalization,  # its neighbours become others
)


@dataclass(eq=False)
class Group:
    """Convolutions whose outputs are added up: of all of them the same filters must go.

    Attributes:
        size: how many filters each has.
        convolutions: names of the layers.
        fixed: why none may go; None if they may.
    """

    size: int
    convolutions: list[str]
    fixed: str | None = None


class Channels(NamedTuple):
    """What a tensor's channels are: the filters of these groups, one after the other, each `places` times over."""

    groups: tuple[int, ...]
    places: int = 1


class Anatomy:
    """Which filters of a functional network depend on which.

    Raises:
        ValueError: the network is not functional, or has no convolution.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self._walk = walk(model)
        self._groups: list[Group] = []
        self._channels: dict[int, Channels] = {}
        for x in self._walk.inputs:
            self._channels[id(x)] = self._new(x.shape[-1], [], "it is the picture")
        for step in self._walk.steps:
            self._visit(step)
        for x in self._walk.outputs:
            self._fix(self._channels[id(x)], "it is an output")
        if not any(group.convolutions for group in self._groups):
            raise ValueError(f"`model` must have a convolution to slim. Received: {model.name}, which has none")

    @property
    def steps(self) -> tuple[Step, ...]:
        return self._walk.steps

    def of(self, x: keras.KerasTensor) -> list[Group]:
        """The groups that a tensor's channels belong to, in their order."""
        return [self._groups[index] for index in self._channels[id(x)].groups]

    def places(self, x: keras.KerasTensor) -> int:
        """How often each channel stands in a flattened map; 1 of a map."""
        return self._channels[id(x)].places

    def groups(self) -> list[Group]:
        """Those of convolutions, each once."""
        return [group for group in dict.fromkeys(self._groups) if group.convolutions]

    def _new(self, size: int, convolutions: list[str], fixed: str | None = None) -> Channels:
        self._groups.append(Group(size, convolutions, fixed))
        return Channels((len(self._groups) - 1,))

    def _visit(self, step: Step) -> None:
        layer, given = step.operation, [self._channels[id(x)] for x in step.inputs]
        if isinstance(layer, layers.Conv2D) and layer.groups == 1 and not isinstance(layer, layers.DepthwiseConv2D):
            made = self._new(layer.filters, [step.name])
        elif isinstance(layer, layers.Dense):
            made = self._new(layer.units, [], "it is of a dense layer")
        elif isinstance(layer, CHANNELWISE):
            made = given[0]
        elif isinstance(layer, layers.Concatenate):
            made = Channels(tuple(index for each in given for index in each.groups))
        elif isinstance(layer, layers.Add) and len({each.groups for each in map(self._sizes, given)}) == 1:
            made = self._joined(given)
        elif isinstance(layer, layers.Flatten):
            made = given[0]._replace(places=int(np.prod(step.inputs[0].shape[1:-1])))
        else:  # whatever it does to the channels, they must all be there
            for each in given:
                self._fix(each, f"{step.name} needs all of it")
            made = self._new(step.outputs[0].shape[-1], [], f"it is of {step.name}")
        self._channels[id(step.outputs[0])] = made

    def _sizes(self, channels: Channels) -> Channels:
        return Channels(tuple(self._groups[index].size for index in channels.groups), channels.places)

    def _joined(self, given: Sequence[Channels]) -> Channels:
        for indices in zip(*(each.groups for each in given), strict=True):
            first, *others = (self._groups[index] for index in indices)
            for other in others:
                if other is first:
                    continue
                first.convolutions += other.convolutions
                first.fixed = first.fixed or other.fixed
                self._groups = [first if group is other else group for group in self._groups]
        return given[0]

    def _fix(self, channels: Channels, reason: str) -> None:
        for index in channels.groups:
            self._groups[index].fixed = self._groups[index].fixed or reason

    def macs(self, kept: Mapping[str, int]) -> int:
        """Multiply-adds of the network if the named convolutions keep so many filters."""
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
        return self.places(x) * sum(
            kept.get(group.convolutions[0], group.size) if group.convolutions else group.size for group in self.of(x)
        )


Scores = dict[str, np.ndarray]  # of each convolution's filters, by its name


def taylor(model: keras.Model, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> Scores:
    """How much the loss would change without a filter, to first order (Molchanov et al., 1611.06440).

    Their equation 8 takes the mean over a filter's map, and scales each layer afterwards. The sum is what the loss
    changes by, so that layers whose maps are of different sizes can be compared as they are.

    Args:
        batches: inputs, and classes by number.
    """
    ends = _ends(model)
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
    """The sum of a filter's weights without their signs, batch norm folded (Li et al., 1608.08710, section 3.1)."""
    folded = fold_batch_norm(model)
    kernels = {name: folded.get_layer(name).kernel.numpy() for name in _ends(model)}
    return {name: _of_length_1(np.abs(kernel).sum(axis=(0, 1, 2))) for name, kernel in kernels.items()}


def batch_norm_scale(model: keras.Model, batches: Iterable = ()) -> Scores:
    """The scale of the batch norm after a filter (Liu et al., 1708.06519, section 3).

    Raises:
        ValueError: a convolution has none.
    """
    scores = {}
    for step in (graph := walk(model)).steps:
        if isinstance(step.operation, layers.Conv2D) and not isinstance(step.operation, layers.DepthwiseConv2D):
            norm = graph.only_reader(step.outputs[0])
            if norm is None or getattr(norm.operation, "gamma", None) is None:
                raise ValueError(f"the scale of batch norms is no measure here: {step.name} has none")
            scores[step.name] = _of_length_1(np.abs(norm.operation.gamma.numpy()))
    return scores


CRITERIA: dict[str, Callable[..., Scores]] = {"taylor": taylor, "l1": l1, "batch_norm_scale": batch_norm_scale}


def _of_length_1(scores: np.ndarray) -> np.ndarray:
    """Magnitudes are compared within a layer; between layers, as shares of it."""
    return scores / max(float(np.sqrt((scores**2).sum())), 1e-12)


def _ends(model: keras.Model) -> dict[str, str]:
    """Each convolution, and the layer that ends its unit: its ReLU, its batch norm or itself."""
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


def least(anatomy: Anatomy) -> int:
    """The multiply-adds that are left if every convolution that can be cut has as few filters as it may have."""
    return anatomy.macs({name: _fewest(group) for group in _free(anatomy) for name in group.convolutions})


def _free(anatomy: Anatomy) -> list[Group]:
    return [group for group in anatomy.groups() if group.fixed is None and group.size > MULTIPLE]


def _fewest(group: Group) -> int:
    return math.ceil(group.size * STAYS / MULTIPLE) * MULTIPLE


def choose(anatomy: Anatomy, scores: Scores, macs: float) -> dict[str, np.ndarray]:
    """The filters to keep of each convolution, so that the network has at most so many multiply-adds.

    Args:
        macs: as a number, or up to 1 as a share of the network's.

    Returns:
        Their numbers, rising, by the convolution's name; those that keep all are left out.

    Raises:
        ValueError: it cannot be made so small.
    """
    whole = anatomy.macs({})
    target = macs * whole if macs <= 1 else macs
    free = _free(anatomy)
    order = {id(group): np.argsort(_together(group, scores), kind="stable") for group in free}
    kept = {id(group): group.size for group in free}

    def widths() -> dict[str, int]:
        return {name: kept[id(group)] for group in free for name in group.convolutions}

    now = whole
    while now > target:
        best: tuple[float, Group, int, int] | None = None
        for group in free:
            before = kept[id(group)]
            after = (before - 1) // MULTIPLE * MULTIPLE
            if after < _fewest(group):
                continue
            lost = order[id(group)][group.size - before : group.size - after]
            kept[id(group)] = after
            left = anatomy.macs(widths())
            kept[id(group)] = before
            price = float(_together(group, scores)[lost].sum()) / (now - left)
            if best is None or price < best[0]:
                best = price, group, after, left
        if best is None:
            raise ValueError(
                f"{anatomy.model.name} cannot be made so small: with {STAYS:.0%} of the filters in every convolution "
                f"that can be cut it has {now / whole:.1%} of its multiply-adds. Received: macs={macs:g}"
            )
        _, group, kept[id(group)], now = best
    return {
        name: np.sort(order[id(group)][group.size - kept[id(group)] :])
        for group in free
        if kept[id(group)] < group.size
        for name in group.convolutions
    }


def _together(group: Group, scores: Scores) -> np.ndarray:
    return np.sum([scores[name] for name in group.convolutions], axis=0)


def slim(anatomy: Anatomy, kept: Mapping[str, np.ndarray]) -> keras.Model:
    """The network with these filters of the named convolutions alone, and all filters of the others."""
    model = anatomy.model

    def narrowed(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        return type(layer).from_config({**config, "filters": len(kept[layer.name])} if layer.name in kept else config)

    copy = keras.models.clone_model(model, clone_function=narrowed)
    carry(anatomy, kept, copy)
    return copy


def carry(anatomy: Anatomy, kept: Mapping[str, np.ndarray], target: keras.Model) -> None:
    """Give a network of fewer filters the weights of the one that it was cut from."""

    def numbers(x: keras.KerasTensor) -> np.ndarray:
        """Which channels of a tensor are left."""
        found, start = [], 0
        for group in anatomy.of(x):
            left = kept.get(group.convolutions[0]) if group.convolutions else None
            found.append(start + (np.arange(group.size) if left is None else left))
            start += group.size
        channels = np.concatenate(found)
        return np.concatenate([place * start + channels for place in range(anatomy.places(x))])

    for step in anatomy.steps:
        layer, weights = step.operation, getattr(step.operation, "weights", ())
        if not weights:
            continue
        into, out = numbers(step.inputs[0]), numbers(step.outputs[0])
        arrays = layer.get_weights()
        if isinstance(layer, layers.DepthwiseConv2D):
            arrays = [arrays[0][:, :, into], *(bias[out] for bias in arrays[1:])]
        elif isinstance(layer, (layers.Conv2D, layers.Dense)):
            arrays = [arrays[0][..., into, :][..., out], *(bias[out] for bias in arrays[1:])]
        elif isinstance(layer, layers.BatchNormalization):
            arrays = [array[into] for array in arrays]
        target.get_layer(step.name).set_weights(arrays)


def settle(model: keras.Model, batches: Iterable[np.ndarray]) -> None:
    """Give the batch norms the statistics that these inputs have in the network as it is.

    Those that training keeps go after the network's own by hundreds of steps, and a network that filters were cut from
    changes fast.
    """
    norms = {layer: layer.momentum for layer in model.layers if isinstance(layer, layers.BatchNormalization)}
    for number, x in enumerate(batches if norms else ()):
        for norm in norms:
            norm.momentum = number / (number + 1)  # which makes a mean of the moving average
        model(x, training=True)
    for norm, momentum in norms.items():
        norm.momentum = momentum
