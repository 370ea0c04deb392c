"""MediaPipe Tasks, the successor to the Task Library on phones, run in its own environment.

mediapipe and TensorFlow require different versions of the same packages, so mediapipe needs an environment of its own.
``KERAS_INCEPTION_MEDIAPIPE`` names the folder of this environment or its Python interpreter.
"""

import os
import subprocess
from pathlib import Path

import numpy as np

from keras_inception.exporting.clients import exchange
from keras_inception.utils.subprocesses import run_program

VARIABLE = "KERAS_INCEPTION_MEDIAPIPE"
PACKAGE = "mediapipe==1.2.2"
SCRIPT = Path(__file__).with_name("mediapipe_script.py")


def unavailable() -> str | None:
    """Return None if MediaPipe can be used here, otherwise the reason and how to install it."""
    named = os.environ.get(VARIABLE)
    if not named:
        install = f"python -m venv ENV, ENV/bin/pip install {PACKAGE}"
        return f"{VARIABLE} is not set: {install}, and set {VARIABLE}=ENV"
    looking = "import importlib.util, sys; sys.exit(not importlib.util.find_spec('mediapipe'))"
    try:
        found = subprocess.run([python(), "-I", "-c", looking], capture_output=True, check=False)
    except OSError as error:
        return f"{VARIABLE} must name an environment or its Python. Received: {named} ({error.strerror})"
    return f"{python()} has no mediapipe: pip install {PACKAGE} there" if found.returncode else None


def scores(path: Path, images: np.ndarray, classes: int) -> np.ndarray:
    """Return the scores of MediaPipe (see `keras_inception.exporting.clients`)."""
    # -I keeps this module, which is next to the script, from shadowing the mediapipe package.
    return exchange(lambda job: run_program([python(), "-I", SCRIPT], job, "MediaPipe"), path, images, classes)


def python() -> Path:
    """Return the environment's Python interpreter."""
    named = Path(os.environ[VARIABLE])
    inside = Path("Scripts", "python.exe") if os.name == "nt" else Path("bin", "python")
    return named / inside if named.is_dir() else named
