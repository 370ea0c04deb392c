"""Time .tflite files side by side.

The files take turns, so that noise on the machine affects all of them alike.
"""

import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path

import numpy as np

from keras_inception.tflite.isolation import IsolatedSession
from keras_inception.tflite.operations import Arithmetic, arithmetic
from keras_inception.utils.checks import check_some_of
from keras_inception.utils.subprocesses import SECONDS_TO_END, ChildError, how_it_ended, start

ACCELERATORS = CPU, FP16, GPU = "cpu", "fp16", "gpu"
MEASURED = ("load_ms", "memory_mb", "median_ms", "p10_ms", "p90_ms", "ratio", "gmacs")
SECONDS = 600  # after which a process that times something is taken to hang
SECONDS_TO_LOAD = 180  # and one that loads a file; the driver of a GPU compiles it


def benchmark(
    paths: Sequence[str | os.PathLike],
    *,
    threads: int = 1,
    runs: int = 50,
    accelerators: Sequence[str] = ("cpu",),
    peaks: Sequence[str | os.PathLike] = (),
    on_round: Callable[[int, int], None] | None = None,
) -> list[dict]:
    """Time .tflite files against each other, each in its own process.

    Args:
        paths: the .tflite files. Ratios are relative to the first row.
        threads: threads of each interpreter.
        runs: timed runs of each file.
        accelerators: what to time each file on: ``cpu``; ``fp16``, which is the CPU in forced half precision; and
            ``gpu``, which is LiteRT's WebGPU accelerator.
        peaks: files that reach the machine's peak throughput, one for each arithmetic type, to be timed as well
            (`keras_inception.exporting.noise.write_peaks` writes them). Each row then has ``share_of_peak``.
        on_round: called with the number of finished rounds and the total.

    Returns:
        A dict for each file on each accelerator with ``path``, ``accelerator``, ``device`` (what ran it), ``kind``
        ("int8" or "float32"), ``mb``, ``macs``, ``load_ms``, ``memory_mb``, ``median_ms``, ``p10_ms``, ``p90_ms``,
        ``ratio`` (of the medians, to the first row's), ``gmacs`` (billion multiply-adds per second), ``error``, and
        with `peaks` ``share_of_peak``, of the CPU in the file's own precision. If a file cannot be run on an
        accelerator, ``error`` says why, and what was not measured is None; otherwise ``error`` is None.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a file is not a TFLite model, `threads` or `runs` is below 1, or there is no such accelerator, or no
            file can be run on any.
    """
    check_options(threads, runs, accelerators)
    for path in paths:
        check_runs(path)
    found = {Path(path): arithmetic(path) for path in (*paths, *peaks)}
    cases = [_Case(Path(path), each, found[Path(path)]) for path in paths for each in accelerators]
    cases += [_Case(Path(path), CPU, found[Path(path)]) for path in peaks]
    with ExitStack() as stack:
        for case in cases:
            case.start(stack, threads)
        take_turns([case.watch for case in cases if case.watch], runs, on_round, keep_going=True)
    rows = [case.row() for case in cases]
    rows, of_peaks = rows[: len(rows) - len(peaks)], rows[len(rows) - len(peaks) :]
    base = next((row["median_ms"] for row in rows if not row["error"]), None)
    if base is None:
        raise ValueError(f"{rows[0]['path']} cannot be timed on {rows[0]['accelerator']}: {rows[0]['error']}")
    peak_gmacs = {row["kind"]: row["gmacs"] for row in of_peaks}
    for row in rows:
        row["ratio"] = row["median_ms"] / base if row["median_ms"] else None
        if peaks:
            peak = peak_gmacs.get(row["kind"]) if row["accelerator"] == CPU else None
            row["share_of_peak"] = row["gmacs"] / peak if peak and row["gmacs"] else None
    return rows


def check_options(threads: int, runs: int, accelerators: Sequence[str]) -> None:
    """Raise ValueError if an option of `benchmark` is wrong."""
    if threads < 1 or runs < 1:
        raise ValueError(f"`threads` and `runs` must be at least 1. Received: {threads=}, {runs=}")
    check_some_of("accelerators", accelerators, ACCELERATORS, at_least=1)


def check_runs(path: str | os.PathLike) -> None:
    """Raise the errors of a .tflite file that LiteRT cannot run, by running it once."""
    IsolatedSession(path).time(1)


