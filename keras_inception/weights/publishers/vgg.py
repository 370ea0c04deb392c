"""Publishers of VGG."""

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers.namemap import (
    KERAS_VARIABLES,
    TORCH_VARIABLES,
    WHOLE_NAMES,
    NameMap,
    torch_unit,
)
from keras_inception.weights.publishers.published import keras_file, torchvision_file

# Number of convolutions in each block: Table 1 of the paper, columns D and E.
CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
TORCHVISION, KERAS = NAMED["torchvision"], NAMED["keras_caffe"]
TOP = {r"classifier\.0": "fc1", r"classifier\.3": "fc2", r"classifier\.6": "predictions"}


def _indices(network: str, step: int) -> dict[int, str]:
    """Return our convolutions by index in torchvision's ``features``: `step` layers a convolution, one a pooling."""
    index, found = 0, {}
    for block, count in enumerate(CONVOLUTIONS[network], 1):
        for number in range(1, count + 1):
            found[index] = f"block{block}_conv{number}"
            index += step
        index += 1
    return found


def _torchvision(network: str) -> NameMap:
    """Return the map of vgg16 and vgg19: convolution and ReLU."""
    convolutions = {rf"features\.{index}": name for index, name in _indices(network, 2).items()}
    return NameMap({**convolutions, **TOP}, TORCH_VARIABLES, preprocessing=TORCHVISION)


def _torchvision_bn(network: str) -> NameMap:
    """Return the map of vgg16_bn and vgg19_bn: convolution, batch norm and ReLU.

    "weight" is a kernel in the convolution and a scale in the batch norm.
    """
    names: dict[str, str] = {}
    for index, name in _indices(network, 3).items():
        names |= torch_unit(rf"features\.{index}", rf"features\.{index + 1}", name)
    for theirs, ours in TOP.items():
        names |= {rf"{theirs}\.weight": f"{ours}/kernel", rf"{theirs}\.bias": f"{ours}/bias"}
    return NameMap(names, WHOLE_NAMES, preprocessing=TORCHVISION)


def _keras() -> NameMap:
    """Return the map of keras.applications: our own names, without batch norm."""
    return NameMap(
        {r"(block\d_conv\d|fc[12]|predictions)": r"\1"},
        KERAS_VARIABLES,
        preprocessing=KERAS,
        channels_last=True,
    )


PUBLISHERS = {
    network: {
        "torchvision": _torchvision(network),
        "torchvision_bn": _torchvision_bn(network),
        "keras": _keras(),
    }
    for network in CONVOLUTIONS
}
PUBLISHED = (
    torchvision_file("vgg16", "vgg16-397923af.pth", TORCHVISION, 71.592, 90.382, mib=527.796),
    torchvision_file(
        "vgg16", "vgg16_bn-6c64b313.pth", TORCHVISION, 73.360, 91.516, mib=527.866, publisher="torchvision_bn"
    ),
    keras_file("vgg16", "64373286793e3c8b2b4e3219cbf3544b", 528, KERAS, 71.3, 90.1, licence="CC-BY-4.0"),
    torchvision_file("vgg19", "vgg19-dcbb9e9d.pth", TORCHVISION, 72.376, 90.876, mib=548.051),
    torchvision_file(
        "vgg19", "vgg19_bn-c79401a0.pth", TORCHVISION, 74.218, 91.842, mib=548.143, publisher="torchvision_bn"
    ),
    keras_file("vgg19", "cbe5617147190e668d6c5d5026f83318", 549, KERAS, 71.3, 90.0, licence="CC-BY-4.0"),
)
