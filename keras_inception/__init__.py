"""The Inception networks in Keras: from the papers to the phone.

Heavy modules are imported on first use: ``import keras_inception`` takes milliseconds.
"""

from typing import TYPE_CHECKING

from keras_inception import registry
from keras_inception.utils import lazy
from keras_inception.version import __version__

if TYPE_CHECKING:
    from keras_inception import analysis as analysis
    from keras_inception.checking.check import check as check
    from keras_inception.compression.compress import compress as compress
    from keras_inception.evaluation.prediction import predict as predict
    from keras_inception.exporting.exporter import export as export
    from keras_inception.imagenet import decode_predictions as decode_predictions
    from keras_inception.imagenet import preprocess_input as preprocess_input
    from keras_inception.layers import LocalResponseNormalization as LocalResponseNormalization
    from keras_inception.models import *  # noqa: F403
    from keras_inception.models.inference import features as features
    from keras_inception.models.inference import inference_model as inference_model
    from keras_inception.preprocessing import Preprocessing as Preprocessing
    from keras_inception.registry import create as create
    from keras_inception.registry import list_models as list_models
    from keras_inception.reports.evaluation import evaluate as evaluate
    from keras_inception.reports.reporting import report as report
    from keras_inception.runs import load as load
    from keras_inception.training import Recipe as Recipe
    from keras_inception.training import train as train

# Public name -> the module that defines it.
_HOMES = {
    **registry.public(__name__),
    "LocalResponseNormalization": "layers",
    "Preprocessing": "preprocessing",
    "Recipe": "training",
    "analysis": "analysis",
    "check": "checking.check",
    "compress": "compression.compress",
    "create": "registry",
    "decode_predictions": "imagenet",
    "evaluate": "reports.evaluation",
    "export": "exporting.exporter",
    "features": "models.inference",
    "inference_model": "models.inference",
    "list_models": "registry",
    "load": "runs",
    "predict": "evaluation.prediction",
    "preprocess_input": "imagenet",
    "report": "reports.reporting",
    "train": "training",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604
__getattr__, __dir__ = lazy.attach(__name__, _HOMES)
# Keras looks for the layers in a saved model only among those that are registered.
lazy.import_after("keras", f"{__name__}.layers")
