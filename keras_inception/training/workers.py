"""Workers of one training run: find the cluster, connect the workers and name those that are lost.

JAX's own service is not enough: a worker that waits for a lost one can hang until the heartbeat timeout and is then
aborted, and no message names the lost worker. The barrier and broadcast of `jax.experimental.multihost_utils` share
this problem, because they are computations on all devices: with JAX 0.10.2, if a worker is lost before the first
computation, those that wait for it are aborted after the heartbeat timeout of 60 seconds. `Rendezvous` therefore keeps
a TCP connection to each worker, which closes when the worker dies.
"""

import contextlib
import json
import logging
import os
import re
import select
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

GREETING_TIMEOUT = 10.0  # seconds for a new connection to say which worker it is
MAX_MESSAGE = 2**20  # bytes
RETRY_INTERVAL = 0.2  # seconds between attempts to reach worker 0
GRACE = 2.0  # seconds for all connections of a lost worker to close
POLL_INTERVAL = 0.1  # seconds between checks for closed connections

ADVICE = "Stop the other workers, then restart all of them with `resume`: they continue from the last checkpoint"

log = logging.getLogger(__name__)


class Cluster(NamedTuple):
    """The workers of one training run, as this process sees them.

    Attributes:
        addresses: ``host:port`` of each worker. The first is worker 0, the chief, to which the others connect.
        worker_id: the index of this process, from 0.
    """

    addresses: tuple[str, ...]
    worker_id: int

    def names(self, worker_ids: Sequence[int]) -> str:
        """Format workers for messages: ``worker 1 (host:port), worker 2 (host:port)``."""
        return ", ".join(f"worker {each} ({self.addresses[each]})" for each in worker_ids)


def find_cluster(workers: str | Sequence[str] | None = None, worker_id: int | None = None) -> Cluster:
    """Return the cluster that this process belongs to.

    Args:
        workers: ``host:port`` of each worker, in the same order for all: a sequence or a comma-separated string.
        worker_id: the index of this process in `workers`. If neither is given, both are read from the environment
            variable ``TF_CONFIG``, as for tf.distribute: ``{"cluster": {"worker": ["host:port", …]}, "task": {"type":
            "worker", "index": 0}}``. A ``chief`` in the cluster comes before the workers.

    Raises:
        ValueError: an address is malformed or repeated, or `worker_id` is out of range.
    """
    if workers is None and worker_id is None and os.environ.get("TF_CONFIG"):
        workers, worker_id = _parse_tf_config(os.environ["TF_CONFIG"])
    if workers is None:
        raise ValueError(
            "`workers` must be the host:port of each worker and `worker_id` the index of this process, unless "
            f"TF_CONFIG in the environment sets both. Received: {workers=}, {worker_id=}"
        )
    addresses = tuple(each.strip() for each in (workers.split(",") if isinstance(workers, str) else workers))
    for place, address in enumerate(addresses):
        _parse_address(address)
        if address in addresses[:place]:
            raise ValueError(f"`workers` must have different addresses. Received twice: {address!r}")
    if worker_id is None or not 0 <= worker_id < len(addresses):
        raise ValueError(
            f"`worker_id` must be from 0 to {len(addresses) - 1}, an index into `workers`. Received: {worker_id}"
        )
    return Cluster(addresses, worker_id)


