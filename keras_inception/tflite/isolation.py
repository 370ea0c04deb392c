"""Run a .tflite file in a child process, since LiteRT runs a file without checking it.

Of 4,000 copies of a small int8 file with one to four places changed, LiteRT 2.3 crashed on two. In a child process with
limits of time and memory, a crash becomes a ValueError that names the file.
"""

import json
import os
import subprocess
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from keras_inception.model_files.kinds import TFLITE, kind_of, reason
from keras_inception.tflite import session
from keras_inception.tflite.children import start
from keras_inception.utils.subprocesses import ChildError, how_it_ended, limit_memory

# Limits of a child: enough to start and to run a small file on a busy machine, and an allowance by the file's size.
SECONDS, SECONDS_AN_IMAGE, BYTES_A_SECOND = 120, 30, 10 * 2**20
MEMORY, MEMORY_A_BYTE, MEMORY_A_THREAD = 2**31, 8, 2**24
MAX_ANSWER = 2**28  # bytes of an answer without its values


def check_file(path: str | os.PathLike) -> None:
    """Raise an error unless there is a file that says that it is a TFLite model.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: it is a file of another kind. The message says of which.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no .tflite file at {path}")
    if kind_of(Path(path)) != TFLITE:
        raise ValueError(f"{path} is not a TFLite model that can be run: {reason(Path(path))}")


class IsolatedSession:
    """A `session.Session` in a child process, which ends with this object or with this process.

    Args:
        path: the .tflite file.
        threads: threads of the interpreter.
        delegates: use LiteRT's default delegates.

    Attributes:
        inputs: as in `session.Session`.
        outputs: as in `session.Session`.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: LiteRT cannot run the file, crashes on it, or exceeds a limit. So do all methods; the next call then
            starts another child.
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1, *, delegates: bool = True):
        check_file(path)
        self._path = Path(path)
        self._opening = {"path": str(path), "threads": threads, "delegates": delegates}
        size = self._path.stat().st_size
        self._seconds = SECONDS + size / BYTES_A_SECOND
        self._memory = MEMORY + MEMORY_A_BYTE * size + MEMORY_A_THREAD * threads
        self._lock = threading.Lock()
        self._child: _Child | None = None
        ends = self._start()
        self.inputs, self.outputs = ends["inputs"], ends["outputs"]

    def operations(self) -> list[dict]:
        """Return the operations, as `session.Session.operations` does."""
        return self._ask("operations")[0]

    def tensors(self) -> list[dict]:
        """Return the tensors, as `session.Session.tensors` does."""
        return self._ask("tensors")[0]

    def run(self, values: np.ndarray) -> np.ndarray:
        """Return the outputs, (n, ...), of the only input's values, (n, ...), one inference each."""
        _, found = self._ask("run", np.ascontiguousarray(values).data.cast("B"), seconds=SECONDS_AN_IMAGE * len(values))
        return np.frombuffer(found, self.outputs[0]["kind"]).reshape(len(values), -1)

    def time(self, runs: int) -> list[float]:
        """Return the milliseconds of some inferences of noise, as measured in the child."""
        return self._ask("time", seconds=SECONDS_AN_IMAGE * runs, runs=runs)[0]

    def _ask(
        self, what: str, values: bytes | memoryview = b"", *, seconds: float = 0, **arguments: Any
    ) -> tuple[Any, bytes]:
        """Return the child's answer to a request, and the values that go with it."""
        with self._lock:
            if self._child is None:
                self._start()
            return self._exchange({"do": what, **arguments, "seconds": self._seconds + seconds}, values)

    def _start(self) -> dict:
        """Start a child, and return the inputs and outputs of the file."""
        self._child = _Child(self._memory)
        return self._exchange({"open": self._opening, "seconds": self._seconds})[0]

    def _exchange(self, request: dict, values: bytes | memoryview = b"") -> tuple[Any, bytes]:
        assert self._child
        try:
            answer, found = self._child.exchange(request, values)
        except ChildError as failure:
            raise ValueError(f"{self._path} cannot be run: {failure}") from None
        finally:  # also after Ctrl-C, when half an answer may be left in the pipe
            if not self._child.is_idle:
                self._stop()
        if isinstance(answer, dict) and "error" in answer:
            self._stop()
            raise ValueError(f"{self._path} is not a TFLite model that can be run: {answer['error']}")
        return answer, found

    def _stop(self) -> None:
        """End the child; the next request starts another."""
        if self._child:
            self._child.end()
            self._child = None


class _Child:
    """A child process that runs `session`.

    Args:
        memory: bytes that it may allocate.

    Attributes:
        is_idle: whether it has answered the last request.
    """

    def __init__(self, memory: int):
        self.is_idle = True
        self._process = start()
        self.end = weakref.finalize(self, _end, self._process, os.getpid())
        limit_memory(self._process.pid, memory)

    def exchange(self, request: dict, values: bytes | memoryview) -> tuple[Any, bytes]:
        """Return the answer to a request, and the values that go with it; raise ChildError if there is none."""
        assert self._process.stdin
        assert self._process.stdout
        self.is_idle = False
        late = threading.Event()
        timer = threading.Timer(request["seconds"], self._stop, [late])
        timer.daemon = True
        timer.start()
        try:
            session.send(self._process.stdin, request, values)
            message = json.loads(self._process.stdout.readline(MAX_ANSWER))
            found = self._process.stdout.read(message["bytes"])
            if len(found) < message["bytes"]:
                raise EOFError
        except (OSError, EOFError, ValueError, KeyError, TypeError):
            raise ChildError(self._reason(late, request["seconds"])) from None
        finally:
            timer.cancel()
        self.is_idle = True
        return message["answer"], found

    def _stop(self, late: threading.Event) -> None:
        """Stop the child, which has taken too long."""
        late.set()
        self._process.kill()

    def _reason(self, late: threading.Event, seconds: float) -> str:
        """Return why there is no answer."""
        how = how_it_ended(self._process)
        if late.is_set():
            return f"it took longer than {seconds:.0f} s"
        return f"LiteRT crashed on it ({how}), so it is damaged, made to do harm or too large for the memory"


def _end(process: subprocess.Popen, owner: int) -> None:
    """End a child and wait for it, in the process that started it and not in a copy of that."""
    if os.getpid() == owner:
        process.kill()
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):  # half a request may be left to write
                stream.close()  # type: ignore[union-attr]
        process.wait()
