"""Peers to compare with: each runs in a process and an environment of its own, and takes turns with ours."""

import os
import re
import statistics
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from keras_inception.tflite.benchmark import Stopwatch, take_turns
from keras_inception.utils import files

TORCH = Path(__file__).with_name("torch-requirements.txt")
CACHE = files.cache()
INSTALLED = "from importlib import metadata; print(*(f'{d.name}=={d.version}' for d in metadata.distributions()))"


def environment(folder: Path = CACHE / "torch", requirements: Path = TORCH) -> Path:
    """Return the Python of the virtual environment in `folder`; create it or install requirements that it lacks."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    there = subprocess.run([python, "-c", INSTALLED], capture_output=True, encoding="utf-8", check=True).stdout.split()
    wanted = requirements.read_text(encoding="utf-8").split()
    if not {_plain(line) for line in wanted} <= {_plain(each) for each in there}:
        print(f"Installing {requirements.name} into {folder}, which takes minutes", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
    return python


def _plain(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", requirement.partition("+")[0]).lower()


def race(
    ours: Sequence[str | os.PathLike], theirs: Sequence[str | os.PathLike], rounds: int
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Time two programs in turns with `Stopwatch`: one run per turn, after a first one that is not counted.

    Returns:
        The seconds of each run, and the versions that the programs print when they are ready, as ``ours`` and
        ``theirs``.
    """
    with Stopwatch(ours) as first, Stopwatch(theirs) as second:
        take_turns([first, second], rounds, _show, per_turn=1, warm_up=1)
    sides = {"ours": first, "theirs": second}
    times = {name: [milliseconds / 1000 for milliseconds in watch.times] for name, watch in sides.items()}
    return times, {name: watch.told for name, watch in sides.items()}


def _show(done: int, rounds: int) -> None:
    print(f"round {done} of {rounds}", file=sys.stderr)


def median_ratio(times: dict[str, list[float]]) -> float:
    """Return our speedup: the median of the rounds' ratios, since the speed of a shared machine varies."""
    return statistics.median(theirs / ours for ours, theirs in zip(times["ours"], times["theirs"], strict=True))
