"""Keras' weights files: legacy .h5, .weights.h5, and .keras. A child process reads their HDF5 (`keras_child`)."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from keras_inception.utils import files
from keras_inception.weights.formats import CONFIG, WEIGHTS
from keras_inception.weights.readers import isolation
from keras_inception.weights.readers.archives import Archive

CHILD = f"{__package__}.keras_child"
# Prefix of tensors in files without layer names: ``layers/conv2d_1/kernel``. No layer name contains a slash.
LAYERS = "layers/"


def read_archive(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the weights of a .keras file as (``layer/variable``, array)."""
    with files.temporary_folder() as folder:
        job: dict[str, str | None] = {"path": f"{folder}/{WEIGHTS}", "config": None}
        with Archive(path) as archive:
            (folder / WEIGHTS).write_bytes(archive.content(WEIGHTS))
            if CONFIG in archive:
                job["config"] = f"{folder}/{CONFIG}"
                (folder / CONFIG).write_bytes(archive.content(CONFIG))
        yield from isolation.read(CHILD, job, os.path.getsize(path))


def read_hdf5(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the weights of a .h5 or .weights.h5 file as (``layer/variable``, array).

    Keras 3.5 and earlier did not write layer names to .weights.h5 files. Their tensors are named by class and order,
    such as ``layers/conv2d_1/kernel``; see `lacks_layer_names`.
    """
    return isolation.read(CHILD, {"path": os.path.abspath(path)}, os.path.getsize(path))


def read_description(path: str | os.PathLike) -> tuple[str | None, list[str]]:
    """Return the model configuration in a .h5 file (JSON, or None), and the layer names that a file without one lists.

    Raises:
        ValueError: The file is damaged, or has links or arrays in other files.
    """
    answer = _asked(path, "describe")
    return answer["config"], answer["layers"]


def check_hdf5(path: str | os.PathLike) -> None:
    """Raise ValueError if an HDF5 file is damaged, or has links or arrays in other files."""
    _asked(path, "check")


def _asked(path: str | os.PathLike, task: str) -> dict:
    with files.temporary_folder() as folder:
        job = {"path": os.path.abspath(path), "folder": str(folder), task: True}
        return isolation.ask(CHILD, job, os.path.getsize(path))


def lacks_layer_names(names: Iterable[str]) -> bool:
    """Return whether tensors are named by class and order because their file has no layer names."""
    return any(name.startswith(LAYERS) for name in names)


def layer_paths(config: dict) -> dict[str, str]:
    """Return a model's layer names by their paths in .weights.h5, such as ``layers/conv2d_1``.

    Keras numbers the layers of each class in model order. The path contains the class name in snake case.

    Args:
        config: The model's configuration, as in config.json.

    Raises:
        ValueError: `config` is not a model configuration.
    """

    def named(model: dict, folder: str) -> Iterator[tuple[str, str]]:
        counts: Counter[str] = Counter()
        for layer in model.get("layers", []):
            kind = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", layer["class_name"])
            kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", kind).lower()
            path = f"{folder}{kind}" + (f"_{counts[kind]}" if counts[kind] else "")
            counts[kind] += 1
            yield path, layer["config"]["name"]
            yield from named(layer["config"], f"{path}/{LAYERS}")

    try:
        return dict(named(config.get("config", {}), LAYERS))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"its {CONFIG} is not that of a Keras model: {error}") from None


def read_config(path: str | os.PathLike) -> dict:
    """Read a model's configuration from JSON."""
    try:
        return json.loads(Path(path).read_bytes())
    except RecursionError as error:
        raise ValueError(f"its {CONFIG} is not that of a Keras model: {error}") from None
