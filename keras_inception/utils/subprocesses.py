"""Run work in a child process: code that leaks memory, prints a lot, may crash, or conflicts with TensorFlow."""

import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from keras_inception.utils import files

# Seconds. The largest network takes a few minutes to convert and quantize, and several times that on a busy machine.
TIMEOUT = 30 * 60.0
SECONDS_TO_END = 5.0  # of a child that was killed
LINE_SEPARATOR = " / "

_started: "weakref.WeakValueDictionary[int, subprocess.Popen]" = weakref.WeakValueDictionary()
_state = SimpleNamespace(ending=False)  # no lock or event: a signal handler sets it


class ChildError(RuntimeError):
    """A child process failed. The message ends with the last lines of its output.

    Attributes:
        output: all that the child printed.
    """

    def __init__(self, message: str, output: str = ""):
        super().__init__(message)
        self.output = output

    @property
    def last_line(self) -> str:
        """The last line of the child's output: the error itself if `answer` caught one."""
        return str(self).rpartition(LINE_SEPARATOR)[2]


def start(command: Sequence[str | os.PathLike], **options: Any) -> subprocess.Popen:
    """Start a child process, which `end_children` ends. Arguments are those of `subprocess.Popen`.

    Raises:
        ChildError: The children of this process have been ended.
    """
    process = subprocess.Popen([os.fspath(word) for word in command], **options)
    _started[process.pid] = process
    if _state.ending:
        process.kill()
        raise ChildError(f"{os.fspath(command[0])} was stopped")
    return process


def children() -> list[subprocess.Popen]:
    """Return the child processes that `start` has started and that are still referred to."""
    references = _started.valuerefs()  # copied at once, while other threads start children
    return [process for reference in references if (process := reference()) is not None]


def end_children() -> None:
    """End the children of this process, which is about to end too. Others are ended as soon as they start."""
    _state.ending = True
    for process in children():
        process.kill()  # no effect if the process has ended
    for process in children():
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)


def run_module(module: str, job: dict, environment: Mapping[str, str] | None = None, **limits: Any) -> None:
    """Run ``python -m module JOB.json`` with `run_program`, for a module that passes its ``main`` to `answer`."""
    run_program([sys.executable, "-m", module], job, module, environment, **limits)


def run_program(
    program: Sequence[str | Path],
    job: dict,
    name: str,
    environment: Mapping[str, str] | None = None,
    *,
    timeout: float = TIMEOUT,
    memory: int | None = None,
) -> str:
    """Run ``program JOB.json``, wait for it and return its output, which is shown only if it fails.

    Args:
        program: The program and its first arguments.
        job: The job, of JSON types.
        name: Name of the program in error messages.
        environment: Variables to set in addition to those of this process.
        timeout: Seconds after which the child is killed.
        memory: Bytes that the child may allocate. None: no limit. Other systems than Linux ignore it.

    Raises:
        ChildError: The child exited with a code other than 0, or took too long.
        OSError: The disk became full.
    """
    with files.temporary_folder() as folder:
        path, temporary = folder / "job.json", dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
        files.write_json(path, job)
        with start(
            [*program, path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **temporary, "CUDA_VISIBLE_DEVICES": "-1", **(environment or {})},
            encoding="utf-8",
            errors="replace",
        ) as process:
            try:
                limit_memory(process.pid, memory)
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                raise ChildError(f"{name} was stopped because it took longer than {timeout:.0f} s") from None
            finally:
                process.kill()  # no effect if the process has ended
        if process.returncode:
            last = [line for line in output.splitlines() if line.strip()][-3:]
            reason = LINE_SEPARATOR.join(last) or "no message"
            raise ChildError(f"{name} ended with {how_it_ended(process)}: {reason}", output)
        return output


def how_it_ended(process: subprocess.Popen) -> str:
    """Return how a process ended, such as "SIGSEGV" or "exit code 1"; wait for it a few seconds if it has not."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(SECONDS_TO_END)
    if process.returncode is not None and process.returncode < 0:
        with suppress(ValueError):
            return signal.Signals(-process.returncode).name
    return f"exit code {process.returncode}"


def limit_memory(pid: int, memory: int | None) -> None:
    """Limit the memory that a process may allocate. Libraries mapped from files do not count."""
    if memory is not None and sys.platform == "linux":
        import resource

        with suppress(ProcessLookupError):  # it has ended already
            _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
            limit = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
            resource.prlimit(pid, resource.RLIMIT_DATA, (limit, limit))


def answer(main: Callable[[dict], None]) -> None:
    """Run `main` on the job of this child process. On an error, exit with one line instead of a traceback."""
    try:
        main(files.read_json(sys.argv[1]))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
