"""How a publisher names the tensors of a network, and how they are laid out."""

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from keras_inception.preprocessing import DEFAULT, Preprocessing

# Layers that have Keras' names: ``conv2d`` is the first of its kind in a process, ``conv2d_1`` the second.
COUNTED = re.compile(r"(conv2d|batch_normalization)(?:_(\d{1,9}))?/(\w+)")
# Inception-ResNet v2 has more patterns than `re` remembers.
_compiled = functools.cache(re.compile)


@dataclass(frozen=True)
class NameMap:
    """One publisher's tensors of one network: a layer's name, then an ending for the variable.

    Attributes:
        layers: regular expressions of the publisher's layers, and our names for them.
        variables: endings, and what ours end with. An ending may belong to another of our layers (batch norm).
        preprocessing: what the publisher feeds the network.
        transformed: the same with torchvision's ``transform_input``, where there is such a thing.
        channels_last: kernels are Keras' (height, width, in, out) and (in, out), and not torch's and Caffe's
            (out, in, height, width) and (out, in).
        background: class 0 is "background", a class that the other publishers do not have (TF-slim, and what timm
            took from it).
        counted: layers have Keras' names, whose numbers go on from network to network; `layers` has them from 0 on.
        first: of a file with such names, the least number of each kind of layer.
    """

    layers: Mapping[str, str]
    variables: Mapping[str, str]
    preprocessing: Preprocessing
    transformed: Preprocessing | None = None
    channels_last: bool = False
    background: bool = False
    counted: bool = False
    first: Mapping[str, int] = field(default_factory=dict)

    def for_file(self, names: Iterable[str]) -> "NameMap":
        """The map for a file with these names, whose counted layers may begin at any number."""
        first: dict[str, int] = {}
        for match in filter(None, map(COUNTED.fullmatch, names if self.counted else ())):
            number = int(match[2] or 0)
            first[match[1]] = min(number, first.get(match[1], number))
        return dataclasses.replace(self, first=first)

    def ours(self, name: str) -> str | None:
        """Our ``layer/variable`` for a tensor's name; None if the publisher's network has no such tensor."""
        if self.counted and (match := COUNTED.fullmatch(name)):
            kind, number, variable = match.groups()
            name = f"{kind}_{int(number or 0) - self.first.get(kind, 0)}/{variable}"
        for ending, variable in self.variables.items():
            if name.endswith(ending):
                for pattern, layer in self.layers.items():
                    if match := _compiled(pattern).fullmatch(name.removesuffix(ending)):
                        return match.expand(layer) + variable
        return None

    def in_keras_layout(
        self, tensor: np.ndarray, shape: tuple[int, ...], flattened: tuple[int, ...] | None = None
    ) -> np.ndarray:
        """A tensor in Keras' layout for a variable of `shape`, as far as its own allows.

        Output channels go last. If the input is a `flattened` map, (height, width, channels), its features come as
        channel, height, width and go to height, width, channel. A background class is cut off if `shape` has no place
        for it.
        """
        tensor = self._output_channels_last(tensor, shape, flattened)
        if self.background and tensor.shape == (*shape[:-1], shape[-1] + 1):
            tensor = tensor[..., 1:]
        return tensor

    def _output_channels_last(
        self, tensor: np.ndarray, shape: tuple[int, ...], flattened: tuple[int, ...] | None
    ) -> np.ndarray:
        if self.channels_last:
            if tensor.ndim == 4 and tensor.shape[:2] == (1, 1) and len(shape) == 2:  # a classifier by 1×1 convolution
                tensor = tensor[0, 0]
            return tensor
        while tensor.ndim > len(shape) and tensor.shape[0] == 1:  # old Caffe files write every blob with four axes
            tensor = tensor[0]
        if tensor.ndim == 2 and flattened:
            height, width, channels = flattened
            if tensor.shape[1] == height * width * channels:
                tensor = tensor.reshape(len(tensor), channels, height, width).transpose(2, 3, 1, 0)
                return tensor.reshape(height * width * channels, tensor.shape[-1])
        return tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T


def torch_unit(convolution: str, batch_norm: str, layer: str) -> dict[str, str]:
    """Patterns of the whole names, for `WHOLE_NAMES`, of torch's convolution and its batch norm, and our names."""
    norm = {rf"{batch_norm}\.{theirs}": f"{layer}_bn/{ours}" for theirs, ours in TORCH_BATCH_NORM.items()}
    return {rf"{convolution}\.weight": f"{layer}/kernel", rf"{convolution}\.bias": f"{layer}/bias", **norm}


def listed(names: list[str], limit: int = 5) -> str:
    """The first few of many names, and how many there are."""
    shown = ", ".join(f"{name:.80}" for name in names[:limit])
    return shown if len(names) <= limit else f"{shown}, … ({len(names)} in all)"


TORCH_VARIABLES = {
    ".conv.weight": "/kernel",
    ".bn.weight": "_bn/gamma",
    ".bn.bias": "_bn/beta",
    ".bn.running_mean": "_bn/moving_mean",
    ".bn.running_var": "_bn/moving_variance",
    ".weight": "/kernel",
    ".bias": "/bias",
}
TORCH_BATCH_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
CAFFE_VARIABLES = {"/0": "/kernel", "/1": "/bias"}
SLIM_VARIABLES = {
    "/weights": "/kernel",
    "/biases": "/bias",
    "/BatchNorm/beta": "_bn/beta",
    "/BatchNorm/moving_mean": "_bn/moving_mean",
    "/BatchNorm/moving_variance": "_bn/moving_variance",
}
# The names of Keras' variables, which are ours.
KERAS_VARIABLES = {
    f"/{name}": f"/{name}" for name in ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
}
# Of a map whose `layers` are whole names, variables and all.
WHOLE_NAMES = {"": ""}
OWN = NameMap({r"(.+)": r"\1"}, KERAS_VARIABLES, preprocessing=DEFAULT, channels_last=True)
