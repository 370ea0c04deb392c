"""What a .tflite file says of itself: TFLite metadata, and the archive at its end.

Metadata needs the package tflite-support, which ends with Python 3.11. The archive is a plain zip file behind the
model, where interpreters do not look and metadata keeps its labels too; with it a file that is sent alone still knows
its labels and its preprocessing.
"""

import ctypes
import importlib
import importlib.util
import json
import os
import zipfile
from pathlib import Path
from types import ModuleType
from typing import TypedDict

import numpy as np

from keras_inception.preprocessing import Preprocessing


class About(TypedDict):
    """What metadata says of the model as a whole; an empty text is left out."""

    name: str
    version: str
    description: str
    author: str
    license: str


def unavailable() -> str | None:
    """Why metadata cannot be written here; None if it can."""
    try:
        _library("metadata")
    except (ImportError, OSError) as error:
        return f"tflite-support, which needs Python 3.11, cannot be imported ({error})"
    return None


def load_libusb() -> None:
    """Load the libusb that tflite-support links to from PyPI's libusb-package, so that no system package is needed."""
    spec = importlib.util.find_spec("libusb_package")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for library in Path(folder).glob("libusb-1.0.so*"):
            ctypes.CDLL(str(library))


def _library(name: str) -> ModuleType:
    """A module of tflite-support, of those that can live in one process with TensorFlow."""
    load_libusb()
    return importlib.import_module(f"tensorflow_lite_support.metadata.python.{name}")


def write(path: Path, about: About, given: Preprocessing, labels: Path) -> None:
    """Put metadata into the file at `path`, and read it back.

    Args:
        given: mean and std that the input tensor expects, RGB (`graph.input_of`).
        labels: file of one label a line, which is packed too.

    Raises:
        ValueError: what was read back is not what was written.
    """
    info = _library("metadata_writers.metadata_info")
    utils = _library("metadata_writers.writer_utils")
    schema = importlib.import_module("tensorflow_lite_support.metadata.metadata_schema_py_generated")
    model = bytearray(path.read_bytes())
    general = {key: text or None for key, text in about.items() if key != "license"}
    writer = _library("metadata_writers.image_classifier").MetadataWriter.create_from_metadata_info(
        model,
        info.GeneralMd(**general, licenses=about["license"] or None),
        info.InputImageTensorMd(
            name="image",
            description="RGB picture",
            norm_mean=list(given.mean),
            norm_std=list(given.std),
            color_space_type=schema.ColorSpaceType.RGB,
            tensor_type=utils.get_input_tensor_types(model)[0],
        ),
        info.ClassificationTensorMd(
            name="probabilities",
            description="probability of each label",
            label_files=[info.LabelFileMd(file_path=str(labels))],
            tensor_type=utils.get_output_tensor_types(model)[0],
        ),
    )
    path.write_bytes(writer.populate())
    _check(path, about, given, labels)


def _check(path: Path, about: About, given: Preprocessing, labels: Path) -> None:
    found = read(path) or {}
    wrong = [key for key, text in about.items() if found.get(key, "") != text]
    normalization = normalization_of(found)
    if normalization is None or not np.allclose(normalization, (given.mean, given.std), rtol=1e-5):
        wrong.append("normalization")
    if unpack(path, labels.name) != labels.read_text(encoding="utf-8"):
        wrong.append("labels")
    if wrong:
        raise ValueError(f"metadata was read back with another {', '.join(wrong)} than was written")


def read(path: str | os.PathLike) -> dict | None:
    """The metadata of a file, under the names of TFLite's metadata schema; None if it has none."""
    displayer = _library("metadata").MetadataDisplayer
    try:
        return json.loads(displayer.with_model_file(str(path)).get_metadata_json())
    except ValueError:
        return None


def normalization_of(metadata: dict) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """(mean, std) of the input, three figures each, as `read` found them; None if there are none."""
    for unit in metadata["subgraph_metadata"][0]["input_tensor_metadata"][0].get("process_units", ()):
        if unit["options_type"] == "NormalizationOptions":
            mean, std = unit["options"]["mean"], unit["options"]["std"]
            return tuple(np.broadcast_to(mean, 3).tolist()), tuple(np.broadcast_to(std, 3).tolist())
    return None


def pack(path: Path, *documents: Path) -> None:
    """Put text files into the archive at the end of a .tflite file, under their own names, but for those it has."""
    with zipfile.ZipFile(path, "a") as archive:
        for document in documents:
            if document.name not in archive.namelist():
                archive.write(document, document.name)


def unpack(path: str | os.PathLike, name: str) -> str | None:
    """A text file from the archive at the end of a .tflite file; None if it is not there."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(name).decode("utf-8", errors="replace").replace("\r\n", "\n")
    except (zipfile.BadZipFile, KeyError):
        return None
