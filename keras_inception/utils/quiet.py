"""Import libraries without their console output or the modules that they do not need."""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_redirecting = threading.RLock()  # stderr belongs to the whole process


@contextmanager
def silenced() -> Iterator[None]:
    """Discard everything written to stderr, including by C++. Keep the block short: it hides real errors too."""
    with _redirecting:
        sys.stderr.flush()
        kept = os.dup(2)
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def without_modules(names: Sequence[str]) -> Iterator[None]:
    """Make imports of these modules fail inside the block, unless they were imported before."""
    blocked = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(blocked))  # type: ignore[arg-type]  # None blocks an import
    try:
        yield
    finally:
        for name in blocked:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)
