"""Time .tflite files side by side.

The files take turns, so that noise on the machine affects all of them alike.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np

from keras_inception.tflite.isolation import IsolatedSession
from keras_inception.tflite.operations import operations
from keras_inception.utils.subprocesses import ChildError, start

SECONDS = 600  # after which a process that times something is taken to hang


def benchmark(
    paths: Sequence[str | os.PathLike],
    *,
    threads: int = 1,
    runs: int = 50,
    peaks: Sequence[str | os.PathLike] = (),
    on_round: Callable[[int, int], None] | None = None,
) -> list[dict]:
    """Time .tflite files against each other, each in its own process.

    Args:
        paths: the .tflite files. Ratios are relative to the first.
        threads: threads of each interpreter.
        runs: timed runs of each file.
        peaks: files that reach the machine's peak throughput, one for each arithmetic type, to be timed as well
            (`keras_inception.exporting.noise.write_peaks` writes them). Each row then has ``share_of_peak``.
        on_round: called with the number of finished rounds and the total.

    Returns:
        A dict for each file with ``path``, ``kind`` ("int8" or "float32"), ``mb``, ``macs``, ``load_ms``,
        ``memory_mb``, ``median_ms``, ``p10_ms``, ``p90_ms``, ``ratio`` (of the medians, to the first file's),
        ``gmacs`` (billion multiply-adds per second), and with `peaks` ``share_of_peak``.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a file is not a TFLite model, or `threads` or `runs` is below 1.
    """
    if threads < 1 or runs < 1:
        raise ValueError(f"`threads` and `runs` must be at least 1. Received: {threads=}, {runs=}")
    for path in paths:
        check_runs(path)
    measured = [Path(path) for path in (*paths, *peaks)]
    try:
        with ExitStack() as stack:
            watches = [stack.enter_context(Stopwatch(of_file(path, threads))) for path in measured]
            take_turns(watches, runs, on_round)
            rows = [_row(path, watch) for path, watch in zip(measured, watches, strict=True)]
    except ChildError as error:
        raise ValueError(f"a file cannot be timed: {error}") from None
    peak_gmacs = {row["kind"]: row["gmacs"] for row in rows[len(paths) :]}
    for row in rows[: len(paths)]:
        row["ratio"] = row["median_ms"] / rows[0]["median_ms"]
        if peaks:
            row["share_of_peak"] = row["gmacs"] / peak_gmacs[row["kind"]]
    return rows[: len(paths)]


def check_runs(path: str | os.PathLike) -> None:
    """Raise the errors of a .tflite file that LiteRT cannot run, by running it once."""
    IsolatedSession(path).time(1)


class Stopwatch(AbstractContextManager["Stopwatch"]):
    """A process that times something on demand.

    The process prints a line of JSON when it is ready. For each number of runs on its standard input, it then prints
    the milliseconds of each run as a line of JSON.

    Args:
        command: the program and its arguments.

    Attributes:
        told: the JSON that the process printed when it was ready.
        times: milliseconds of the runs that `take_turns` counts.
    """

    def __init__(self, command: Sequence[str | os.PathLike]):
        self.times: list[float] = []
        self._command = [os.fspath(word) for word in command]
        self._process = start(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
        )
        self.told = self._answer()

    def __exit__(self, kind, error, traceback) -> None:
        self._process.__exit__(kind, error, traceback)

    def run(self, count: int) -> list[float]:
        """Run `count` times and return the milliseconds of each run."""
        print(count, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self):
        assert self._process.stdout
        timer = threading.Timer(SECONDS, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if not line:
            raise ChildError(f"{' '.join(self._command)} ended with {self._process.wait()}")
        return json.loads(line)


def of_file(path: str | os.PathLike, threads: int) -> list[str]:
    """Return the command of a `Stopwatch` that times a .tflite file."""
    return [sys.executable, "-m", "keras_inception.tflite.stopwatch", str(path), str(threads)]


def take_turns(
    watches: Sequence[Stopwatch],
    runs: int,
    on_round: Callable[[int, int], None] | None = None,
    *,
    per_turn: int = 5,
    warm_up: int = 2,
) -> None:
    """Run each stopwatch at least `runs` times, in rounds of one turn each, and fill in its `times`.

    Args:
        watches: the stopwatches.
        runs: timed runs of each stopwatch.
        on_round: called with the number of finished rounds and the total.
        per_turn: runs in one turn.
        warm_up: rounds before the first timed round.
    """
    rounds = -(-runs // per_turn)
    for number in range(-warm_up, rounds):
        for watch in watches if number % 2 else reversed(watches):
            times = watch.run(min(per_turn, runs))
            if number >= 0:
                watch.times += times
        if on_round:
            on_round(number + warm_up + 1, rounds + warm_up)


def _row(path: Path, watch: Stopwatch) -> dict:
    macs, kind = operations(path)
    p10, median, p90 = np.quantile(watch.times, (0.1, 0.5, 0.9)).tolist()
    return {
        "path": str(path),
        "kind": kind,
        "mb": path.stat().st_size / 1e6,
        "macs": macs,
        "load_ms": watch.told["load_ms"],
        "memory_mb": watch.told["memory_mb"],
        "median_ms": median,
        "p10_ms": p10,
        "p90_ms": p90,
        "gmacs": macs / median / 1e6,
    }
