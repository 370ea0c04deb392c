"""Deprecated: aliases for names that moved to `exporting`, `compression` and `tflite` in version 0.2."""

import importlib
import sys
import warnings

MOVED = {"TFLiteClassifier": "tflite.classifier", "VARIANTS": "exporting.variants", "export": "exporting.exporter"}


def __getattr__(name: str):
    if name not in MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = f"keras_inception.{MOVED[name]}"
    _warn(f"{__name__}.{name}", f"{home}.{name}", stacklevel=3)
    found = getattr(importlib.import_module(home), name)
    return tuple(found) if name == "VARIANTS" else found  # it was a tuple of names before 0.2


def redirect(old: str, new: str) -> None:
    """Make `old` an alias of the module `new`. Call this while `old` is being imported."""
    _warn(old, new, stacklevel=4)
    sys.modules[old] = importlib.import_module(new)


def _warn(old: str, new: str, *, stacklevel: int) -> None:
    warnings.warn(f"{old} is deprecated: use {new}", DeprecationWarning, stacklevel=stacklevel)
