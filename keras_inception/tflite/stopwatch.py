"""Time one .tflite file in its own process: python -m keras_inception.tflite.stopwatch FILE THREADS.

The process prints a line of JSON when the file is loaded. For each number of runs on standard input, it then prints the
milliseconds of each run as a line of JSON. Nothing but LiteRT is imported before the file is loaded.
"""

import json
import os
import sys
import time


def main(path: str, threads: str) -> None:
    """Load the file, then time as many runs as each line of standard input asks for."""
    began = time.perf_counter()
    from ai_edge_litert.interpreter import Interpreter

    imported, before = time.perf_counter(), resident()
    interpreter = Interpreter(path, num_threads=int(threads))
    interpreter.allocate_tensors()
    loaded = time.perf_counter()
    import numpy as np

    chance = np.random.default_rng(0)
    for given in interpreter.get_input_details():
        noise = chance.integers(0, 256, given["shape"])
        value = noise / 127.5 - 1 if given["dtype"] == np.float32 else noise
        interpreter.set_tensor(given["index"], value.astype(given["dtype"]))
    interpreter.invoke()
    told = {"load_ms": 1000 * (loaded - imported), "import_ms": 1000 * (imported - began)}
    print(json.dumps({**told, "memory_mb": resident() - before}), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            interpreter.invoke()
            times.append(1000 * (time.perf_counter() - start))
        print(json.dumps(times), flush=True)


def resident() -> float:
    """Return the resident memory of this process in MB, or 0 if the system is not Linux."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0


if __name__ == "__main__":
    main(*sys.argv[1:])
