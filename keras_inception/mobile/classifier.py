"""Deprecated: use `keras_inception.tflite.classifier`."""

from keras_inception.mobile import redirect

redirect(__name__, "keras_inception.tflite.classifier")
