"""Deprecated: the names that were here before 0.2 live in `exporting`, `compression` and `tflite`."""

import importlib
import sys
import warnings

MOVED = {
    "TFLiteClassifier": "tflite.classifier",
    "VARIANTS": "exporting.variants",
    "export": "exporting.exporter",
}


def __getattr__(name: str):
    if name not in MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = f"keras_inception.{MOVED[name]}"
    _warn(f"{__name__}.{name}", f"{home}.{name}", stacklevel=3)
    return getattr(importlib.import_module(home), name)


def redirect(old: str, new: str) -> None:
    """Make the module `old`, which calls this while it is imported, another name of the module `new`."""
    _warn(old, new, stacklevel=4)
    sys.modules[old] = importlib.import_module(new)


def _warn(old: str, new: str, *, stacklevel: int) -> None:
    warnings.warn(f"{old} is deprecated: use {new}", DeprecationWarning, stacklevel=stacklevel)
