"""The time that the steps of a long job take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Steps:
    """A stopwatch for named steps.

    Attributes:
        seconds: the duration of each step, all times that it was done together, in order of the first time.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block as a part of the step of that name."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.add({name: time.monotonic() - began})

    def add(self, seconds: dict[str, float]) -> None:
        """Add the durations of steps that were timed elsewhere."""
        for name, duration in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + duration

    def rounded(self) -> dict[str, float]:
        """Return the duration of each step in seconds, to a hundredth."""
        return {name: round(duration, 2) for name, duration in self.seconds.items()}
