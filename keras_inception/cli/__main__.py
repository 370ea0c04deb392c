"""Run the command line as ``python -m keras_inception.cli``."""

from keras_inception.cli import main

main()
