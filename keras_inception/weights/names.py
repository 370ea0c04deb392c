"""Name maps: from the names that publishers gave their tensors to ``layer/variable`` of our networks."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class NameMap(NamedTuple):
    """How one publisher names the tensors of one network: a layer's name, then an ending for the variable.

    Attributes:
        layers: regular expressions of the publisher's layers, and our names for them.
        variables: endings, and what ours end with. An ending may belong to another of our layers (batch norm).
    """

    layers: Mapping[str, str]
    variables: Mapping[str, str]

    def ours(self, name: str) -> str | None:
        """Our ``layer/variable`` for a tensor's name; None if the publisher's network has no such tensor."""
        for ending, variable in self.variables.items():
            if name.endswith(ending):
                for pattern, layer in self.layers.items():
                    if match := re.fullmatch(pattern, name.removesuffix(ending)):
                        return match.expand(layer) + variable
        return None


TORCHVISION_VARIABLES = {
    ".conv.weight": "/kernel",
    ".bn.weight": "_bn/gamma",
    ".bn.bias": "_bn/beta",
    ".bn.running_mean": "_bn/moving_mean",
    ".bn.running_var": "_bn/moving_variance",
    ".weight": "/kernel",
    ".bias": "/bias",
}
CAFFE_VARIABLES = {"/0": "/kernel", "/1": "/bias"}

PUBLISHERS = {
    "googlenet": {
        "torchvision": NameMap(
            {
                r"conv1": "conv1",
                r"conv2": "conv2_reduce",
                r"conv3": "conv2",
                r"inception(..)\.branch1": r"inception_\1_1x1",
                r"inception(..)\.branch2\.0": r"inception_\1_3x3_reduce",
                r"inception(..)\.branch2\.1": r"inception_\1_3x3",
                r"inception(..)\.branch3\.0": r"inception_\1_5x5_reduce",
                r"inception(..)\.branch3\.1": r"inception_\1_5x5",
                r"inception(..)\.branch4\.1": r"inception_\1_pool_proj",
                r"aux1\.conv": "aux_4a_conv",
                r"aux1\.fc1": "aux_4a_fc",
                r"aux1\.fc2": "aux_4a",
                r"aux2\.conv": "aux_4d_conv",
                r"aux2\.fc1": "aux_4d_fc",
                r"aux2\.fc2": "aux_4d",
                r"fc": "predictions",
            },
            TORCHVISION_VARIABLES,
        ),
        "caffe": NameMap(
            {
                r"conv1/7x7_s2": "conv1",
                r"conv2/3x3_reduce": "conv2_reduce",
                r"conv2/3x3": "conv2",
                r"inception_(..)/(\w+)": r"inception_\1_\2",
                r"loss1/conv": "aux_4a_conv",
                r"loss1/fc": "aux_4a_fc",
                r"loss1/classifier": "aux_4a",
                r"loss2/conv": "aux_4d_conv",
                r"loss2/fc": "aux_4d_fc",
                r"loss2/classifier": "aux_4d",
                r"loss3/classifier": "predictions",
            },
            CAFFE_VARIABLES,
        ),
    },
}


def publisher_of(names: Iterable[str], family: str) -> str:
    """The publisher who names tensors like most of these; ValueError if none does for half of them or more."""
    names = list(names)
    known = {
        publisher: sum(name_map.ours(name) is not None for name in names)
        for publisher, name_map in PUBLISHERS[family].items()
    }
    publisher = max(known, key=known.__getitem__)
    if 2 * known[publisher] <= len(names):
        allowed = ", ".join(known)
        raise ValueError(
            f"tensors must have the names of {family} as of {allowed}. Received: {listed(names) or 'none'}"
        )
    return publisher


def listed(names: list[str], limit: int = 5) -> str:
    """The first few of many names, and how many there are."""
    shown = ", ".join(f"{name:.80}" for name in names[:limit])
    return shown if len(names) <= limit else f"{shown}, … ({len(names)} in all)"
