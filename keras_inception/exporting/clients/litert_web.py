"""LiteRT.js, the browser runtime, run in Node. `TFLiteClassifier` normalizes and dequantizes as a page does.

``KERAS_INCEPTION_LITERT_WEB`` names the ``node_modules`` folder that contains LiteRT.js, as installed by
`keras_inception.page.npm`.
"""

import os
import shutil
from pathlib import Path

import numpy as np

from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.utils import files
from keras_inception.utils.subprocesses import run_program

VARIABLE = "KERAS_INCEPTION_LITERT_WEB"
SCRIPT = Path(__file__).with_suffix(".mjs")
PACKAGE = "@litertjs/core"


def unavailable() -> str | None:
    """Return None if LiteRT.js can be used here, otherwise the reason and how to install it."""
    if not shutil.which("node"):
        return "`node` is missing: install Node.js 20 or newer"
    named = os.environ.get(VARIABLE)
    if not named:
        install = 'python -c "from keras_inception.page import npm; print(npm.packages())"'
        return f"{VARIABLE} is not set: set it to the folder that this prints: {install}"
    if not (Path(named) / PACKAGE / "package.json").is_file():
        return f"{VARIABLE} must name a node_modules folder that contains {PACKAGE}. Received: {named}"
    return None


def scores(path: Path, images: np.ndarray, classes: int) -> np.ndarray:
    """Return the scores of LiteRT.js (see `keras_inception.exporting.clients`)."""
    classifier = TFLiteClassifier(path)
    values = classifier.as_input(images)
    with files.temporary_folder() as folder:
        inputs, outputs = folder / "inputs", folder / "outputs"
        values.tofile(inputs)
        job = {"model": str(path), "inputs": str(inputs), "outputs": str(outputs), "type": values.dtype.name}
        packages = Path(os.environ[VARIABLE]).resolve()
        run_program(["node", SCRIPT], {**job, "packages": str(packages), "shape": [1, *values.shape[1:]]}, "LiteRT.js")
        raw: np.ndarray = np.fromfile(outputs, classifier.output_type)
    return classifier.probabilities(raw.reshape(len(images), -1))
