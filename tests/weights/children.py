"""Run the readers' children quickly: fork each from a process that has already done the heavy imports.

Fuzz tests read thousands of files, and importing TensorFlow for each would take hours. A forked child runs the same
code under the same limits as one started by `run_module`.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from keras_inception.utils.subprocesses import ChildError, limit_memory


class Forks:
    """Stand in for `subprocesses.run_module`, with one server process per module."""

    def __init__(self, folder: Path):
        self._output = folder / "output"
        self._servers: dict[str, subprocess.Popen] = {}

    def __call__(self, module, job, environment=None, *, timeout, memory):
        if module not in self._servers:
            self._servers[module] = subprocess.Popen(
                [sys.executable, __file__, module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **environment},
                encoding="utf-8",
            )
        server = self._servers[module]
        order = {"job": job, "timeout": timeout, "memory": memory, "output": str(self._output)}
        print(json.dumps(order), file=server.stdin, flush=True)
        if code := json.loads(server.stdout.readline()):
            last = self._output.read_text(encoding="utf-8", errors="replace")[-300:]
            raise ChildError(f"{module} ended with exit code {code}: {last}")

    def close(self):
        for server in self._servers.values():
            server.communicate()


def serve(name):
    """Fork a child for each request on standard input and print its exit code."""
    module = importlib.import_module(name)
    if name.endswith("tf_slim_child"):
        importlib.import_module("tensorflow")
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            work(module, order)
        deadline = time.monotonic() + order["timeout"]
        while not (done := os.waitpid(pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)
        print(os.waitstatus_to_exitcode(done[1]), flush=True)


def work(module, order):
    """Run the module's `main` and exit as a child does."""
    code = 1
    with contextlib.suppress(Exception):
        output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        limit_memory(os.getpid(), order["memory"])
        module.main(order["job"])
        code = 0
    os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
