"""Work in a process of its own: what leaks, what is noisy, and what cannot live beside TensorFlow."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from keras_inception.utils import files

LINES_APART = " / "


class ChildError(RuntimeError):
    """A process of our own failed; the message ends with the last lines that it printed."""

    @property
    def last_line(self) -> str:
        """The last of them, which is the error where the process has caught it."""
        return str(self).rpartition(LINES_APART)[2]


def run_module(module: str, job: dict, environment: Mapping[str, str] | None = None) -> None:
    """Run ``python -m module JOB.json`` to its end; what it prints is shown only if it fails.

    Args:
        environment: variables that it gets besides ours.

    Raises:
        ChildError: it ended with another exit code than 0.
    """
    run_program([sys.executable, "-m", module], job, module, environment)


def run_program(
    program: Sequence[str | Path], job: dict, name: str, environment: Mapping[str, str] | None = None
) -> None:
    """The same of any program, ``program JOB.json``; errors call it `name`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.json"
        files.write_json(path, job)
        done = subprocess.run(
            [*program, path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **(environment or {})},
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    if done.returncode:
        last = [line for line in done.stdout.splitlines() if line.strip()][-3:]
        raise ChildError(f"{name} ended with exit code {done.returncode}: {LINES_APART.join(last) or 'no message'}")


def answer(main: Callable[[dict], None]) -> None:
    """What the child does: its job, and on an error one line in place of a traceback."""
    try:
        main(files.read_json(sys.argv[1]))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
