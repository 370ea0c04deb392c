"""Shortcut for `keras-inception export`: python export/to_tflite.py RUN --output DIR --quantize float32,int8."""

import sys

from keras_inception.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