@dataclasses.dataclass
class _Case:
    """A file on an accelerator.

    Attributes:
        path: the file.
        accelerator: one of `ACCELERATORS`.
        arithmetic: the file's.
        watch: times it, if it could be loaded.
        error: why it could not.
    """

    path: Path
    accelerator: str
    arithmetic: Arithmetic
    watch: "Stopwatch | None" = None
    error: str | None = None

    def start(self, stack: ExitStack, threads: int) -> None:
        """Load the file in a process that ends with `stack`."""
        if self.accelerator == FP16 and "float" not in self.arithmetic.weights:
            self.error = f"half precision is for floats, and its weights are {self.arithmetic.weights}"
            return
        try:
            watch = Stopwatch(of_file(self.path, threads, self.accelerator), to_start=SECONDS_TO_LOAD)
            self.watch = stack.enter_context(watch)
        except ChildError as error:
            self.error = str(error)

    def row(self) -> dict:
        """Return the row of `benchmark`."""
        row: dict = {"path": str(self.path), "accelerator": self.accelerator, "device": None}
        row |= {"kind": self.arithmetic.kind, "mb": self.path.stat().st_size / 1e6, "macs": self.arithmetic.macs}
        row |= {**dict.fromkeys(MEASURED), "error": self.watch.failure if self.watch else self.error}
        if self.watch and not self.watch.failure:
            row |= {key: self.watch.told[key] for key in ("device", "load_ms", "memory_mb")}
            p10, median, p90 = np.quantile(self.watch.times, (0.1, 0.5, 0.9)).tolist()
            row |= {"median_ms": median, "p10_ms": p10, "p90_ms": p90, "gmacs": self.arithmetic.macs / median / 1e6}
        return row


class Stopwatch(AbstractContextManager["Stopwatch"]):
    """A process that times something on demand.

    The process prints a line of JSON when it is ready; one with ``error`` says that it cannot be. For each number of
    runs on its standard input, it then prints the milliseconds of each run as a line of JSON.

    Args:
        command: the program and its arguments.
        to_start: seconds after which a process that is not ready is taken to hang.

    Attributes:
        told: the JSON that the process printed when it was ready.
        times: milliseconds of the runs that `take_turns` counts.
        failure: why `take_turns` could not go on with it, or None.

    Raises:
        ChildError: the process ends, hangs or cannot be ready. So does `run`.
    """

    def __init__(self, command: Sequence[str | os.PathLike], *, to_start: float = SECONDS):
        self.times: list[float] = []
        self.failure: str | None = None
        self._process = start(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
        )
        try:
            self.told = self._answer(to_start)
            if "error" in self.told:
                raise ChildError(self.told["error"])
        except ChildError:
            self.__exit__(None, None, None)
            raise

    def __exit__(self, kind, error, traceback) -> None:
        assert self._process.stdin
        with suppress(OSError):  # a request that nobody has read
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS_TO_END)
        self._process.kill()  # the driver of a GPU may hang at the end
        self._process.__exit__(kind, error, traceback)

    def run(self, count: int) -> list[float]:
        """Run `count` times and return the milliseconds of each run."""
        with suppress(OSError):  # the process has ended, and has no answer
            print(count, file=self._process.stdin, flush=True)
        return self._answer(SECONDS)

    def _answer(self, seconds: float):
        assert self._process.stdout
        late = threading.Event()
        timer = threading.Timer(seconds, self._stop, [late])
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if late.is_set():
            raise ChildError(f"it took longer than {seconds:.0f} s")
        if not line:
            raise ChildError(f"its process ended with {how_it_ended(self._process)}")
        return json.loads(line)

    def _stop(self, late: threading.Event) -> None:
        """Stop the process, which has taken too long."""
        late.set()
        self._process.kill()


def of_file(path: str | os.PathLike, threads: int, accelerator: str = CPU) -> list[str]:
    """Return the command of a `Stopwatch` that times a .tflite file."""
    return [sys.executable, "-m", "keras_inception.tflite.stopwatch", os.fspath(path), str(threads), accelerator]


def take_turns(
    watches: Sequence[Stopwatch],
    runs: int,
    on_round: Callable[[int, int], None] | None = None,
    *,
    per_turn: int = 5,
    warm_up: int = 2,
    keep_going: bool = False,
) -> None:
    """Run each stopwatch at least `runs` times, in rounds of one turn each, and fill in its `times`.

    Args:
        watches: the stopwatches.
        runs: timed runs of each stopwatch.
        on_round: called with the number of finished rounds and the total.
        per_turn: runs in one turn.
        warm_up: rounds before the first timed round.
        keep_going: leave out a stopwatch that fails, and note its `failure`.

    Raises:
        ChildError: a stopwatch fails, unless `keep_going`.
    """
    rounds = -(-runs // per_turn)
    for number in range(-warm_up, rounds):
        for watch in watches if number % 2 else reversed(watches):
            if watch.failure:
                continue
            try:
                times = watch.run(min(per_turn, runs))
            except ChildError as error:
                if not keep_going:
                    raise
                watch.failure = str(error)
            else:
                watch.times += times if number >= 0 else []
        if on_round:
            on_round(number + warm_up + 1, rounds + warm_up)
