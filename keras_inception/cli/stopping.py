"""Ctrl-C and SIGTERM: a command ends with one line that says what is kept, without children and temporary files."""

import contextlib
import os
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, SimpleNamespace

from keras_inception.utils import files, progress, subprocesses

SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
PATIENCE = 3.0  # seconds until another thread ends a process whose main thread is inside a library
NOT_FINISHED = "the command has not finished; run it again"

_command = SimpleNamespace(say=None, is_ending=False)


def when_stopped(say: Callable[[], str]) -> None:
    """Set what the running command says when a signal ends it: what is kept, and how to go on."""
    _command.say = say


def when_resumable(kept: Callable[[], str], *arguments: object) -> None:
    """Let the running command say what is kept, and which command goes on from there.

    Args:
        kept: returns what is kept, or raises an OSError or a ValueError if the work has not begun yet.
        *arguments: those of the command that goes on.
    """

    def say() -> str:
        try:
            found = kept()
        except (OSError, ValueError):
            return "nothing has been written yet; run the command again"
        return f"{found}. Go on with: {shlex.join(['keras-inception', *map(str, arguments)])}"

    when_stopped(say)


def end_on_signals() -> None:
    """End this process on Ctrl-C and SIGTERM from now on: with its children, at once and with one line.

    No exception is raised: libraries swallow it, abort in C++ while they are imported, or complain of objects that they
    could not close. A signal that this process ignores, as those in the background of a shell do, stays ignored.
    """
    error_output = os.dup(2)  # it may be redirected when the signal comes
    received, wakeup = socket.socketpair()
    wakeup.setblocking(False)

    def handle(signum: int, frame: FrameType | None) -> None:
        _end(signum, error_output)

    def watch() -> None:
        (signum,) = received.recv(1)
        time.sleep(PATIENCE)
        _end(signum, error_output)

    for each in SIGNALS:
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, handle)
    signal.set_wakeup_fd(wakeup.detach(), warn_on_full_buffer=False)  # Python writes the number of each signal to it
    threading.Thread(target=watch, daemon=True).start()


def raise_on_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt from now on, in a command that ends well by it."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(signum: int, error_output: int) -> None:
    """End this process."""
    if _command.is_ending:
        return
    _command.is_ending = True
    threading.excepthook = lambda _: None  # what other threads miss from now on is of no interest
    subprocesses.end_children()
    for name, module in list(sys.modules.items()):
        if name.startswith("__autograph_generated_file"):  # TensorFlow removes these files only at a normal exit
            with contextlib.suppress(OSError, TypeError):
                os.unlink(module.__file__ or "")
    with contextlib.suppress(Exception):  # of an output that is closed, or in use by what the signal has interrupted
        progress.clear()
        sys.stdout.flush()
        if sys.stdout.isatty():
            os.write(1, b"\n")  # after a progress bar
    with contextlib.suppress(OSError):
        os.write(error_output, f"{SIGNALS[signal.Signals(signum)]}: {_said()}\n".encode(errors="surrogateescape"))
    files.remove_temporary()
    os._exit(128 + signum)


def _said() -> str:
    """Return what the running command says when a signal ends it."""
    try:
        return _command.say() if _command.say else NOT_FINISHED
    except Exception:  # what it has written may be half of it
        return NOT_FINISHED
