"""Peers to compare with: each runs in a process with packages of its own, and takes turns with ours."""

import os
import re
import statistics
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

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
        print(f"Installing {requirements.name} into {folder}: minutes", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
    return python


def _plain(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", requirement.partition("+")[0]).lower()


class Peer:
    """A measuring program. It prints a line when it is ready, and the seconds of a round for each line it receives."""

    def __init__(self, command: Sequence[str | os.PathLike]):
        self.process = subprocess.Popen(
            list(map(os.fspath, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        self.versions = self._line()

    def measure(self) -> float:
        """Return the seconds of one round, during which the other peers wait."""
        assert self.process.stdin
        print("go", file=self.process.stdin, flush=True)
        return float(self._line())

    def close(self) -> None:
        """End the program."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def _line(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{self.process.args} ended with {self.process.wait()}")
        return line


def take_turns(ours: Peer, theirs: Peer, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each round of both. They alternate in going first, and warm up for one round."""
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    sides = [("ours", ours), ("theirs", theirs)]
    for number in range(-1, rounds):
        for name, peer in sides if number % 2 else reversed(sides):
            seconds = peer.measure()
            if number >= 0:
                times[name].append(seconds)
                print(f"round {number + 1} of {rounds}, {name}: {seconds:.2f} s", file=sys.stderr)
    return times


def median_ratio(times: dict[str, list[float]]) -> float:
    """Return how many times as fast ours is: the median of the rounds' ratios, since a shared machine changes speed."""
    return statistics.median(theirs / ours for ours, theirs in zip(times["ours"], times["theirs"], strict=True))
