"""Training leaves the global random generators as it found them, and depends on its own seed alone."""

import random
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from keras_inception.training import train
from keras_inception.training.generators import generators_kept

DRAWS = {
    "random": random.random,
    "numpy": np.random.random,
    "keras": lambda: float(keras.random.uniform(())),
    "keras initializers": lambda: float(keras.initializers.RandomUniform()((1,))[0]),
    "tensorflow": lambda: float(tf.random.uniform(())),
    "tf.data": lambda: int(next(iter(tf.data.Dataset.range(10**6).shuffle(1000)))),
}


def drawn(draw, between, seed) -> list:
    """Draw four times, with an action after the first two, from generators that are seeded before."""
    keras.utils.set_random_seed(seed)
    numbers = [draw(), draw()]
    between()
    return [*numbers, draw(), draw()]


def disturbed() -> None:
    """Draw from all generators, and set them, as a training does."""
    with generators_kept():
        for draw in DRAWS.values():
            draw()
        keras.utils.set_random_seed(1)
        for draw in DRAWS.values():
            draw()


@pytest.mark.parametrize("draw", [pytest.param(draw, id=name) for name, draw in DRAWS.items()])
def test_the_callers_numbers_are_those_without_a_training(draw):
    assert drawn(draw, disturbed, 3) == drawn(draw, lambda: None, 3)


def test_generators_that_nobody_has_set_are_not_set_afterwards():
    tf.random.set_seed(None)
    disturbed()
    assert context.global_seed() is None
    assert len({float(tf.random.uniform(())) for _ in range(4)}) == 4


def test_the_first_use_of_the_package_imports_tensorflow_without_drawing():
    code = """
import random
import numpy
import keras_inception
random.seed(3)
numpy.random.seed(3)
keras_inception.train
import sys
assert "tensorflow" in sys.modules
print(random.random(), numpy.random.random())
"""
    random.seed(3)
    np.random.seed(3)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == f"{random.random()} {np.random.random()}\n"


def test_an_error_gives_the_generators_back_too():
    @generators_kept()
    def fail():
        keras.utils.set_random_seed(1)
        raise ValueError("no")

    def failing():
        with pytest.raises(ValueError, match="no"):
            fail()

    for draw in (random.random, np.random.random, DRAWS["keras"], DRAWS["tensorflow"]):
        assert drawn(draw, failing, 3) == drawn(draw, lambda: None, 3)


def test_a_search_around_trainings_draws_as_if_there_were_none(pictures, tiny, tmp_path):
    recipe, runs = tiny.replace(epochs=1), []

    def training():
        runs.append(train(pictures, tmp_path / f"run{len(runs)}", recipe=recipe, verbose=0))

    def draw():
        return [each() for each in DRAWS.values()]

    assert drawn(draw, training, 3) == drawn(draw, lambda: None, 3)
    random.seed(4)
    drawn(draw, training, 5)
    for mine, other in zip(runs[0].model().get_weights(), runs[1].model().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other, err_msg="a training should depend on its own seed alone")
