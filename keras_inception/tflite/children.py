"""Start the processes that run .tflite files. Little is imported, so that one can start before anything else is."""

import atexit
import os
import subprocess
import sys
from pathlib import Path

from keras_inception.utils import subprocesses

SESSION = Path(__file__).with_name("session.py")
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # each thread of NumPy counts toward the memory

_ahead: list[subprocess.Popen] = []


def start_ahead() -> None:
    """Start a child process that the next `start` returns, and that ends with this process if there is none."""
    _ahead.append(_started())
    atexit.register(_end_ahead)


def start() -> subprocess.Popen:
    """Start a child process that runs `session`, or return the one that was started ahead."""
    return _ahead.pop() if _ahead else _started()


def _started() -> subprocess.Popen:
    return subprocesses.start(
        [sys.executable, "-P", SESSION],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **ENVIRONMENT},
    )


def _end_ahead() -> None:
    for process in _ahead:
        process.kill()
        process.wait()