def _parse_tf_config(text: str) -> tuple[list[str], int]:
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        chiefs, workers = ([str(each) for each in cluster.get(name, ())] for name in ("chief", "worker"))
        return chiefs + workers, int(task["index"]) + {"chief": 0, "worker": len(chiefs)}[task["type"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            "TF_CONFIG must be JSON whose cluster.worker is a list of host:port and whose task has an index and a "
            f"type, chief or worker. Received: {text!r:.300}"
        ) from None


def _parse_address(address: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[IPv6]:port``."""
    match = re.fullmatch(r"([^\s:/\[\]]+|\[[0-9A-Fa-f:.%]+\]):(\d{1,5})", address)
    if not match or not 0 < int(match[2]) < 2**16:
        raise ValueError(f"`workers` must each be host:port with a port from 1 to 65535. Received: {address!r}")
    return match[1].strip("[]"), int(match[2])


class _Connection:
    """A TCP connection that carries JSON, one line per message."""

    def __init__(self, connection: socket.socket):
        self.socket = connection
        self._file = connection.makefile("rwb")

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, value) -> None:
        self._file.write(json.dumps(value).encode() + b"\n")
        self._file.flush()

    def receive(self) -> Any:
        """Return the next value. Raise OSError if the connection is closed, ValueError if the message is not JSON."""
        text = self._file.readline(MAX_MESSAGE)
        if not text.endswith(b"\n"):
            raise ConnectionError("the connection was closed")
        return json.loads(text)

    def is_closed(self) -> bool:
        """Return whether the other end is closed and everything it sent has been read."""
        try:
            return bool(select.select([self], [], [], 0)[0]) and not self.socket.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):  # this end is closed
            return True

    def close(self) -> None:
        self.socket.close()
        self._file.close()


class Rendezvous:
    """Connections between worker 0 and all other workers, used to synchronize them and to share values.

    Worker 0 listens on its own address and frees it for JAX's service once all workers are connected. The network is
    trusted: messages are JSON, and workers are not authenticated.

    Args:
        cluster: the workers.
        timeout: seconds to wait for the others.

    Raises:
        TimeoutError: a worker did not connect in time; the message names its address.
        OSError: worker 0 cannot listen on its address.
        ValueError: worker 0 has another list of addresses, or a worker with this index is already connected.
    """

    def __init__(self, cluster: Cluster, timeout: float):
        self.cluster = cluster
        meet = _join if cluster.worker_id else _gather
        self._connections = meet(cluster, timeout)
        self._is_lost = threading.Event()
        self._is_over = False
        threading.Thread(target=self._watch, daemon=True).start()

    def broadcast(self, value=None) -> Any:
        """Return worker 0's `value`, of JSON types, on every worker once all have made this call.

        Raises:
            ConnectionError: a worker is lost.
        """
        connections = list(self._connections.values())
        try:
            if self.cluster.worker_id:
                connections[0].send(None)
                return connections[0].receive()
            waiting = connections.copy()
            while waiting:
                for connection in select.select(waiting, [], [])[0]:
                    connection.receive()
                    waiting.remove(connection)
            for connection in connections:
                connection.send(value)
            return value
        except OSError:
            raise ConnectionError(self.explain_failure()) from None

    def explain_failure(self) -> str:
        """Explain a failed collective operation: name the lost workers, or return an empty string if there are none."""
        return self._describe_lost() if self._is_lost.wait(GRACE) else ""

    def close(self) -> None:
        """Close the connections and stop reporting lost workers."""
        self._is_over = True
        for connection in self._connections.values():
            connection.close()

    def _watch(self) -> None:
        """Detect a lost worker and log it, since the main thread may hang waiting for that worker."""
        while not (self._is_over or self._closed()):
            time.sleep(POLL_INTERVAL)
        self._is_lost.set()
        time.sleep(GRACE)
        if not self._is_over:
            log.error(self._describe_lost())

    def _closed(self) -> list[int]:
        return [each for each, connection in self._connections.items() if connection.is_closed()]

    def _describe_lost(self) -> str:
        self._is_over = True
        return f"{self.cluster.names(self._closed())} was lost or has ended; its own output may say why. {ADVICE}"


def _gather(cluster: Cluster, timeout: float) -> dict[int, _Connection]:
    """Accept the connections of all other workers, as worker 0."""
    deadline = time.monotonic() + timeout
    others = range(1, len(cluster.addresses))
    joined: dict[int, _Connection] = {}
    with _listen(cluster) as server, contextlib.suppress(TimeoutError):
        while len(joined) < len(others) and (left := deadline - time.monotonic()) > 0:
            server.settimeout(left)
            accepted, address = server.accept()
            accepted.settimeout(min(GREETING_TIMEOUT, left))
            connection = _Connection(accepted)
            try:
                joined[_check_greeting(connection.receive(), cluster, joined)] = connection
                accepted.settimeout(None)
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("refused a connection from %s: %s", address[0], error)
                with contextlib.suppress(OSError):
                    connection.send({"refused": str(error)})
                connection.close()
    missing = [each for each in others if each not in joined]
    for connection in joined.values():
        connection.send({"missing": missing})
    if missing:
        raise TimeoutError(_describe_missing(cluster, missing, timeout))
    return joined


def _listen(cluster: Cluster) -> socket.socket:
    host, port = _parse_address(cluster.addresses[0])
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(
            f"{cluster.names([0])} cannot listen on its address: {error.strerror or error}. Is this machine worker 0, "
            "and has the previous training ended?"
        ) from None


def _check_greeting(greeting: dict, cluster: Cluster, joined: dict[int, _Connection]) -> int:
    """Return the index of the greeting worker. Raise ValueError if it does not belong to this cluster."""
    worker_id, workers = greeting["worker_id"], greeting["workers"]
    if workers != list(cluster.addresses):
        raise ValueError(
            f"`workers` must be the same for all. Worker 0 has {list(cluster.addresses)}. Received: {workers}"
        )
    if worker_id not in range(1, len(workers)) or (worker_id in joined and not joined[worker_id].is_closed()):
        raise ValueError(f"`worker_id` must be different for each worker. Received twice: {worker_id}")
    return worker_id


def _join(cluster: Cluster, timeout: float) -> dict[int, _Connection]:
    """Connect to worker 0, as another worker, and wait until all workers are connected."""
    deadline = time.monotonic() + timeout
    connection = _Connection(_connect(cluster, deadline, timeout))
    try:
        connection.send({"worker_id": cluster.worker_id, "workers": cluster.addresses})
        connection.socket.settimeout(max(deadline - time.monotonic(), 0) + GREETING_TIMEOUT)
        answer = connection.receive()
        refused, missing = answer.get("refused"), answer.get("missing")
    except (OSError, ValueError, AttributeError):
        connection.close()
        raise ConnectionError(
            f"{cluster.names([0])} did not answer: it has ended, or is training without this worker. {ADVICE}"
        ) from None
    if refused:
        raise ValueError(refused)
    if missing:
        raise TimeoutError(_describe_missing(cluster, missing, timeout))
    connection.socket.settimeout(None)
    return {0: connection}


def _connect(cluster: Cluster, deadline: float, timeout: float) -> socket.socket:
    while True:
        try:
            return socket.create_connection(_parse_address(cluster.addresses[0]), timeout=GREETING_TIMEOUT)
        except OSError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{_describe_missing(cluster, [0], timeout)}: {error.strerror or error}") from None
            time.sleep(RETRY_INTERVAL)


def _describe_missing(cluster: Cluster, workers: Sequence[int], timeout: float) -> str:
    return f"{cluster.names(workers)} did not connect within {timeout:g} s, or cannot be reached"
