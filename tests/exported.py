"""Fixtures shared by several test folders: a tiny classifier and an export of it."""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from colours import LABELS, SIDE, save_images, trained
from filelock import FileLock

from keras_inception.preprocessing import DEFAULT
from keras_inception.utils import files


def shared(function: Callable) -> Callable:
    """Make a fixture of the session that is built once, though several conftest files import it."""
    built: list = []

    @functools.wraps(function)
    def fixture(**needed):
        if not built:
            built.append(function(**needed))
        return built[0]

    return pytest.fixture(scope="session")(fixture)


@shared
def pictures(tmp_path_factory) -> Path:
    """A folder of images with ``train``, ``validation`` and ``test``."""
    root = tmp_path_factory.mktemp("pictures")
    for seed, (split, count) in enumerate({"train": 20, "validation": 5, "test": 30}.items()):
        save_images(root / split, count, seed)
    return root


@shared
def tiny_model():
    """The trained classifier."""
    return trained(DEFAULT)


@shared
def run(tmp_path_factory, pictures, tiny_model) -> Path:
    """A run directory as training writes it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    files.write_labels(folder / "labels.txt", LABELS)
    DEFAULT.replace(size=(SIDE, SIDE)).save(folder / "preprocessing.json")
    files.write_json(folder / "recipe.json", {})
    files.write_json(folder / "data.json", {"source": str(pictures), "validation": 0.15, "seed": 0})
    tiny_model.save(folder / "model.keras")
    return folder


@shared
def exported(tmp_path_factory, run):
    """The output folder of an export of `run` in every variant, and the progress lines it reported.

    The first worker of pytest-xdist makes the export, and the others read it.
    """
    import keras_inception

    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, lines = base / "exported", base / "exported.json"
    with FileLock(base / "exported.lock"):
        if not lines.exists():
            said: list[str] = []
            keras_inception.export(
                run,
                folder,
                name="colours",
                description="Tells «colours» apart.",
                author="Zoë",
                licence="CC0-1.0",
                on_step=said.append,
            )
            files.write_json(lines, said)
    return folder, files.read_json(lines)
