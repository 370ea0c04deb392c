"""Deprecated: use `keras_inception.compression.tf_keras_bridge`."""

from keras_inception.mobile import redirect

redirect(__name__, "keras_inception.compression.tf_keras_bridge")
