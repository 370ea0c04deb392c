"""Publishers of AlexNet."""

from keras_inception.preprocessing import NAMED
from keras_inception.weights.publishers import published
from keras_inception.weights.publishers.namemap import TORCH_VARIABLES, NameMap, names

TORCHVISION = NAMED["torchvision"]
TORCHVISION_NAMES = names(r"""
    features\.0=conv1 features\.3=conv2 features\.6=conv3 features\.8=conv4 features\.10=conv5
    classifier\.1=fc6 classifier\.4=fc7 classifier\.6=predictions
""")

PUBLISHERS = {"alexnet": {"torchvision": NameMap(TORCHVISION_NAMES, TORCH_VARIABLES, TORCHVISION)}}
PUBLISHED = (published.TORCHVISION.file("alexnet", "alexnet-owt-7be5be79.pth", TORCHVISION, 56.522, 79.066, 233.087),)
