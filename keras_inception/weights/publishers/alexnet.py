"""Publishers of AlexNet."""

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers.namemap import TORCH_VARIABLES, NameMap
from keras_inception.weights.publishers.published import torchvision_file

TORCHVISION = NameMap(
    {
        r"features\.0": "conv1",
        r"features\.3": "conv2",
        r"features\.6": "conv3",
        r"features\.8": "conv4",
        r"features\.10": "conv5",
        r"classifier\.1": "fc6",
        r"classifier\.4": "fc7",
        r"classifier\.6": "predictions",
    },
    TORCH_VARIABLES,
    preprocessing=NAMED["torchvision"],
)

PUBLISHERS = {"alexnet": {"torchvision": TORCHVISION}}
PUBLISHED = (
    torchvision_file("alexnet", "alexnet-owt-7be5be79.pth", TORCHVISION.preprocessing, 56.522, 79.066, mib=233.087),
)
