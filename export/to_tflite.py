"""`keras-inception export` by another door: python export/to_tflite.py RUN --output DIR --quantize float32,int8."""

import sys

from keras_inception.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
