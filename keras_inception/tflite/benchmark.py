"""How fast .tflite files are: side by side, by turns, so that a noisy machine is as noisy for all of them."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from keras_inception.tflite.classifier import interpreter
from keras_inception.tflite.operations import operations
from keras_inception.utils.subprocesses import ChildError

ROUND = 5  # runs of a file before it is another's turn
WARM_UP = 2  # rounds that are not counted


def benchmark(
    paths: Sequence[str | os.PathLike],
    *,
    threads: int = 1,
    runs: int = 50,
    peaks: Sequence[str | os.PathLike] = (),
    on_round: Callable[[int, int], None] | None = None,
) -> list[dict]:
    """Time .tflite files against each other, each in a process of its own.

    Args:
        paths: of files with one input each; the first is what the others are compared with.
        threads: of each interpreter.
        runs: of each file that are counted.
        peaks: files that reach the machine's peak, one of each kind of arithmetic, to be timed too
            (`keras_inception.exporting.peaks.write_peaks` makes them). Each row then has ``share_of_peak``.
        on_round: called with the rounds done and in all.

    Returns:
        For each file ``path``, ``mb``, ``macs``, ``load_ms``, ``memory_mb``, ``median_ms``, ``p10_ms``, ``p90_ms``,
        ``ratio`` (of the medians, to the first's), ``gmacs`` a second, and with `peaks` ``share_of_peak``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no TFLite model, or an argument below 1.
    """
    if threads < 1 or runs < 1:
        raise ValueError(f"`threads` and `runs` must be at least 1. Received: {threads=}, {runs=}")
    for path in paths:
        interpreter(path)
    measured = [Path(path) for path in (*paths, *peaks)]
    with ExitStack() as stack:
        watches = [stack.enter_context(Stopwatch(of_file(path, threads))) for path in measured]
        take_turns(watches, runs, on_round)
        rows = [_row(path, watch) for path, watch in zip(measured, watches, strict=True)]
    roofs = {row["kind"]: row["gmacs"] for row in rows[len(paths) :]}
    rows = rows[: len(paths)]
    for row in rows:
        row["ratio"] = row["median_ms"] / rows[0]["median_ms"]
        if peaks:
            row["share_of_peak"] = row["gmacs"] / roofs[row["kind"]]
    return rows


class Stopwatch:
    """A process that runs something: when it is ready it prints a line of JSON, and then one with the milliseconds of
    each run for every line, a number of runs, that it is sent.

    Attributes:
        told: what it has printed when it was ready.
        times: in milliseconds, of all runs that count.
    """

    def __init__(self, command: Sequence[str | os.PathLike]):
        self.times: list[float] = []
        self._command = [os.fspath(word) for word in command]
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
        )
        self.told = self._answer()

    def __enter__(self) -> "Stopwatch":
        return self

    def __exit__(self, kind, error, traceback) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def run(self, count: int, *, counts: bool) -> None:
        """Let it run so many times."""
        print(count, file=self._process.stdin, flush=True)
        times = self._answer()
        if counts:
            self.times += times

    def _answer(self):
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise ChildError(f"{' '.join(self._command)} ended with {self._process.wait()}")
        return json.loads(line)


def of_file(path: str | os.PathLike, threads: int) -> list[str]:
    """The command that runs a .tflite file for a `Stopwatch`."""
    return [sys.executable, "-m", "keras_inception.tflite.stopwatch", str(path), str(threads)]


def take_turns(watches: Sequence[Stopwatch], runs: int, on_round: Callable[[int, int], None] | None = None) -> None:
    """Let each run so often, a few times at a turn, after some that do not count."""
    rounds = -(-runs // ROUND)
    for number in range(-WARM_UP, rounds):
        for watch in watches if number % 2 else reversed(watches):
            watch.run(min(ROUND, runs), counts=number >= 0)
        if on_round:
            on_round(number + WARM_UP + 1, rounds + WARM_UP)


def _row(path: Path, watch: Stopwatch) -> dict:
    macs, kind = operations(path)
    median = statistics.median(watch.times)
    return {
        "path": str(path),
        "kind": kind,
        "mb": path.stat().st_size / 1e6,
        "macs": macs,
        "load_ms": watch.told["load_ms"],
        "memory_mb": watch.told["memory_mb"],
        "median_ms": median,
        "p10_ms": float(np.quantile(watch.times, 0.1)),
        "p90_ms": float(np.quantile(watch.times, 0.9)),
        "gmacs": macs / median / 1e6,
    }
