"""From a trained Keras classifier to .tflite files that have been proven to load, to be right and to be fast.

Works on any functional Keras classifier of pictures. Nothing heavy is imported until it is used.
"""

from typing import TYPE_CHECKING

from keras_inception import lazy

if TYPE_CHECKING:
    from keras_inception.mobile.classifier import TFLiteClassifier as TFLiteClassifier
    from keras_inception.mobile.exporter import export as export

VARIANTS = ("float32", "float16", "dynamic", "int8")

__all__ = ["VARIANTS", "TFLiteClassifier", "export"]
__getattr__, __dir__ = lazy.attach(__name__, {"TFLiteClassifier": "classifier", "export": "exporter"})
