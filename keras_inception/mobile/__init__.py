"""From a trained Keras classifier to .tflite files that have been proven to load, to be right and to be fast.

Works on any functional Keras classifier of pictures. Nothing heavy is imported until it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_inception.mobile.classifier import TFLiteClassifier as TFLiteClassifier
    from keras_inception.mobile.exporter import export as export

VARIANTS = ("float32", "float16", "dynamic", "int8")

_HOMES = {"TFLiteClassifier": "classifier", "export": "exporter"}

__all__ = ["VARIANTS", "TFLiteClassifier", "export"]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
