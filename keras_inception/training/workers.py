"""How the workers of one training find each other, and agree."""

import contextlib
import json
import logging
import os
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

GREETING = 10.0  # seconds that a connection has to say who it is
LONGEST = 2**20  # bytes of a message
RETRY = 0.2  # seconds between two looks for worker 0
GRACE = 2.0  # seconds in which all connections of a worker that was lost are closed
POLL = 0.1  # seconds between two looks whether one is

AGAIN = "End the other workers, and start all again with resuming: they go on from the last checkpoint"

log = logging.getLogger(__name__)


class Team(NamedTuple):
    """Who trains together.

    Attributes:
        addresses: ``host:port`` of each worker. At the first one's, the chief's, the others look for it.
        worker_id: which of them this process is, from 0.
    """

    addresses: tuple[str, ...]
    worker_id: int

    @property
    def others(self) -> list[int]:
        return [each for each in range(len(self.addresses)) if each != self.worker_id]

    def names(self, worker_ids: Sequence[int]) -> str:
        """What messages call some workers."""
        return ", ".join(f"worker {each} ({self.addresses[each]})" for each in worker_ids)


def find_team(workers: str | Sequence[str] | None = None, worker_id: int | None = None) -> Team:
    """The team of this process.

    Args:
        workers: ``host:port`` of each worker, in the same order for all, in a sequence or in a text by commas.
        worker_id: which of them this process is. If neither is given, ``TF_CONFIG`` in the environment says both, as
            for tf.distribute: ``{"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}``. A
            ``chief`` in its cluster comes before the workers.

    Raises:
        ValueError: an address is malformed or there twice, or there is no such worker.
    """
    if workers is None and worker_id is None and os.environ.get("TF_CONFIG"):
        workers, worker_id = _of_environment(os.environ["TF_CONFIG"])
    if workers is None:
        raise ValueError(
            "`workers` must be host:port of each worker, and `worker_id` which of them this process is, or TF_CONFIG "
            f"in the environment must say both. Received: {workers=}, {worker_id=}"
        )
    addresses = tuple(each.strip() for each in (workers.split(",") if isinstance(workers, str) else workers))
    for place, address in enumerate(addresses):
        _split(address)
        if address in addresses[:place]:
            raise ValueError(f"`workers` must have an address each. Received twice: {address!r}")
    if worker_id is None or not 0 <= worker_id < len(addresses):
        raise ValueError(
            f"`worker_id` must be from 0 to {len(addresses) - 1}, a place in `workers`. Received: {worker_id}"
        )
    return Team(addresses, worker_id)


