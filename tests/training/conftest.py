"""Fixtures for training: a small and fast recipe, the tiny network, and readers of run directories."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import spread

from keras_inception import registry
from keras_inception.datasets import Augmentation
from keras_inception.runs import LOCK, Run
from keras_inception.training import Recipe


@pytest.fixture(autouse=True, scope="module")
def _own_draws(own_draws):
    """Begin with the weights of users, also to compare trainings with those of another process."""


@pytest.fixture(scope="session")
def quick() -> Recipe:
    """Return a recipe of four epochs of three steps."""
    return Recipe(
        network="network_in_network",
        options={"form": "cifar"},
        size=32,
        crop=1.0,
        epochs=4,
        batch_size=8,
        learning_rate=1e-3,
        warmup_epochs=1.0,
        ema=0.5,
        augmentation=Augmentation(area=(0.5, 1.0)),
        precision="float32",
        seed=7,
    )


@pytest.fixture(scope="session")
def rows() -> Callable[[Run], list[dict]]:
    """Return a function that reads the rows of a run's ``metrics.csv``."""

    def read(run: Run) -> list[dict]:
        with open(run.path / "metrics.csv", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return read


@pytest.fixture(scope="session")
def times() -> Callable[[Run], dict[Path, int]]:
    """Return a function that returns the modification time of each file of a run.

    It omits the lock file, whose time some file systems update whenever it is opened.
    """

    def read(run: Run) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.name != LOCK}

    return read


@pytest.fixture
def tiny_network():
    """Register the network ``tiny``."""
    spread.register()
    yield
    del registry.NETWORKS["tiny"]


@pytest.fixture
def tiny(quick, tiny_network) -> Recipe:
    """Return the quick recipe for the tiny network."""
    return quick.replace(network="tiny", size=16)
