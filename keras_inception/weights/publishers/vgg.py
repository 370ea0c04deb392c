"""Publishers of VGG."""

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers import published
from keras_inception.weights.publishers.namemap import (
    TORCH_VARIABLES,
    WHOLE_NAMES,
    NameMap,
    keras_map,
    names,
    torch_unit,
)

# Number of convolutions in each block: Table 1 of the paper, columns D and E.
CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
TORCHVISION, KERAS = NAMED["torchvision"], NAMED["keras_caffe"]
TOP = names(r"classifier\.0=fc1 classifier\.3=fc2 classifier\.6=predictions")


def _indices(network: str, step: int) -> dict[int, str]:
    """Return our convolutions by index in torchvision's ``features``: `step` per convolution, one per pooling."""
    index, found = 0, {}
    for block, count in enumerate(CONVOLUTIONS[network], 1):
        for number in range(1, count + 1):
            found[index] = f"block{block}_conv{number}"
            index += step
        index += 1
    return found


def _torchvision_bn(network: str) -> dict[str, str]:
    """Return the names of vgg16_bn and vgg19_bn, in which "weight" is a kernel or a batch norm's scale."""
    found: dict[str, str] = {}
    for index, name in _indices(network, 3).items():
        found |= torch_unit(rf"features\.{index}", rf"features\.{index + 1}", name)
    for theirs, ours in TOP.items():
        found |= {rf"{theirs}\.weight": f"{ours}/kernel", rf"{theirs}\.bias": f"{ours}/bias"}
    return found


def _maps(network: str) -> dict[str, NameMap]:
    convolutions = {rf"features\.{index}": name for index, name in _indices(network, 2).items()}
    return {
        "torchvision": NameMap({**convolutions, **TOP}, TORCH_VARIABLES, TORCHVISION),
        "torchvision_bn": NameMap(_torchvision_bn(network), WHOLE_NAMES, TORCHVISION),
        "keras": keras_map(names(r"(block\d_conv\d|fc[12]|predictions)=\1"), KERAS),  # our names, without batch norm
    }


PUBLISHERS = {network: _maps(network) for network in CONVOLUTIONS}
TORCHVISION_BN = published.TORCHVISION._replace(name="torchvision_bn")
KERAS_VGG = published.KERAS._replace(licence="CC-BY-4.0")
MD5_16, MD5_19 = "md5:64373286793e3c8b2b4e3219cbf3544b", "md5:cbe5617147190e668d6c5d5026f83318"
PUBLISHED = (
    published.TORCHVISION.file("vgg16", "vgg16-397923af.pth", TORCHVISION, 71.592, 90.382, 527.796),
    TORCHVISION_BN.file("vgg16", "vgg16_bn-6c64b313.pth", TORCHVISION, 73.360, 91.516, 527.866),
    KERAS_VGG.file("vgg16", "tf_kernels", KERAS, 71.3, 90.1, 528, hash=MD5_16),
    published.TORCHVISION.file("vgg19", "vgg19-dcbb9e9d.pth", TORCHVISION, 72.376, 90.876, 548.051),
    TORCHVISION_BN.file("vgg19", "vgg19_bn-c79401a0.pth", TORCHVISION, 74.218, 91.842, 548.143),
    KERAS_VGG.file("vgg19", "tf_kernels", KERAS, 71.3, 90.0, 549, hash=MD5_19),
)
