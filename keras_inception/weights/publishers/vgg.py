"""Names of VGG."""

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers.namemap import (
    KERAS_VARIABLES,
    TORCH_VARIABLES,
    WHOLE_NAMES,
    NameMap,
    torch_unit,
)

CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # in blocks 1 to 5
TOP = {r"classifier\.0": "fc1", r"classifier\.3": "fc2", r"classifier\.6": "predictions"}


def _indices(network: str, step: int) -> dict[int, str]:
    """Our convolutions by their index in torchvision's ``features``: `step` layers a convolution, one a pooling."""
    index, found = 0, {}
    for block, count in enumerate(CONVOLUTIONS[network], 1):
        for number in range(1, count + 1):
            found[index] = f"block{block}_conv{number}"
            index += step
        index += 1
    return found


def _torchvision(network: str) -> NameMap:
    """Convolution and ReLU."""
    convolutions = {rf"features\.{index}": name for index, name in _indices(network, 2).items()}
    return NameMap({**convolutions, **TOP}, TORCH_VARIABLES, preprocessing=NAMED["torchvision"])


def _torchvision_bn(network: str) -> NameMap:
    """Convolution, batch norm and ReLU; "weight" is a kernel in the one and a scale in the other."""
    names: dict[str, str] = {}
    for index, name in _indices(network, 3).items():
        names |= torch_unit(rf"features\.{index}", rf"features\.{index + 1}", name)
    for theirs, ours in TOP.items():
        names |= {rf"{theirs}\.weight": f"{ours}/kernel", rf"{theirs}\.bias": f"{ours}/bias"}
    return NameMap(names, WHOLE_NAMES, preprocessing=NAMED["torchvision"])


def _keras() -> NameMap:
    """Our own, without batch norm."""
    return NameMap(
        {r"(block\d_conv\d|fc[12]|predictions)": r"\1"},
        KERAS_VARIABLES,
        preprocessing=NAMED["keras_caffe"],
        channels_last=True,
    )


PUBLISHERS: dict[str, dict[str, NameMap]] = {
    network: {
        "torchvision": _torchvision(network),
        "torchvision_bn": _torchvision_bn(network),
        "keras": _keras(),
    }
    for network in CONVOLUTIONS
}
