"""The command ``keras-inception``."""

from keras_inception.cli.console import main as main
