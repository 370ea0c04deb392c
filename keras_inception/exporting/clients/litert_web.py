"""LiteRT.js, which runs files in the browser, here in Node. What a page does around it, `TFLiteClassifier` does.

``KERAS_INCEPTION_LITERT_WEB`` names the folder ``node_modules`` that has it, as `keras_inception.page.npm` takes it.
"""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.utils.subprocesses import run_program

VARIABLE = "KERAS_INCEPTION_LITERT_WEB"
SCRIPT = Path(__file__).with_suffix(".mjs")
PACKAGE = "@litertjs/core"


def unavailable() -> str | None:
    """Why it is not here, and how to get it; None if it is."""
    if not shutil.which("node"):
        return "there is no `node`: install Node.js 20 or newer"
    named = os.environ.get(VARIABLE)
    if not named:
        install = 'python -c "from keras_inception.page import npm; print(npm.packages())"'
        return f"{VARIABLE} names no folder: set it to the one that this prints: {install}"
    if not (Path(named) / PACKAGE / "package.json").is_file():
        return f"{VARIABLE} must name a folder node_modules that has {PACKAGE}. Received: {named}"
    return None


def scores(path: Path, pictures: np.ndarray, classes: int) -> np.ndarray:
    """As `Client.scores`."""
    classifier = TFLiteClassifier(path)
    given = classifier.as_input(pictures)
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "inputs", Path(folder) / "outputs"
        given.tofile(inputs)
        job = {"model": str(path), "inputs": str(inputs), "outputs": str(outputs), "type": given.dtype.name}
        packages = Path(os.environ[VARIABLE]).resolve()
        run_program(["node", SCRIPT], {**job, "packages": str(packages), "shape": [1, *given.shape[1:]]}, "LiteRT.js")
        raw: np.ndarray = np.fromfile(outputs, classifier.output_type)
    return classifier.dequantized(raw.reshape(len(pictures), classes))
