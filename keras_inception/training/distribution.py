"""Distribute training steps over devices or machines."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from keras_inception.training.workers import Cluster, Rendezvous, find_cluster
from keras_inception.utils.checks import check_one_of

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from keras_inception.training.recipe import Recipe

T = TypeVar("T")

BACKENDS = {"mirrored": "tensorflow", "multiworker": "jax"}
# Seconds of silence after which JAX considers a worker lost; seconds to wait for the others on exit.
HEARTBEAT_TIMEOUT, SHUTDOWN_TIMEOUT = 60, 10


class Distribution(AbstractContextManager):
    """Train on one device of one machine. Subclasses override what differs.

    Attributes:
        is_chief: whether this process writes the run directory.
        is_replicated: whether the network has several replicas, with synchronized batch norms.
        replicas: the number of devices that share each batch.
        part: (r, n) if this process feeds rows r::n of each batch.
    """

    is_chief: bool = True
    is_replicated: bool = False
    replicas: int = 1
    part: tuple[int, int] = (0, 1)

    def __exit__(self, kind, error, traceback) -> None:
        pass

    def check(self, recipe: "Recipe") -> None:
        """Raise ValueError if a recipe cannot be trained with this distribution."""
        if recipe.batch_size % self.replicas:
            raise ValueError(
                f"`batch_size` must be a multiple of the number of devices, {self.replicas}. "
                f"Received: batch_size={recipe.batch_size}"
            )

    def scope(self) -> AbstractContextManager:
        """Return the context in which to build and compile the network."""
        return nullcontext()

    def fit(self, model: "keras.Model", batches: "tf.data.Dataset", *, callbacks: Sequence = (), **arguments) -> None:
        """Call `model.fit` on the batches, or on this process's part of them."""
        model.fit(batches, callbacks=list(callbacks), **arguments)

    def on_chief(self, action: Callable[[], T]) -> T | None:
        """Run `action` on the chief while the others wait. Return its result on the chief and None elsewhere."""
        return action()

    def broadcast(self, value: T) -> T:
        """Return the chief's `value`, of JSON types, on every worker once all have made this call."""
        return value


ALONE = Distribution()


class Mirrored(Distribution):
    """Train on all GPUs of this machine with tf.distribute: each has a replica and processes part of every batch.

    Raises:
        ValueError: there are fewer than two devices.
    """

    is_replicated = True

    def __init__(self):
        import tensorflow as tf

        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) < 2:
            raise ValueError(f"`distribute='mirrored'` needs at least two GPUs. Received: {len(devices)} device")
        self.replicas = len(devices)
        self.strategy = tf.distribute.MirroredStrategy([device.name for device in devices])

    def scope(self) -> AbstractContextManager:
        return self.strategy.scope()


