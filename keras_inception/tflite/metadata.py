"""What a .tflite file says of itself: TFLite metadata, and the archive at its end.

The archive is a plain zip file behind the model, where interpreters do not look and metadata keeps its labels too; with
it a file that is sent alone still knows its labels and its preprocessing.
"""

import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import numpy as np

from keras_inception.preprocessing import Preprocessing
from keras_inception.tflite.metadata_schema import decode, encode
from keras_inception.tflite.model_entries import FLOAT32, UINT8, end_types, entry, is_model, with_entry
from keras_inception.utils import files

ENTRY = "TFLITE_METADATA"
LARGEST = 2**24  # bytes of a text in an archive


class About(TypedDict):
    """What metadata says of the model as a whole; an empty text is left out."""

    name: str
    version: str
    description: str
    author: str
    license: str


def write(path: Path, about: About, given: Preprocessing, labels: Path) -> None:
    """Put metadata into the file at `path`, in place of what it has, and read it back.

    Args:
        given: mean and std that the input tensor expects, RGB (`graph.input_of`).
        labels: file of one label a line, which is packed too.

    Raises:
        ValueError: it is not a model of one input and one output, or what was read back is not what was written.
    """
    whole = path.read_bytes()
    end, documents = _archived(path)
    try:
        described = _described(whole[:end], about, given, labels.name)
    except ValueError as error:
        raise ValueError(f"{path} cannot be given metadata: {error}") from None
    with files.replacing(path) as beside:
        beside.write_bytes(described)
        with zipfile.ZipFile(beside, "a") as archive:
            for document, content in documents:
                if document.filename != labels.name:
                    archive.writestr(document, content)
            archive.write(labels, labels.name)  # not compressed, or phones cannot read it
    _check(path, about, given, labels)


def _described(model: bytes, about: About, given: Preprocessing, labels: str) -> bytes:
    if not is_model(model):
        raise ValueError("it is not a TFLite model")
    input_type, output_type = end_types(model)
    mean, std = np.array(given.mean), np.array(given.std)
    image = {
        "name": "image",
        "description": "RGB picture",
        "content": {"content_properties_type": "ImageProperties", "content_properties": {"color_space": "RGB"}},
        "process_units": [{"options_type": "NormalizationOptions", "options": {"mean": mean, "std": std}}],
        "stats": _stats(input_type, (0 - mean) / std, (255 - mean) / std),
    }
    probabilities = {
        "name": "probabilities",
        "description": "probability of each label",
        "content": {"content_properties_type": "FeatureProperties", "content_properties": {}},
        "stats": _stats(output_type, [0], [1]),
        "associated_files": [
            {
                "name": labels,
                "description": "Labels for categories that the model can recognize.",
                "type": "TENSOR_AXIS_LABELS",
            }
        ],
    }
    metadata = {
        **{key: text for key, text in about.items() if text},
        "subgraph_metadata": [{"input_tensor_metadata": [image], "output_tensor_metadata": [probabilities]}],
        "min_parser_version": "1.0.0",  # there is nothing here that came later
    }
    return with_entry(model, ENTRY, encode(metadata))


def _stats(kind: int, lowest: Sequence[float] | np.ndarray, highest: Sequence[float] | np.ndarray) -> dict:
    """The range of a tensor, which is known of two types."""
    if kind == UINT8:
        return {"min": [0], "max": [255]}
    return {"min": lowest, "max": highest} if kind == FLOAT32 else {}


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
    """The metadata of a file, under the names of TFLite's metadata schema; None if it has none.

    Raises:
        ValueError: it is damaged.
    """
    model = Path(path).read_bytes()
    if not is_model(model):
        return None
    try:
        found = entry(model, ENTRY)
        return decode(found) if found else None
    except ValueError as error:
        raise ValueError(f"{path} has damaged metadata: {error}") from None


def normalization_of(metadata: dict) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """(mean, std) of the input, as `read` found them; None if there are none.

    They are three figures each, but for a stranger's file, where they may be anything.
    """
    for subgraph in metadata.get("subgraph_metadata", ())[:1]:
        for tensor in subgraph.get("input_tensor_metadata", ())[:1]:
            for unit in tensor.get("process_units", ()):
                if unit.get("options_type") == "NormalizationOptions":
                    mean, std = (unit.get("options", {}).get(key, ()) for key in ("mean", "std"))
                    return _of_channels(mean), _of_channels(std)
    return None


def _of_channels(figures: Sequence[float]) -> tuple[float, ...]:
    """One figure is for all channels."""
    return tuple(figures) * (3 if len(figures) == 1 else 1)


def pack(path: Path, *documents: Path) -> None:
    """Put text files into the archive at the end of a .tflite file, under their own names, but for those it has."""
    with zipfile.ZipFile(path, "a") as archive:
        for document in documents:
            if document.name not in archive.namelist():
                archive.write(document, document.name)


def unpack(path: str | os.PathLike, name: str) -> str | None:
    """A text file from the archive at the end of a .tflite file; None if it is not there.

    Raises:
        ValueError: it is there, but cannot be read.
    """
    with _archive(path) as archive:
        if archive is None or name not in archive.namelist():
            return None
        if archive.getinfo(name).file_size > LARGEST:
            raise ValueError(f"{name} is larger than {LARGEST} bytes")
        return archive.read(name).decode("utf-8", errors="replace").replace("\r\n", "\n")


def _archived(path: Path) -> tuple[int | None, list[tuple[zipfile.ZipInfo, bytes]]]:
    """Where the archive of a file begins, and what is in it; None and nothing if there is none."""
    with _archive(path) as archive:
        if archive is None or not archive.infolist():
            return None, []
        documents = archive.infolist()
        begin = min(document.header_offset for document in documents)
        return begin, [(document, archive.read(document)) for document in documents]


@contextmanager
def _archive(path: str | os.PathLike) -> Iterator[zipfile.ZipFile | None]:
    """The archive at the end of a file; None if there is none. ValueError if something in it is damaged."""
    with open(path, "rb") as file:
        try:
            archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile:
            archive = None
        except Exception as error:
            raise _damaged(path, error) from None
        try:
            yield archive
        except Exception as error:  # zipfile's are of all kinds
            raise _damaged(path, error) from None


def _damaged(path: str | os.PathLike, error: Exception) -> ValueError:
    return ValueError(f"{path} has a damaged archive: {str(error) or type(error).__name__}")
