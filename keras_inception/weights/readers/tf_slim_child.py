"""Read TF-slim's checkpoints with TensorFlow, in a child process; see `isolation`.

The job has ``path`` (the checkpoint's file, or its prefix), ``size`` (bytes of all its files) and ``folder`` (for the
answer).
"""

import math
import sys
from collections.abc import Iterable, Iterator

import numpy as np

from keras_inception.utils.subprocesses import answer
from keras_inception.weights.readers import isolation
from keras_inception.weights.readers.arrays import MAX_AXES

AVERAGE = "/ExponentialMovingAverage"
# Training variables besides optimizer slots.
COUNTERS = {"global_step", "beta1_power", "beta2_power"}


def main(job: dict) -> None:
    """Read the checkpoint and write the answer."""
    isolation.reply(job["folder"], lambda: isolation.saved(job["folder"], _tensors(job["path"], job["size"])))


def _tensors(path: str, left: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the model's variables. Raise ValueError if they need more bytes than the files have."""
    for unused in ("jax", "keras", "matplotlib"):  # without them, TensorFlow imports in a third of the time
        sys.modules.setdefault(unused, None)  # type: ignore[arg-type]
    import tensorflow as tf

    # As tf.train.load_checkpoint does for a path that is not a folder.
    reader = tf.compat.v1.train.NewCheckpointReader(path)
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    for name, source in _of_the_model(sorted(shapes)):
        shape, dtype = shapes[source], dtypes[source]
        if not dtype.is_floating:
            raise ValueError(f"{name:.200} must be of floating-point numbers. Received: {dtype.name}")
        if len(shape) > MAX_AXES or min(shape, default=0) < 0:
            raise ValueError(f"{name:.200} has the shape {shape!s:.200}")
        left -= math.prod(shape) * dtype.size
        if left < 0:
            raise ValueError(f"{name:.200} of shape {shape} is larger than the files have room for")
        # RestoreV2 joins slices, which the reader cannot do for version 1.
        every = [" ".join([*map(str, shape), ":".join("-" * len(shape))]) if shape else ""]
        yield (
            name,
            tf.raw_ops.RestoreV2(prefix=path, tensor_names=[source], shape_and_slices=every, dtypes=[dtype])[0].numpy(),
        )


def _of_the_model(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the names of the model's variables, each with the name of the variable to read.

    Anything nested under a variable belongs to training: ``weights/RMSProp``, ``weights/ExponentialMovingAverage``.
    """
    known = set(names)
    for name in names:
        parent, _, last = name.rpartition("/")
        if parent not in known and last not in COUNTERS:
            yield name.removesuffix(AVERAGE), name + AVERAGE if name + AVERAGE in known else name


if __name__ == "__main__":
    answer(main)
