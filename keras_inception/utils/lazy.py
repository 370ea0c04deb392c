"""Lazy imports: load the public names of a package on first use."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType


def attach(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package whose public names live in modules that are slow to import.

    Args:
        package: the package's ``__name__``.
        homes: public name -> the submodule that defines it. A name that equals its submodule refers to the submodule
            itself.
    """

    def __getattr__(name: str):  # noqa: N807
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with generators_kept():
            home = import_module(f"{package}.{homes[name]}")
        value = home if homes[name] == name else getattr(home, name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:  # noqa: N807
        return sorted({*vars(sys.modules[package]), *homes})

    return __getattr__, __dir__


@contextmanager
def generators_kept() -> Iterator[None]:
    """Leave the global generators of `random` and NumPy as they are: TensorFlow draws from both when it is imported.

    Those of modules that nobody has imported have nothing to keep.
    """
    python, numpy = sys.modules.get("random"), sys.modules.get("numpy.random")
    state = python and python.getstate()
    numpy_state = numpy and numpy.get_state()
    try:
        yield
    finally:
        if python:
            python.setstate(state)
        if numpy:
            numpy.set_state(numpy_state)


def import_after(first: str, module: str) -> None:
    """Import `module` as soon as `first`, a slow package that it completes, has been imported: now, if it has been."""
    if first in sys.modules:
        import_module(module)
    elif not any(isinstance(finder, _After) and finder.module == module for finder in sys.meta_path):
        sys.meta_path.insert(0, _After(first, module))


class _After:
    """Waits for the import of `first`, which other finders find, and then removes itself."""

    def __init__(self, first: str, module: str):
        self.first = first
        self.module = module

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.first or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                import_module(self.module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
