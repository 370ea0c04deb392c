"""The networks, one file per family; each is imported when it is first used."""

from typing import TYPE_CHECKING

from keras_inception.utils import lazy

if TYPE_CHECKING:
    from keras_inception.models.alexnet import AlexNet as AlexNet
    from keras_inception.models.bn_inception import BNInception as BNInception
    from keras_inception.models.googlenet import GoogLeNet as GoogLeNet
    from keras_inception.models.inception_v3 import InceptionV2 as InceptionV2
    from keras_inception.models.inception_v3 import InceptionV3 as InceptionV3
    from keras_inception.models.inception_v4 import InceptionResNetV2 as InceptionResNetV2
    from keras_inception.models.inception_v4 import InceptionV4 as InceptionV4
    from keras_inception.models.network_in_network import NetworkInNetwork as NetworkInNetwork
    from keras_inception.models.resnet import Plain34 as Plain34
    from keras_inception.models.resnet import ResNet34 as ResNet34
    from keras_inception.models.vgg import VGG16 as VGG16
    from keras_inception.models.vgg import VGG19 as VGG19

HOMES = {  # of each network, the file of its family
    "AlexNet": "alexnet",
    "BNInception": "bn_inception",
    "GoogLeNet": "googlenet",
    "InceptionResNetV2": "inception_v4",
    "InceptionV2": "inception_v3",
    "InceptionV3": "inception_v3",
    "InceptionV4": "inception_v4",
    "NetworkInNetwork": "network_in_network",
    "Plain34": "resnet",
    "ResNet34": "resnet",
    "VGG16": "vgg",
    "VGG19": "vgg",
}

__all__ = list(HOMES)
__getattr__, __dir__ = lazy.attach(__name__, HOMES)
