"""The stopwatch for named steps."""

import pytest

from keras_inception.utils import steps as module
from keras_inception.utils.steps import Steps


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by a second whenever it is read."""
    seconds = iter(range(1000))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(seconds))


def test_a_step_counts_all_times_that_it_was_done(clock):
    steps = Steps()
    for name in ("read", "write", "read"):
        with steps.step(name):
            pass
    assert list(steps.seconds.items()) == [("read", 2), ("write", 1)]


def test_a_step_that_fails_counts_too(clock):
    steps = Steps()
    with pytest.raises(KeyError), steps.step("read"):
        raise KeyError
    assert steps.seconds == {"read": 1}


def test_steps_timed_elsewhere_are_added():
    steps = Steps()
    steps.add({"read": 1.004})
    steps.add({"read": 1.0, "write": 0.126})
    assert steps.rounded() == {"read": 2.0, "write": 0.13}
