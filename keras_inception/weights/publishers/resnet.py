"""Publishers of ResNet-34; nobody has published weights of the plain network."""

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers import published
from keras_inception.weights.publishers.namemap import WHOLE_NAMES, NameMap, torch_unit

BLOCKS = (3, 4, 6, 3)  # number of blocks in conv2 to conv5: Table 1 of the paper, 34 layers


def _names() -> dict[str, str]:
    names = torch_unit("conv1", "bn1", "conv1")
    for layer, count in enumerate(BLOCKS, 1):  # torchvision's layer1 is conv2
        for number in range(count):
            theirs, ours = rf"layer{layer}\.{number}\.", f"conv{layer + 1}_{number + 1}"
            names |= torch_unit(f"{theirs}conv1", f"{theirs}bn1", f"{ours}_1")
            names |= torch_unit(f"{theirs}conv2", f"{theirs}bn2", f"{ours}_2")
            if number == 0 and layer > 1:
                names |= torch_unit(rf"{theirs}downsample\.0", rf"{theirs}downsample\.1", f"{ours}_shortcut")
    return {**names, r"fc\.weight": "predictions/kernel", r"fc\.bias": "predictions/bias"}


TORCHVISION = NAMED["torchvision"]
GLUON = TORCHVISION.replace(interpolation="bicubic")  # timm's weights

# timm uses the same tensor names.
PUBLISHERS = {"resnet34": {"torchvision": NameMap(_names(), WHOLE_NAMES, TORCHVISION)}}
GLUON_ADDRESS = published.GITHUB + "pytorch-pretrained-gluonresnet/releases/download/{file}"
TIMM = published.TIMM._replace(address=GLUON_ADDRESS)
PUBLISHED = (
    published.TORCHVISION.file("resnet34", "resnet34-b627a593.pth", TORCHVISION, 73.314, 91.420, 83.275),
    TIMM.file("resnet34", "v0.1/gluon_resnet34_v1b-c6d82d59.pth", GLUON, 74.578, 91.984),
)
