"""Map the names of publishers' tensors to our ``layer/variable``, and their arrays to Keras' layout."""

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from keras_inception.preprocessing import DEFAULT, Preprocessing

# Layers with Keras' default names: ``conv2d`` is the first of its kind in a process, ``conv2d_1`` the second.
COUNTED = re.compile(r"(conv2d|batch_normalization)(?:_(\d{1,9}))?/(\w+)")
# Inception-ResNet v2 has more patterns than `re` caches.
_compiled = functools.cache(re.compile)


@dataclass(frozen=True)
class NameMap:
    """The names that one publisher gives the tensors of one network: a layer's name and an ending for the variable.

    Attributes:
        layers: regular expressions for the publisher's layers, and our names for them.
        variables: endings, and the endings of ours. An ending may belong to another of our layers (batch norm).
        preprocessing: the preprocessing that the publisher's network was trained with.
        transformed: the preprocessing with torchvision's ``transform_input``, if the publisher has that.
        channels_last: kernels are (height, width, in, out) and (in, out), as in Keras, not (out, in, height, width)
            and (out, in), as in torch and Caffe.
        background: class 0 is "background", as in TF-slim and in what timm took from it.
        counted: layers have Keras' default names, whose numbers run on from network to network. In `layers`, they
            start at 0.
        first: the lowest number of each kind of layer in a file with such names.
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
        """Return the map for a file with these names, whose counted layers may begin at any number."""
        first: dict[str, int] = {}
        for match in filter(None, map(COUNTED.fullmatch, names if self.counted else ())):
            number = int(match[2] or 0)
            first[match[1]] = min(number, first.get(match[1], number))
        return dataclasses.replace(self, first=first)

    def ours(self, name: str) -> str | None:
        """Return our ``layer/variable`` for a tensor's name; None if the publisher's network has no such tensor."""
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
        """Return a tensor in Keras' layout, output channels last.

        A background class is cut off if `shape` has no place for it. The result has another shape than `shape` if the
        tensor does not fit.

        Args:
            tensor: as the publisher has it.
            shape: shape of the variable that the tensor is for.
            flattened: (height, width, channels) of the map that a dense kernel reads, if it reads a flattened one. Its
                rows are reordered from channel, height, width to height, width, channel.
        """
        tensor = self._output_channels_last(tensor, shape, flattened)
        if self.background and tensor.shape == (*shape[:-1], shape[-1] + 1):
            tensor = tensor[..., 1:]
        return tensor

    def _output_channels_last(
        self, tensor: np.ndarray, shape: tuple[int, ...], flattened: tuple[int, ...] | None
    ) -> np.ndarray:
        if self.channels_last:
            if tensor.ndim == 4 and tensor.shape[:2] == (1, 1) and len(shape) == 2:  # a classifier as a 1×1 convolution
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


def names(table: str) -> dict[str, str]:
    """Return the pairs of a table of ``theirs=ours``, separated by white space."""
    return dict(pair.split("=") for pair in table.split())


def torch_unit(convolution: str, batch_norm: str, layer: str) -> dict[str, str]:
    """Return patterns, for `WHOLE_NAMES`, of the tensors of torch's convolution and its batch norm, and our names."""
    norm = {rf"{batch_norm}\.{theirs}": f"{layer}_bn/{ours}" for theirs, ours in TORCH_BATCH_NORM.items()}
    return {rf"{convolution}\.weight": f"{layer}/kernel", rf"{convolution}\.bias": f"{layer}/bias", **norm}


def keras_map(layers: Mapping[str, str], preprocessing: Preprocessing, convolutions: Iterable[str] = ()) -> NameMap:
    """Return the map of a network of keras.applications.

    Args:
        layers: patterns of layers with names, and our names.
        preprocessing: the preprocessing that the network was trained with.
        convolutions: our names of the convolutions that have numbers for names, as have their batch norms.
    """
    counted = dict(enumerate(convolutions))
    kernels = {f"conv2d_{number}": name for number, name in counted.items()}
    norms = {f"batch_normalization_{number}": f"{name}_bn" for number, name in counted.items()}
    patterns = {**kernels, **norms, **layers}
    return NameMap(patterns, KERAS_VARIABLES, preprocessing, channels_last=True, counted=bool(counted))


def slim_map(scope: str, layers: Mapping[str, str], preprocessing: Preprocessing) -> NameMap:
    """Return the map of a network of TF-slim, whose variables are all in a `scope`."""
    patterns = {f"{scope}/{theirs}": ours for theirs, ours in layers.items()}
    return NameMap(patterns, SLIM_VARIABLES, preprocessing, channels_last=True, background=True)


def listed(names: list[str], limit: int = 5) -> str:
    """Return the first few names as text, and how many there are if that is not all."""
    shown = ", ".join(f"{name:.80}" for name in names[:limit])
    return shown if len(names) <= limit else f"{shown}, … ({len(names)} in all)"


TORCH_BATCH_NORM = names("weight=gamma bias=beta running_mean=moving_mean running_var=moving_variance")
TORCH_VARIABLES = {
    ".conv.weight": "/kernel",
    **{f".bn.{theirs}": f"_bn/{ours}" for theirs, ours in TORCH_BATCH_NORM.items()},
    **names(".weight=/kernel .bias=/bias"),
}
CAFFE_VARIABLES = names("/0=/kernel /1=/bias")
SLIM_VARIABLES = {
    **names("/weights=/kernel /biases=/bias"),
    **{f"/BatchNorm/{name}": f"_bn/{name}" for name in ("beta", "moving_mean", "moving_variance")},
}
# The names of Keras' variables, which are ours too.
VARIABLES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
KERAS_VARIABLES = {f"/{name}": f"/{name}" for name in VARIABLES}
# The endings in a map whose `layers` are whole names, including the variables.
WHOLE_NAMES = {"": ""}
OWN_NAME = "keras_inception"
OWN = keras_map({r"(.+)": r"\1"}, DEFAULT)
