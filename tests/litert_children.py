"""Start children that run LiteRT quickly: fork each from a process that has imported it.

Fuzz tests run thousands of files, each in a child of its own. A forked child runs the same code under the same limits
as one started by `isolation.start`.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from keras_inception.tflite import session


class LiteRTForks:
    """Stand in for `isolation.start`, with one server process."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self._lock = threading.Lock()
        self._count = 0
        self._server = None

    def __call__(self):
        with self._lock:
            self._count += 1
            pipes = [str(Path(self._folder.name, f"{self._count}-{end}")) for end in ("requests", "replies")]
            for pipe in pipes:
                os.mkfifo(pipe)
            pid = self._ask({"fork": pipes, "folder": os.getcwd()})
            child = Fork(self, pid, open(pipes[0], "wb"), open(pipes[1], "rb"))  # noqa: SIM115
            for pipe in pipes:
                os.unlink(pipe)
            return child

    def wait(self, pid):
        """Wait for a child and return its exit code."""
        with self._lock:
            return self._ask({"wait": pid})

    def _ask(self, request):
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
            )
        print(json.dumps(request), file=self._server.stdin, flush=True)
        return json.loads(self._server.stdout.readline())

    def close(self):
        if self._server:
            self._server.communicate()
        self._folder.cleanup()


class Fork:
    """Stand in for the `subprocess.Popen` of a forked child."""

    def __init__(self, forks, pid, stdin, stdout):
        self._forks, self.pid, self.stdin, self.stdout, self.returncode = forks, pid, stdin, stdout, None

    def kill(self):
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout=None):
        if self.returncode is None:
            self.returncode = self._forks.wait(self.pid)
        return self.returncode


def serve():
    """Fork a child, or wait for one, for each request on standard input."""
    import ai_edge_litert.interpreter  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), flush=True)
        elif pid := os.fork():
            print(pid, flush=True)
        else:
            os.chdir(request["folder"])
            requests, replies = open(request["fork"][0], "rb"), open(request["fork"][1], "wb")  # noqa: SIM115
            session.detach()
            session.serve(requests, replies)


if __name__ == "__main__":
    serve()
