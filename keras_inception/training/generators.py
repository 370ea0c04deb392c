"""The global random generators: a training sets them by its own seed, and gives them back as they were."""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from keras.src.backend.common import global_state
from tensorflow.python.eager import context

# Attributes of Keras' global state: the seed, and the generator of layers and functions without a seed.
KERAS = ("global_random_seed", "global_seed_generator")
# Attributes of TensorFlow's context: the seed, None at first, and the generator of the seeds of operations.
TENSORFLOW = ("_seed", "_rng")


@contextmanager
def generators_kept() -> Iterator[None]:
    """Give `random` and the global generators of NumPy, Keras and TensorFlow back as they were before the block.

    TensorFlow cannot continue operations that the caller has seeded one by one (``tf.random.normal(…, seed=1)``): a
    new global seed lets them begin again.
    """
    python, numpy = random.getstate(), np.random.get_state()
    keras = {name: global_state.get_global_attribute(name) for name in KERAS}
    eager = context.context()
    tensorflow = {name: copy.copy(vars(eager)[name]) for name in TENSORFLOW if name in vars(eager)}
    global_state.set_global_attribute("global_seed_generator", None)  # it is not to be drawn from in the block
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for name, value in keras.items():
            global_state.set_global_attribute(name, value)
        vars(eager).update(tensorflow)