def _of_environment(text: str) -> tuple[list[str], int]:
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        chiefs, workers = ([str(each) for each in cluster.get(name, ())] for name in ("chief", "worker"))
        return chiefs + workers, int(task["index"]) + {"chief": 0, "worker": len(chiefs)}[task["type"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            "TF_CONFIG must be JSON whose cluster.worker is a list of host:port, and whose task has a type, chief or "
            f"worker, and an index. Received: {text!r:.300}"
        ) from None


def _split(address: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[IPv6]:port``."""
    match = re.fullmatch(r"([^\s:/\[\]]+|\[[0-9A-Fa-f:.%]+\]):(\d{1,5})", address)
    if not match or not 0 < int(match[2]) < 2**16:
        raise ValueError(f"`workers` must be host:port each, the port from 1 to 65535. Received: {address!r}")
    return match[1].strip("[]"), int(match[2])


class _Line:
    """A connection that carries JSON, a line each way at a time."""

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self._file = connection.makefile("rwb")

    def say(self, value) -> None:
        self._file.write(json.dumps(value).encode() + b"\n")
        self._file.flush()

    def hear(self) -> Any:
        """The next value; OSError if the connection is closed, ValueError if what came is no JSON."""
        text = self._file.readline(LONGEST)
        if not text.endswith(b"\n"):
            raise ConnectionError("the connection was closed")
        return json.loads(text)

    def has_come(self, timeout: float = 0) -> bool:
        """Whether something has, the other end's closing too, or does within so many seconds."""
        return bool(select.select([self.connection], [], [], timeout)[0])

    def is_closed(self) -> bool:
        """Whether there is nothing to hear any more."""
        try:
            return self.has_come() and not self.connection.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):  # this end is
            return True

    def close(self) -> None:
        self.connection.close()
        self._file.close()


class Meeting:
    """The connections of worker 0 with each other worker, by which they wait for each other and agree.

    They are made on worker 0's address, in networks whose machines trust each other: what comes is read as JSON, and
    nobody has to prove who they are. Once all have come the address is free for others to listen on.

    Raises:
        TimeoutError: a worker has not come in time; the message names its address.
        OSError: worker 0 cannot listen on its address.
        ValueError: worker 0 has been given other addresses, or there is such a worker already.
    """

    def __init__(self, team: Team, timeout: float):
        """`timeout`: seconds to wait for the others."""
        self.team = team
        if team.worker_id == 0:
            self._lines = _gather(team, timeout)
        else:
            self._lines = {0: _join(team, timeout)}
        self._is_over = False
        threading.Thread(target=self._watch, daemon=True).start()

    def agree(self, value=None) -> Any:
        """The value that worker 0 has, one of JSON's, once all workers have come to ask for it.

        Raises:
            ConnectionError: a worker is gone.
        """
        if self.team.worker_id:
            self._with(0, lambda line: line.say(None))
            return self._with(0, _Line.hear)
        for each, line in self._lines.items():
            while not line.has_come(POLL):
                if gone := self._closed():
                    raise ConnectionError(self._gone(gone))
            self._with(each, _Line.hear)
        for each in self._lines:
            self._with(each, lambda line: line.say(value))
        return value

    def _with(self, worker_id: int, talk: Callable[[_Line], Any]) -> Any:
        try:
            return talk(self._lines[worker_id])
        except (OSError, ValueError):
            raise ConnectionError(self._gone([worker_id])) from None

    def explain(self) -> str:
        """Why something that takes all workers may have failed, if a worker is gone; else nothing."""
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline:
            if gone := self._closed():
                return self._gone(gone)
            time.sleep(POLL)
        return ""

    def close(self) -> None:
        self._is_over = True
        for line in self._lines.values():
            line.close()

    def _watch(self) -> None:
        """Say that a worker is gone where nothing else does: in an operation that waits for it."""
        while not self._is_over:
            if gone := self._closed():
                time.sleep(GRACE)
                if not self._is_over:
                    log.error(self._gone(gone))
            time.sleep(POLL)

    def _closed(self) -> list[int]:
        return [each for each, line in self._lines.items() if line.is_closed()]

    def _gone(self, workers: list[int]) -> str:
        self._is_over = True
        return f"{self.team.names(workers)} was lost or has ended, and its own output may say why. {AGAIN}"


def _gather(team: Team, timeout: float) -> dict[int, _Line]:
    """Worker 0's connections with all others."""
    deadline = time.monotonic() + timeout
    came: dict[int, _Line] = {}
    with _listening(team) as server:
        while len(came) < len(team.others) and (left := deadline - time.monotonic()) > 0:
            server.settimeout(left)
            try:
                connection, address = server.accept()
            except TimeoutError:
                break
            connection.settimeout(min(GREETING, left))
            line = _Line(connection)
            try:
                worker_id = _greet(line.hear(), team, came)
                connection.settimeout(None)
                came[worker_id] = line
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("turned %s away: %s", address[0], error)
                _refuse(line, error)
    missing = [each for each in team.others if each not in came]
    for line in came.values():
        line.say({"missing": missing})
    if missing:
        raise TimeoutError(_missing(team, missing, timeout))
    return came


def _listening(team: Team) -> socket.socket:
    host, port = _split(team.addresses[0])
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(
            f"{team.names([0])} cannot listen on its address: {error.strerror or error}. Is this worker 0, and is "
            "another one still running?"
        ) from None


def _greet(greeting: dict, team: Team, came: dict[int, _Line]) -> int:
    """Who has come; ValueError if it is not of this team."""
    worker_id, workers = greeting["worker_id"], greeting["workers"]
    if workers != list(team.addresses):
        raise ValueError(
            f"`workers` must be the same for all. Worker 0 has {list(team.addresses)}. Received: {workers}"
        )
    if worker_id not in team.others or (worker_id in came and not came[worker_id].is_closed()):
        raise ValueError(f"`worker_id` must be another one for each worker. Received twice: {worker_id}")
    return worker_id


def _refuse(line: _Line, error: Exception) -> None:
    with contextlib.suppress(OSError):
        line.say({"refused": str(error)})
    line.close()


def _join(team: Team, timeout: float) -> _Line:
    """Another worker's connection with worker 0, once all have come."""
    deadline = time.monotonic() + timeout
    line = _Line(_connect(team, deadline, timeout))
    try:
        line.say({"worker_id": team.worker_id, "workers": team.addresses})
        line.connection.settimeout(max(deadline - time.monotonic(), 0) + GREETING)
        answer = line.hear()
        refused, missing = answer.get("refused"), answer.get("missing")
    except (OSError, ValueError, AttributeError):
        line.close()
        raise ConnectionError(
            f"{team.names([0])} gave no answer: it has ended, or is training without this worker. {AGAIN}"
        ) from None
    if refused:
        raise ValueError(refused)
    if missing:
        raise TimeoutError(_missing(team, missing, timeout))
    line.connection.settimeout(None)
    return line


def _connect(team: Team, deadline: float, timeout: float) -> socket.socket:
    while True:
        try:
            return socket.create_connection(_split(team.addresses[0]), timeout=GREETING)
        except OSError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{_missing(team, [0], timeout)}: {error.strerror or error}") from None
            time.sleep(RETRY)


def _missing(team: Team, workers: Sequence[int], timeout: float) -> str:
    return f"{team.names(workers)} did not come within {timeout:g} s, or cannot be reached"
