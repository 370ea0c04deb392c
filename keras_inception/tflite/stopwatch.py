"""Time one .tflite file in its own process: python -m keras_inception.tflite.stopwatch FILE THREADS [ACCELERATOR].

The process prints a line of JSON when the file is loaded: ``load_ms``, ``import_ms``, ``memory_mb`` and ``device``, or
``error`` if it cannot be run. For each number of runs on standard input, it then prints the milliseconds of each run as
a line of JSON. Nothing but LiteRT is imported before the file is loaded.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from keras_inception.tflite.compiled import Compiled


class Interpreted:
    """A .tflite file in LiteRT's interpreter, with the methods of `Compiled`; its outputs are not read.

    Args:
        path: the .tflite file.
        threads: threads of the interpreter.

    Attributes:
        inputs: LiteRT's descriptions of the inputs.
        device: what runs the file.
    """

    device, outside = "XNNPACK", ()

    def __init__(self, path: str, threads: int):
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(path, num_threads=threads)
        self._interpreter.allocate_tensors()
        self.inputs = self._interpreter.get_input_details()
        self.run = self._interpreter.invoke

    def write(self, values: "Sequence[np.ndarray]") -> None:
        """Set the inputs."""
        for tensor, value in zip(self.inputs, values, strict=True):
            self._interpreter.set_tensor(tensor["index"], value)


def main(path: str, threads: str, accelerator: str = "cpu") -> None:
    """Load the file, then time as many runs as each line of standard input asks for."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # LiteRT prints to standard output, too
    try:
        told, run = loaded(path, int(threads), accelerator)
    except Exception as error:  # LiteRT raises exceptions of many classes
        told = {"error": " ".join(str(error).split()) or type(error).__name__}
    print(json.dumps(told), file=replies, flush=True)
    for line in sys.stdin if "error" not in told else ():
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            run()
            times.append(1000 * (time.perf_counter() - start))
        print(json.dumps(times), file=replies, flush=True)


def loaded(path: str, threads: int, accelerator: str):
    """Load the file and run it once on noise; return what there is to tell of it, and the function that runs it."""
    began = time.perf_counter()
    if accelerator == "cpu":
        import ai_edge_litert.interpreter
    else:
        import ai_edge_litert.compiled_model  # noqa: F401

        from keras_inception.tflite.compiled import in_half_precision, on_gpu
    imported, before = time.perf_counter(), resident()
    opened: Interpreted | Compiled
    if accelerator == "cpu":
        opened = Interpreted(path, threads)
    else:
        opened = on_gpu(path) if accelerator == "gpu" else in_half_precision(path, threads)
    ready = time.perf_counter()
    import numpy as np

    chance, values = np.random.default_rng(0), []
    for given in opened.inputs:
        kind = np.dtype(given["dtype"])
        noise = chance.integers(0, 256, given["shape"])
        values.append((noise / 127.5 - 1 if kind == np.float32 else noise).astype(kind))
    opened.write(values)
    opened.run()
    told = {"load_ms": 1000 * (ready - imported), "import_ms": 1000 * (imported - began)}
    left = f"; on the CPU: {', '.join(opened.outside)}" if opened.outside else ""
    return {**told, "memory_mb": resident() - before, "device": opened.device + left}, opened.run


def resident() -> float:
    """Return the resident memory of this process in MB, or 0 if the system is not Linux."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0


if __name__ == "__main__":
    main(*sys.argv[1:])
