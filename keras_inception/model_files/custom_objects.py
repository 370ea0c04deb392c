"""Run a Python file of the user's, for the classes and functions that a model file needs."""

import importlib.util
import inspect
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

# Libraries whose layers Keras finds by itself. Handing them over would mix Keras 3's with those of tf_keras.
LIBRARIES = ("keras", "tf_keras", "tensorflow")


@dataclass(frozen=True, eq=False)
class CustomObjects:
    """What a Python file defines and imports.

    Attributes:
        path: the file.
        objects: its classes and functions by name, as Keras takes them.
        namespace: all of its names, which Lambdas may use.
    """

    path: Path
    objects: dict[str, Any]
    namespace: dict[str, Any]


_given: ContextVar[CustomObjects | None] = ContextVar("_given", default=None)


@contextmanager
def given(path: str | os.PathLike | None) -> Iterator[None]:
    """Run a Python file, if there is one, and let `keras_inception.load` use it inside the block."""
    before = _given.set(_given.get() if path is None else run_file(path))
    try:
        yield
    finally:
        _given.reset(before)


def current() -> CustomObjects | None:
    """Return what the enclosing `given` has."""
    return _given.get()


def check_custom_objects(path: str | os.PathLike | None) -> None:
    """Raise FileNotFoundError or ValueError if `path` is given but is not a Python file."""
    if path is None:
        return
    path = Path(path)
    if path.suffix != ".py":
        raise ValueError(f"`custom_objects` must be a Python file, FILE.py. Received: {path}")
    if not path.is_file():
        raise FileNotFoundError(f"`custom_objects` must be a Python file. Received: {path}, which does not exist")


def run_file(path: str | os.PathLike) -> CustomObjects:
    """Run a Python file, after a warning, and return its classes and functions. It can import its neighbors.

    Raises:
        ValueError: the file raises an exception.
    """
    path = Path(path)
    log.warning("warning: running the code in %s, and any code in the model file", path)
    name = f"custom_objects_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # since the suffix is .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # decorators look for a class's module there
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be run: {type(error).__name__}: {reason}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    namespace = vars(module)
    return CustomObjects(path, {key: value for key, value in namespace.items() if _is_custom(value)}, namespace)


def _is_custom(value: Any) -> bool:
    if inspect.isclass(value):
        return value.__module__.partition(".")[0] not in LIBRARIES
    return inspect.isroutine(value)
