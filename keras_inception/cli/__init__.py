"""The command ``keras-inception``.

The commands only parse arguments, call the package and print. Heavy modules are imported inside the commands that need
them, so that ``--help`` stays fast.
"""

import os
import sys
from collections.abc import Sequence

from keras_inception.cli import stopping
from keras_inception.tflite import children

RUNNING = ("predict", "evaluate", "benchmark")  # commands that run .tflite files in child processes


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, as `console.main` does.

    Without arguments, they are those of this process, which Ctrl-C then ends with exit code 130 and SIGTERM with 143,
    also while the commands are imported.
    """
    if arguments is None:
        stopping.end_on_signals()
        if any(map(_is_file_to_run, sys.argv[2:])) and sys.argv[1] in RUNNING:
            children.start_ahead()
    from keras_inception.cli import commands

    commands.main(arguments)


def _is_file_to_run(word: str) -> bool:
    return word.endswith(".tflite") and os.path.isfile(word)
