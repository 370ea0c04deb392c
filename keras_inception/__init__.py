"""The Inception networks in Keras: from the papers to the phone.

Nothing heavy is imported until it is used: ``import keras_inception`` takes milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_inception.layers import LocalResponseNormalization as LocalResponseNormalization
    from keras_inception.mobile import export as export
    from keras_inception.models import GoogLeNet as GoogLeNet
    from keras_inception.models.inference import inference_model as inference_model
    from keras_inception.preprocessing import Preprocessing as Preprocessing
    from keras_inception.runs import load as load
    from keras_inception.training import Recipe as Recipe
    from keras_inception.training import train as train

__version__ = "0.1.0"

# Public name -> the module that has it.
_HOMES = {
    "GoogLeNet": "models",
    "LocalResponseNormalization": "layers",
    "Preprocessing": "preprocessing",
    "Recipe": "training",
    "export": "mobile",
    "inference_model": "models.inference",
    "load": "runs",
    "train": "training",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
