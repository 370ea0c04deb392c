"""The Inception networks in Keras: from the papers to the phone.

Nothing heavy is imported until it is used: ``import keras_inception`` takes milliseconds.
"""

from typing import TYPE_CHECKING

from keras_inception.utils import lazy

if TYPE_CHECKING:
    from keras_inception import analysis as analysis
    from keras_inception.exporting.exporter import export as export
    from keras_inception.imagenet import decode_predictions as decode_predictions
    from keras_inception.imagenet import preprocess_input as preprocess_input
    from keras_inception.layers import LocalResponseNormalization as LocalResponseNormalization
    from keras_inception.models import VGG16 as VGG16
    from keras_inception.models import VGG19 as VGG19
    from keras_inception.models import AlexNet as AlexNet
    from keras_inception.models import BNInception as BNInception
    from keras_inception.models import GoogLeNet as GoogLeNet
    from keras_inception.models import InceptionResNetV2 as InceptionResNetV2
    from keras_inception.models import InceptionV2 as InceptionV2
    from keras_inception.models import InceptionV3 as InceptionV3
    from keras_inception.models import InceptionV4 as InceptionV4
    from keras_inception.models import NetworkInNetwork as NetworkInNetwork
    from keras_inception.models import Plain34 as Plain34
    from keras_inception.models import ResNet34 as ResNet34
    from keras_inception.models.inference import features as features
    from keras_inception.models.inference import inference_model as inference_model
    from keras_inception.preprocessing import Preprocessing as Preprocessing
    from keras_inception.registry import create as create
    from keras_inception.registry import list_models as list_models
    from keras_inception.runs import load as load
    from keras_inception.training import Recipe as Recipe
    from keras_inception.training import train as train

__version__ = "0.1.0"

# Public name -> the module that has it.
_HOMES = {
    "AlexNet": "models",
    "BNInception": "models",
    "GoogLeNet": "models",
    "InceptionResNetV2": "models",
    "InceptionV2": "models",
    "InceptionV3": "models",
    "InceptionV4": "models",
    "LocalResponseNormalization": "layers",
    "NetworkInNetwork": "models",
    "Plain34": "models",
    "Preprocessing": "preprocessing",
    "Recipe": "training",
    "ResNet34": "models",
    "VGG16": "models",
    "VGG19": "models",
    "analysis": "analysis",
    "create": "registry",
    "decode_predictions": "imagenet",
    "export": "exporting.exporter",
    "features": "models.inference",
    "inference_model": "models.inference",
    "list_models": "registry",
    "load": "runs",
    "preprocess_input": "imagenet",
    "train": "training",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604
__getattr__, __dir__ = lazy.attach(__name__, _HOMES)
