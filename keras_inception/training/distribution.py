"""What the steps of a training are spread over."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from keras_inception.training.workers import Meeting, find_team
from keras_inception.utils.suggestions import did_you_mean

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from keras_inception.training.recipe import Recipe

T = TypeVar("T")

BACKENDS = {"mirrored": "tensorflow", "multiworker": "jax"}
# Seconds. JAX ends a worker when another one has not been heard of for so long, and waits so long for others to end.
HEARTBEAT, SHUTDOWN = 60, 10


class Distribution(AbstractContextManager):
    """One device of one machine: nothing is spread. Others override what differs.

    Attributes:
        is_chief: whether this process writes the run directory.
        is_replicated: whether there are several copies of the network, whose batch norms see the whole batch.
        part: (r, n) if this process feeds the rows r::n of each batch.
    """

    is_chief: bool = True
    is_replicated: bool = False
    part: tuple[int, int] = (0, 1)

    def __exit__(self, kind, error, traceback) -> None:
        pass

    def check(self, recipe: "Recipe") -> None:
        """Raise ValueError if a recipe cannot be spread so."""

    def scope(self) -> AbstractContextManager:
        """In which the network is made and compiled."""
        return nullcontext()

    def fit(self, model: "keras.Model", batches: "tf.data.Dataset", *, callbacks: Sequence = (), **arguments) -> None:
        """`model.fit` with the batches, or this process's part of them."""
        model.fit(batches, callbacks=list(callbacks), **arguments)

    def once(self, action: Callable[[], T]) -> T | None:
        """Do something in the chief alone; the others wait until it is done."""
        return action()

    def agree(self, value: T) -> T:
        """The chief's value, one of JSON's, for all workers; each waits for the others."""
        return value


ALONE = Distribution()


class Mirrored(Distribution):
    """All GPUs of this machine, each with a copy of the network and a part of each batch (tf.distribute).

    Raises:
        ValueError: there are fewer than two devices, or Keras does not run on TensorFlow.
    """

    is_replicated = True

    def __init__(self):
        prepare("mirrored")
        import tensorflow as tf

        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) < 2:
            raise ValueError(f"`distribute` as mirrored needs two GPUs or more. Received: {len(devices)} device")
        self.strategy = tf.distribute.MirroredStrategy([device.name for device in devices])

    def check(self, recipe: "Recipe") -> None:
        _check_divisible(recipe, self.strategy.num_replicas_in_sync)

    def scope(self) -> AbstractContextManager:
        return self.strategy.scope()


class MultiWorker(Distribution):
    """Many machines, with a copy of the network on each of their devices and a part of each batch (Keras on JAX).

    Every worker runs the same program and sees the pictures and the run directory under the same paths. Worker 0, the
    chief, alone writes, and its recipe is everybody's. A worker that is lost ends the others; all started again resume
    at the last checkpoint. Where pictures of a batch are mixed, they are with those of the same worker.

    To be used as a context manager, at whose end the workers wait for each other.

    Args:
        workers, worker_id: as in `keras_inception.training.workers.find_team`.
        timeout: seconds to wait for the other workers to be started.

    Raises:
        ValueError: an argument is not as it should be, Keras does not run on JAX, or the workers' devices differ in
            number.
        OSError: a worker has not come in time, or worker 0 cannot listen on its address.
    """

    is_replicated = True

    def __init__(
        self, workers: str | Sequence[str] | None = None, worker_id: int | None = None, *, timeout: float = 300.0
    ):
        prepare("multiworker")
        team = find_team(workers, worker_id)
        count = len(team.addresses)
        self.is_chief = team.worker_id == 0
        self.part = team.worker_id, count
        import jax
        import keras
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")  # it reads the pictures; GPUs are JAX's
        self.meeting = Meeting(team, timeout)
        jax.distributed.initialize(
            team.addresses[0],
            count,
            team.worker_id,
            cluster_detection_method="deactivate",
            coordinator_bind_address=team.addresses[0],
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=SHUTDOWN,
        )
        self.replicas = jax.device_count()
        if self.replicas != jax.local_device_count() * count:
            raise ValueError(
                f"each worker must have as many devices, {self.replicas} in all. Received: {jax.local_device_count()}"
            )
        self.data_parallel = keras.distribution.DataParallel(auto_shard_dataset=False)

    def __exit__(self, kind, error, traceback) -> None:
        if error is None:
            self.meeting.agree()
        self.meeting.close()
        if error is None:
            import jax

            jax.distributed.shutdown()

    def check(self, recipe: "Recipe") -> None:
        _check_divisible(recipe, self.replicas)
        if recipe.minutes is not None:
            raise ValueError(
                "`minutes` cannot be had with `distribute` as multiworker, whose schedule is compiled: set `epochs`. "
                f"Received: minutes={recipe.minutes}"
            )
        if recipe.xla == "off":
            raise ValueError("`xla` cannot be off with `distribute` as multiworker: JAX always compiles by it")

    @contextmanager
    def scope(self) -> Iterator[None]:
        """As for all; what fails in it because a worker is gone is a ConnectionError that says so."""
        try:
            with self.data_parallel.scope():
                yield
        except (RuntimeError, ValueError) as error:  # as which JAX's collective operations fail
            if reason := self.meeting.explain():
                raise ConnectionError(f"{reason}. Here: {' '.join(str(error).split())[:200]}") from error
            raise

    def fit(self, model: "keras.Model", batches: "tf.data.Dataset", *, callbacks: Sequence = (), **arguments) -> None:
        # Between epochs the chief does what the others do not: what it makes there, and saving makes variables, must
        # not be everybody's.
        around = [_setting(None), *callbacks, _setting(self.data_parallel)]
        with self.scope():
            model.fit(batches, callbacks=around, **arguments)

    def once(self, action: Callable[[], T]) -> T | None:
        result = action() if self.is_chief else None
        self.meeting.agree()
        return result

    def agree(self, value: Any) -> Any:
        return self.meeting.agree(value)


