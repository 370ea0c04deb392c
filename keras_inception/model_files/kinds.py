"""Tell what kind of model file a path is, by its content. Nothing heavy is imported."""

import os
import zipfile
from pathlib import Path

from keras_inception.weights.formats import CONFIG, SIGNATURE

ACCEPTED = "a run directory, a .keras or .h5 file, or a SavedModel folder"
SAVED_MODEL_FILE = "saved_model.pb"
RUNNABLE = "a run directory, a .tflite file, a .keras or .h5 file, or a SavedModel folder"
KERAS_3, HDF5, SAVED_MODEL, TFLITE, WEIGHTS, OTHER = ".keras", ".h5", "SavedModel", ".tflite", "weights", "other"
TFLITE_IDENTIFIER = b"TFL3"
# Formats that hold weights without their network, by suffix. Their content is recognized too where it is distinct.
WEIGHTS_SUFFIXES = (".weights.h5", ".safetensors", ".pth", ".pt", ".ckpt", ".index", ".caffemodel", ".npz")
# What other files begin with.
BEGINNINGS = {
    b"PK": f"a damaged archive, or one without {CONFIG}",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file with git lfs pull",
    b"<": "a web page, and not the file behind the link",
    b"\x89PNG": "an image: the network comes first, then the images",
    b"\xff\xd8\xff": "an image: the network comes first, then the images",
    b"\x08": "perhaps an ONNX or frozen TensorFlow graph, which must be converted to TFLite or Keras first",
}


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
    """Return the kind of a file or folder: `KERAS_3`, `HDF5`, `SAVED_MODEL`, `TFLITE`, `WEIGHTS` or `OTHER`.

    An HDF5 file may turn out to hold weights alone.
    """
    if path.is_dir():
        return SAVED_MODEL if is_saved_model(path) else OTHER
    with open(path, "rb") as file:
        head = file.read(9)
    if head.startswith(SIGNATURE):
        return HDF5
    if head[4:8] == TFLITE_IDENTIFIER:
        return TFLITE
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
    if kind in (OTHER, TFLITE):
        raise ValueError(f"{path} is not a Keras file that can be opened: {reason(path)}. Accepted: {ACCEPTED}")


def check_runnable(path: Path) -> None:
    """Raise ValueError unless an existing file or folder is a network that can classify images, by its kind."""
    kind = kind_of(path)
    if kind == WEIGHTS or (kind == HDF5 and path.name.endswith(WEIGHTS_SUFFIXES)):
        advice = "the command convert-weights makes a .keras file of published weights"
        raise ValueError(f"{path} holds weights alone, and the network is missing: give {RUNNABLE}; {advice}")
    if kind == OTHER:
        raise ValueError(f"{path} is not a network that can be run: {reason(path)}. Give {RUNNABLE}")


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


def reason(path: Path) -> str:
    """Return why a file is of no kind that is accepted."""
    if path.is_dir():
        return f"it is a folder without {SAVED_MODEL_FILE}"
    with open(path, "rb") as file:
        head = file.read(64)
    if head.lstrip()[:1] == b"{":
        return "it is JSON, which holds no weights; build the network in Python, load its weights, and pass the model"
    if head[4:8] == TFLITE_IDENTIFIER:
        return "it is a TFLite file, which is what an export makes"
    models = [name for name in _entries(path) if name.endswith((".keras", ".h5", ".tflite", SAVED_MODEL_FILE))]
    if models:
        return f"it is an archive that holds {', '.join(models):.200}: unpack it, and give that"
    for beginning, what in BEGINNINGS.items():
        if head.lstrip().startswith(beginning):
            return f"it is {what}"
    return "it is of an unknown format, or damaged" if head else "it is empty"