class MultiWorker(Distribution):
    """Train on several machines with Keras on JAX: each device has a replica and processes part of every batch.

    Every worker runs the same program and sees the images and the run directory at the same paths. Only worker 0, the
    chief, writes, and all workers use its recipe. If a worker is lost, the others exit. Restarted together, they resume
    from the last checkpoint. MixUp and CutMix only mix images of the same worker.

    Use it as a context manager: on exit, the workers wait for each other.

    Args:
        cluster: the workers.
        timeout: seconds to wait for the other workers to start.

    Raises:
        ValueError: the workers differ in their addresses or their number of devices.
        OSError: a worker did not connect in time, or worker 0 cannot listen on its address.
    """

    is_replicated = True

    def __init__(self, cluster: Cluster, timeout: float):
        count = len(cluster.addresses)
        self.is_chief = cluster.worker_id == 0
        self.part = cluster.worker_id, count
        import jax
        import keras
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")  # TensorFlow only reads images: leave the GPUs to JAX
        jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM for itself
        self.rendezvous = Rendezvous(cluster, timeout)
        jax.distributed.initialize(
            cluster.addresses[0],
            count,
            cluster.worker_id,
            cluster_detection_method="deactivate",
            coordinator_bind_address=cluster.addresses[0],
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
            shutdown_timeout_seconds=SHUTDOWN_TIMEOUT,
        )
        self.replicas = jax.device_count()
        if self.replicas != jax.local_device_count() * count:
            raise ValueError(
                f"each worker must have the same number of devices, {self.replicas} in total. "
                f"Received: {jax.local_device_count()}"
            )
        self.data_parallel = keras.distribution.DataParallel(auto_shard_dataset=False)

    def __exit__(self, kind, error, traceback) -> None:
        if error is None:
            self.rendezvous.broadcast()
        self.rendezvous.close()
        if error is None:
            import jax

            jax.distributed.shutdown()

    def check(self, recipe: "Recipe") -> None:
        super().check(recipe)
        if recipe.minutes is not None:
            raise ValueError(
                "`minutes` cannot be used with `distribute='multiworker'`, which compiles the schedule: set `epochs`. "
                f"Received: minutes={recipe.minutes}"
            )
        if recipe.xla == "off":
            raise ValueError("`xla` cannot be off with `distribute='multiworker'`: JAX always compiles with XLA")

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Return the context in which to build, compile and train. If a lost worker causes an error, name the worker.

        Raises:
            ConnectionError: a worker was lost.
        """
        try:
            with self.data_parallel.scope():
                yield
        except (RuntimeError, ValueError) as error:  # raised by JAX's collective operations
            if reason := self.rendezvous.explain_failure():
                raise ConnectionError(f"{reason}. Error here: {' '.join(str(error).split())[:200]}") from error
            raise

    def fit(self, model: "keras.Model", batches: "tf.data.Dataset", *, callbacks: Sequence = (), **arguments) -> None:
        # Between epochs, only the chief creates variables, for example when saving. They must not be distributed.
        around = [_set_distribution(None), *callbacks, _set_distribution(self.data_parallel)]
        with self.scope():
            model.fit(batches, callbacks=around, **arguments)

    def on_chief(self, action: Callable[[], T]) -> T | None:
        result = action() if self.is_chief else None
        self.rendezvous.broadcast()
        return result

    def broadcast(self, value: Any) -> Any:
        return self.rendezvous.broadcast(value)


def _set_distribution(distribution: "keras.distribution.Distribution | None") -> "keras.callbacks.Callback":
    """Return a callback that sets Keras' distribution before the callbacks that follow it."""
    import keras

    names = ("on_epoch_begin", "on_epoch_end", "on_train_begin", "on_train_end")
    set_it = dict.fromkeys(names, lambda *_: keras.distribution.set_distribution(distribution))
    return keras.callbacks.LambdaCallback(**set_it)


def prepare(name: str | None) -> None:
    """Select Keras' backend for a distribution. Call this before importing Keras.

    Args:
        name: as in `open_distribution`.

    Raises:
        ValueError: there is no such distribution, its backend is not installed, or Keras already runs on another one.
    """
    if name is None:
        return
    check_one_of("distribute", name, BACKENDS)
    backend = BACKENDS[name]
    if importlib.util.find_spec(backend) is None:
        raise ValueError(f"`distribute={name!r}` needs {backend}: install keras-inception[{name}]")
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
        return
    import keras

    if keras.backend.backend() != backend:
        raise ValueError(
            f"`distribute={name!r}` needs Keras to run on {backend}: set KERAS_BACKEND={backend} in the environment "
            f"before importing Keras. Received: {keras.backend.backend()}"
        )


def open_distribution(
    name: str | None,
    *,
    workers: str | Sequence[str] | None = None,
    worker_id: int | None = None,
    timeout: float = 300.0,
) -> Distribution:
    """Open a distribution by name, for use as a context manager.

    Args:
        name: None for one device, ``"mirrored"`` for the GPUs of this machine, ``"multiworker"`` for several machines.
        workers: as in `keras_inception.training.workers.find_cluster`.
        worker_id: as in `find_cluster`.
        timeout: seconds to wait for the other workers to start.

    Raises:
        ValueError: an argument is invalid, as in `prepare` and `find_cluster`, or as in `Mirrored` and `MultiWorker`.
        OSError: as in `MultiWorker`.
    """
    if name != "multiworker" and not (workers is None and worker_id is None):
        raise ValueError(
            "`workers` and `worker_id` require `distribute='multiworker'`. "
            f"Received: distribute={name!r}, {workers=}, {worker_id=}"
        )
    prepare(name)
    if name == "multiworker":
        return MultiWorker(find_cluster(workers, worker_id), timeout)
    return Mirrored() if name == "mirrored" else ALONE
