"""Names of ResNet-34; nobody has published weights of the plain network."""

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers.namemap import WHOLE_NAMES, NameMap, torch_unit

BLOCKS = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}  # torchvision's names of conv2 to conv5


def _names() -> dict[str, str]:
    names = torch_unit("conv1", "bn1", "conv1")
    for stage, (layer, count) in enumerate(BLOCKS.items(), 2):
        for number in range(count):
            theirs, ours = rf"{layer}\.{number}\.", f"conv{stage}_{number + 1}"
            names |= torch_unit(f"{theirs}conv1", f"{theirs}bn1", f"{ours}_1")
            names |= torch_unit(f"{theirs}conv2", f"{theirs}bn2", f"{ours}_2")
            if number == 0 and layer != "layer1":
                names |= torch_unit(rf"{theirs}downsample\.0", rf"{theirs}downsample\.1", f"{ours}_shortcut")
    return {**names, r"fc\.weight": "predictions/kernel", r"fc\.bias": "predictions/bias"}


PUBLISHERS: dict[str, dict[str, NameMap]] = {
    "plain34": {},
    # timm's names are the same.
    "resnet34": {"torchvision": NameMap(_names(), WHOLE_NAMES, preprocessing=NAMED["torchvision"])},
}
