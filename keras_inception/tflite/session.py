"""Run a .tflite file in LiteRT, in this process or as the child process of `isolation`.

As a program, this file answers the requests of `isolation` on standard input. It then imports nothing but NumPy and
LiteRT, so that it starts in a tenth of a second. A message is a line of JSON, followed by as many bytes of values as
its ``bytes`` says.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

MAX_MESSAGE = 500  # characters of an error
GRACE = 10  # seconds after which a child ends itself if nobody has ended it at its time limit


class Session:
    """An interpreter, ready to run.

    Args:
        interpreter: LiteRT's interpreter of a file.

    Attributes:
        inputs: ``index``, ``shape``, ``signature`` (the shape, with -1 for dynamic sizes), ``kind`` (the name of the
            NumPy type), ``scale`` and ``zero_point`` of each input, as JSON types.
        outputs: the same of each output.
    """

    def __init__(self, interpreter: "Interpreter"):
        self._interpreter = interpreter
        inputs = interpreter.get_input_details()
        dynamic = [each for each in inputs if each["shape_signature"].tolist()[:1] == [-1] and each["shape"][0] != 1]
        for each in dynamic:
            interpreter.resize_tensor_input(each["index"], [1, *each["shape"].tolist()[1:]])
        interpreter.allocate_tensors()
        self.inputs = [_described(each) for each in interpreter.get_input_details()]
        self.outputs = [_described(each) for each in interpreter.get_output_details()]

    def operations(self) -> list[dict]:
        """Return ``op_name`` and the indices of the ``inputs`` and ``outputs`` of each operation, in graph order."""
        return [
            {
                "op_name": each["op_name"],
                "inputs": list(map(int, each["inputs"])),
                "outputs": list(map(int, each["outputs"])),
            }
            for each in self._interpreter._get_ops_details()
        ]

    def tensors(self) -> list[dict]:
        """Return ``index``, ``shape`` and the rest of each tensor, as in `inputs`."""
        return [_described(each) for each in self._interpreter.get_tensor_details()]

    def run(self, values: np.ndarray) -> np.ndarray:
        """Return the outputs, (n, ...), of the only input's values, (n, ...), one inference each."""
        (given,), (taken,) = self.inputs, self.outputs
        outputs = []
        for value in values:
            self._interpreter.set_tensor(given["index"], value[None])
            self._interpreter.invoke()
            outputs.append(self._interpreter.get_tensor(taken["index"]).reshape(-1))
        return np.stack(outputs)

    def time(self, runs: int) -> list[float]:
        """Return the milliseconds of some inferences of noise."""
        chance, times = np.random.default_rng(0), []
        for given in self.inputs:
            noise = chance.integers(0, 256, given["shape"])
            value = noise / 127.5 - 1 if given["kind"].startswith("float") else noise
            self._interpreter.set_tensor(given["index"], value.astype(given["kind"]))
        for _ in range(runs):
            begun = time.perf_counter()
            self._interpreter.invoke()
            times.append(1000 * (time.perf_counter() - begun))
        return times


def _described(tensor: Mapping[str, Any]) -> dict:
    scale, zero_point = tensor["quantization"]
    return {
        "index": int(tensor["index"]),
        "shape": tensor["shape"].tolist(),
        "signature": tensor["shape_signature"].tolist(),
        "kind": tensor["dtype"].__name__,
        "scale": float(scale),
        "zero_point": int(zero_point),
    }


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer requests until there are no more: first ``open``, then those that `_answer` knows."""
    pending: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests, pending), daemon=True).start()
    session = None
    while True:
        request, content = pending.get()
        _end_after(request["seconds"] + GRACE)
        values = b""
        try:
            if session is None:
                session = Session(_opened(**request["open"]))
                answer: Any = {"inputs": session.inputs, "outputs": session.outputs}
            else:
                answer, values = _answer(session, request, content)
        except Exception as error:  # LiteRT raises exceptions of many classes for damaged files
            answer = {"error": " ".join(str(error).split())[:MAX_MESSAGE] or type(error).__name__}
        _end_after(0)
        send(replies, {"answer": answer}, values)


def send(stream: IO[bytes], message: dict, values: bytes | memoryview = b"") -> None:
    """Write a message."""
    stream.write(json.dumps({**message, "bytes": len(values)}).encode() + b"\n")
    stream.write(values)
    stream.flush()


def _answer(session: Session, request: dict, content: bytes) -> tuple[Any, bytes]:
    """Return the answer to a request, and the values that go with it."""
    if request["do"] == "run":
        (given,) = session.inputs
        values = np.frombuffer(content, given["kind"]).reshape(-1, *given["shape"][1:])
        return None, session.run(values).tobytes()
    if request["do"] == "time":
        return session.time(request["runs"]), b""
    return session.operations() if request["do"] == "operations" else session.tensors(), b""


def _opened(path: str, threads: int, delegates: bool) -> "Interpreter":
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if delegates else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return Interpreter(path, num_threads=threads, experimental_op_resolver_type=resolver)


def _receive(requests: IO[bytes], pending: queue.SimpleQueue) -> None:
    """Pass on requests. End this process when there are no more, even in the middle of an inference."""
    while line := requests.readline():
        request = json.loads(line)
        pending.put((request, requests.read(request["bytes"])))
    os._exit(0)


def _end_after(seconds: float) -> None:
    """Let the system end this process after some time, where it can; 0 cancels this."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def detach() -> None:
    """Discard what LiteRT prints, leave Ctrl-C to the parent, and write no core files."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Answer requests on standard input."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    detach()
    with suppress(Exception):  # the first request raises it again
        import ai_edge_litert.interpreter  # noqa: F401  while nobody waits for it
    serve(requests, replies)


if __name__ == "__main__":
    main()
