"""Map publishers' tensor names to our ``layer/variable``, and their arrays to Keras' layout."""

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
    """One publisher's tensor names for one network: a layer name and a suffix for the variable.

    Attributes:
        layers: regular expressions for the publisher's layers, and our names for them.
        variables: the publisher's suffixes, and ours. Ours may select another layer (batch norm).
        preprocessing: the preprocessing that the publisher's network was trained with.
        transformed: the preprocessing with torchvision's ``transform_input``, if the publisher has that.
        channels_last: kernels are (height, width, in, out) and (in, out), as in Keras, not (out, in, height, width)
            and (out, in), as in torch and Caffe.
        background: class 0 is "background", as in TF-slim and in timm's conversions from it.
        counted: layers have Keras' default names, which are numbered across networks. In `layers`, numbers start at 0.
        first: the lowest number of each kind of layer in the file, if `counted`.
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
        """Return the map for a file with these names, whose counted layers may start at any number."""
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

        A background class is dropped if `shape` has no room for it. If the tensor does not fit, the result's shape
        differs from `shape`.

        Args:
            tensor: array in the publisher's layout.
            shape: shape of the variable that the tensor is for.
            flattened: (height, width, channels) of the flattened map that a dense kernel reads, if any. The kernel's
                rows are reordered from channels first to channels last.
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
    """Parse a table of ``theirs=ours`` pairs separated by whitespace."""
    return dict(pair.split("=") for pair in table.split())


def torch_unit(convolution: str, batch_norm: str, layer: str) -> dict[str, str]:
    """Return patterns (for `WHOLE_NAMES`) for the tensors of a torch convolution and its batch norm, with our names."""
    norm = {rf"{batch_norm}\.{theirs}": f"{layer}_bn/{ours}" for theirs, ours in TORCH_BATCH_NORM.items()}
    return {rf"{convolution}\.weight": f"{layer}/kernel", rf"{convolution}\.bias": f"{layer}/bias", **norm}


def keras_map(layers: Mapping[str, str], preprocessing: Preprocessing, convolutions: Iterable[str] = ()) -> NameMap:
    """Return the name map of a keras.applications network.

    Args:
        layers: patterns of layers with explicit names, and our names.
        preprocessing: the preprocessing that the network was trained with.
        convolutions: our names of the convolutions that are numbered, like their batch norms, in order.
    """
    counted = dict(enumerate(convolutions))
    kernels = {f"conv2d_{number}": name for number, name in counted.items()}
    norms = {f"batch_normalization_{number}": f"{name}_bn" for number, name in counted.items()}
    patterns = {**kernels, **norms, **layers}
    return NameMap(patterns, KERAS_VARIABLES, preprocessing, channels_last=True, counted=bool(counted))


def slim_map(scope: str, layers: Mapping[str, str], preprocessing: Preprocessing) -> NameMap:
    """Return the name map of a TF-slim network, whose variables are all in `scope`."""
    patterns = {f"{scope}/{theirs}": ours for theirs, ours in layers.items()}
    return NameMap(patterns, SLIM_VARIABLES, preprocessing, channels_last=True, background=True)


def listed(names: list[str], limit: int = 5) -> str:
    """Join the first few names, followed by the total count if there are more."""
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
# Keras' variable names, which are also ours.
VARIABLES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
KERAS_VARIABLES = {f"/{name}": f"/{name}" for name in VARIABLES}
# Suffixes for a map whose `layers` are whole names, including the variables.
WHOLE_NAMES = {"": ""}
OWN_NAME = "keras_inception"
OWN = keras_map({r"(.+)": r"\1"}, DEFAULT)