def _setting(distribution: "keras.distribution.Distribution | None") -> "keras.callbacks.Callback":
    """Sets Keras' distribution for the callbacks after it."""
    import keras

    def set_it(*_) -> None:
        keras.distribution.set_distribution(distribution)

    names = ("on_epoch_begin", "on_epoch_end", "on_train_begin", "on_train_end")
    return keras.callbacks.LambdaCallback(**dict.fromkeys(names, set_it))


def prepare(name: str | None) -> None:
    """Choose Keras' backend for a way to spread a training, best before Keras is imported.

    Args:
        name: as in `open_distribution`.

    Raises:
        ValueError: there is no such way, what it takes is not installed, or Keras runs on another backend.
    """
    if name is None:
        return
    if name not in BACKENDS:
        allowed = ", ".join(BACKENDS)
        raise ValueError(f"`distribute` must be one of {allowed}.{did_you_mean(name, BACKENDS)} Received: {name!r}")
    backend = BACKENDS[name]
    if importlib.util.find_spec(backend) is None:
        raise ValueError(f"`distribute` as {name} takes {backend}: install keras-inception[{name}]")
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
        return
    import keras

    if keras.backend.backend() != backend:
        raise ValueError(
            f"`distribute` as {name} needs Keras to run on {backend}: set KERAS_BACKEND={backend} in the environment "
            f"before Keras is imported. Received: {keras.backend.backend()}"
        )


def open_distribution(
    name: str | None,
    *,
    workers: str | Sequence[str] | None = None,
    worker_id: int | None = None,
    timeout: float = 300.0,
) -> Distribution:
    """What a training is spread over, to be used as a context manager.

    Args:
        name: None for one device, ``"mirrored"`` for the GPUs of this machine, ``"multiworker"`` for many machines.
        workers, worker_id, timeout: as in `MultiWorker`.

    Raises:
        ValueError, OSError: as in `Mirrored` and `MultiWorker`.
    """
    if name != "multiworker" and not (workers is None and worker_id is None):
        raise ValueError(
            "`workers` and `worker_id` belong to `distribute` as multiworker. "
            f"Received: distribute={name!r}, {workers=}, {worker_id=}"
        )
    prepare(name)
    if name == "multiworker":
        return MultiWorker(workers, worker_id, timeout=timeout)
    return Mirrored() if name == "mirrored" else ALONE


def _check_divisible(recipe: "Recipe", devices: int) -> None:
    if recipe.batch_size % devices:
        raise ValueError(f"`batch_size` must be a multiple of the {devices} devices. Received: {recipe.batch_size}")
