"""The networks, one file per family, each imported when it is first used."""

from typing import TYPE_CHECKING

from keras_inception import registry
from keras_inception.utils import lazy

_HOMES = registry.public(__name__)

if TYPE_CHECKING:  # a test compares this list, which type checkers and editors read, with the registry
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

__getattr__, __dir__ = lazy.attach(__name__, _HOMES)
