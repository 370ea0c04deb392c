"""Run children quickly: fork each from a process that has already done the heavy imports.

Fuzz tests read thousands of files, and other tests convert a hundred networks: importing TensorFlow for each would
take hours. A forked child runs the same code under the same limits as one started by `run_module`.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from keras_inception.utils.subprocesses import TIMEOUT, ChildError, limit_memory

HEAVY = {"tf_slim_child": ["tensorflow"], "convert": ["tensorflow", "tensorflow.lite.python.lite"]}


def ends(pid: int, seconds: float = 60) -> bool:
    """Return True once there is no such process, or only one that waits to be collected, which not every init does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        shown = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, encoding="utf-8", check=False
        )
        if shown.stdout.strip()[:1] in ("", "Z"):
            return True
        time.sleep(0.05)
    return False


class Forks:
    """Stand in for `subprocesses.run_module`, with one server process per module."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._servers: dict[str, subprocess.Popen] = {}  # by module and environment
        self._lock = threading.Lock()

    def __call__(self, module, job, environment=None, *, timeout=TIMEOUT / 3, memory=None):
        output = self._folder / module
        order = {"job": job, "timeout": timeout, "memory": memory, "output": str(output), "folder": os.getcwd()}
        with self._lock:
            server = self._server(module, environment or {})
            print(json.dumps(order), file=server.stdin, flush=True)
            if code := json.loads(server.stdout.readline()):
                said = output.read_text(encoding="utf-8", errors="replace")
                raise ChildError(f"{module} ended with exit code {code}: {said[-300:]}", said)

    def _server(self, module, environment):
        key = json.dumps([module, environment])
        if key not in self._servers:
            self._servers[key] = subprocess.Popen(
                [sys.executable, __file__, module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **environment},
                encoding="utf-8",
            )
        return self._servers[key]

    def close(self):
        for server in self._servers.values():
            server.communicate()


def serve(name):
    """Fork a child for each request on standard input and print its exit code."""
    module = importlib.import_module(name)
    for heavy in HEAVY.get(name.rpartition(".")[2], ()):
        importlib.import_module(heavy)
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
    try:
        output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(order["folder"])
        limit_memory(os.getpid(), order["memory"])
        module.main(order["job"])
        code = 0
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
    os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
