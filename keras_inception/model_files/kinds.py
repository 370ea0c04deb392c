"""Tell what kind of model file a path is, by its content. Nothing heavy is imported."""

import os
import zipfile
from pathlib import Path

from keras_inception.weights.readers.keras import CONFIG, SIGNATURE

ACCEPTED = "a run directory, a .keras or .h5 file, or a SavedModel folder"
SAVED_MODEL_FILE = "saved_model.pb"
KERAS_3, HDF5, SAVED_MODEL, WEIGHTS, OTHER = ".keras", ".h5", "SavedModel", "weights", "other"
# Formats that hold weights without their network, by suffix. Their content is recognized too where it is distinct.
WEIGHTS_SUFFIXES = (".weights.h5", ".safetensors", ".pth", ".pt", ".ckpt", ".index", ".caffemodel", ".npz")


def is_saved_model(path: object) -> bool:
    """Return True if `path` is the path of a SavedModel folder."""
    return isinstance(path, (str, os.PathLike)) and Path(path, SAVED_MODEL_FILE).is_file()


def is_model_file(path: Path) -> bool:
    """Return True if an existing path is a Keras file, by its content, or a SavedModel folder."""
    return kind_of(path) in (KERAS_3, HDF5, SAVED_MODEL)


def check_exists(path: str | os.PathLike) -> None:
    """Raise an error if there is nothing at `path`.

    Raises:
        FileNotFoundError: there is nothing. The message says what is accepted.
        ValueError: `path` is the prefix of a TensorFlow checkpoint's files.
    """
    path = Path(path)
    if path.exists():
        return
    if path.with_name(f"{path.name}.index").is_file():
        raise weights_alone(path)
    raise FileNotFoundError(f"there is no {ACCEPTED.removeprefix('a ').replace(' a ', ' ')} at {path}")


def kind_of(path: Path) -> str:
    """Return the kind of an existing file or folder: `KERAS_3`, `HDF5`, `SAVED_MODEL`, `WEIGHTS` or `OTHER`.

    An HDF5 file may turn out to hold weights alone.
    """
    if path.is_dir():
        return SAVED_MODEL if is_saved_model(path) else OTHER
    with open(path, "rb") as file:
        head = file.read(9)
    if head.startswith(SIGNATURE):
        return HDF5
    if head.startswith(b"PK"):
        names = _entries(path)
        if CONFIG in names:
            return KERAS_3
        return WEIGHTS if any(name.endswith("data.pkl") for name in names) else OTHER
    is_weights = head[8:] == b"{" or head.startswith(b"\x80") or path.name.endswith(WEIGHTS_SUFFIXES)
    return WEIGHTS if is_weights else OTHER


def check_source(path: str | os.PathLike) -> None:
    """Raise the errors of `load` that the kind of file tells.

    Raises:
        ValueError: `path` is no model file, or one of weights alone.
        FileNotFoundError: `path` does not exist.
    """
    check_exists(path)
    path = Path(path)
    kind = kind_of(path)
    if kind == WEIGHTS:
        raise weights_alone(path)
    if kind == OTHER:
        raise ValueError(f"{path} is not a Keras file that can be opened: {_reason(path)}. Accepted: {ACCEPTED}")


def weights_alone(path: Path) -> ValueError:
    """Return the error for a file that holds weights without their network."""
    return ValueError(
        f"{path} holds weights alone, and the network is missing. For a network of `keras-inception list`, give "
        f"--model NAME --weights {path}; otherwise build the network in Python, load the weights into it, and pass the "
        "model or save it as .keras"
    )


def _entries(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OverflowError, OSError, ValueError):
        return []


def _reason(path: Path) -> str:
    """Return why a file is of no kind that is accepted."""
    if path.is_dir():
        return f"it is a folder without {SAVED_MODEL_FILE}"
    with open(path, "rb") as file:
        head = file.read(8)
    if head.lstrip()[:1] == b"{":
        return "it is JSON, which holds no weights; build the network in Python, load its weights, and pass the model"
    if head[4:] == b"TFL3":
        return "it is a TFLite file, which is what an export makes"
    models = [name for name in _entries(path) if name.endswith((".keras", ".h5", SAVED_MODEL_FILE))]
    if models:
        return f"it is an archive that holds {', '.join(models)}: unpack it, and give that"
    if head.startswith(b"PK"):
        return f"it is a damaged archive, or one without {CONFIG}"
    return "it is empty" if not head else "it is of an unknown format, or damaged"
