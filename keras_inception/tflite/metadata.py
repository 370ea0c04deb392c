"""Read and write TFLite metadata and the archive at the end of a .tflite file.

The archive is a plain zip file appended to the model, which interpreters ignore. TFLite metadata keeps labels there,
and `export` adds the preprocessing, so that a .tflite file can be used on its own.
"""

import os
import re
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypedDict

import numpy as np

from keras_inception.preprocessing import Preprocessing
from keras_inception.tflite.metadata_schema import decode, encode
from keras_inception.tflite.model_entries import FLOAT32, INT8, UINT8, end_types, entry, is_model, with_entry
from keras_inception.utils import files

ENTRY = "TFLITE_METADATA"
LABELS_DESCRIPTION = "Labels for categories that the model can recognize."
MAX_TEXT_BYTES = 2**22  # of a text file in an archive
TEXTS = (".txt", ".csv", ".names", ".labels")  # what the names of text files with labels end in
LABEL_TYPES = ("TENSOR_AXIS_LABELS", "TENSOR_VALUE_LABELS")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")  # all but the tab


class About(TypedDict):
    """General metadata of a model. Empty texts are not written."""

    name: str
    version: str
    description: str
    author: str
    license: str


def write(path: Path, about: About, input_preprocessing: Preprocessing, labels: Path) -> None:
    """Write metadata into a .tflite file, replacing any it has, and check it by reading it back.

    Args:
        path: the .tflite file.
        about: general metadata.
        input_preprocessing: the RGB mean and standard deviation that the input tensor expects
            (`exporting.variants.Variant.input`).
        labels: text file with one label per line, to be packed into the archive.

    Raises:
        ValueError: the file is not a model with one input and one output, or the metadata read back differs from what
            was written.
    """
    whole = path.read_bytes()
    end, documents = _archived(path)
    try:
        described = _described(whole[:end], about, input_preprocessing, labels.name)
    except ValueError as error:
        raise ValueError(f"{path} cannot be given metadata: {error}") from None
    with files.replacing(path) as beside:
        beside.write_bytes(described)
        with zipfile.ZipFile(beside, "a") as archive:
            for document, content in documents:
                if document.filename != labels.name:
                    archive.writestr(document, content)
            archive.write(labels, labels.name)  # uncompressed: phones cannot read compressed files
    _check(path, about, input_preprocessing, labels)


def _described(model: bytes, about: About, input_preprocessing: Preprocessing, labels: str) -> bytes:
    if not is_model(model):
        raise ValueError("it is not a TFLite model")
    input_type, output_type = end_types(model)
    mean, std = np.array(input_preprocessing.mean), np.array(input_preprocessing.std)
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
        "associated_files": [{"name": labels, "description": LABELS_DESCRIPTION, "type": "TENSOR_AXIS_LABELS"}],
    }
    metadata = {
        **{key: text for key, text in about.items() if text},
        "subgraph_metadata": [{"input_tensor_metadata": [image], "output_tensor_metadata": [probabilities]}],
        "min_parser_version": "1.0.0",  # the first version with all fields above
    }
    return with_entry(model, ENTRY, encode(metadata))


def _stats(kind: int, lowest: Sequence[float] | np.ndarray, highest: Sequence[float] | np.ndarray) -> dict:
    """Return the range of a tensor's values, or an empty dict if its type is not float32, uint8 or int8."""
    ranges = {UINT8: {"min": [0], "max": [255]}, INT8: {"min": [-128], "max": [127]}}
    if kind in ranges:
        return ranges[kind]
    return {"min": lowest, "max": highest} if kind == FLOAT32 else {}


def _check(path: Path, about: About, input_preprocessing: Preprocessing, labels: Path) -> None:
    expected = (input_preprocessing.mean, input_preprocessing.std)
    found = read(path) or {}
    wrong = [key for key, text in about.items() if found.get(key, "") != text]
    normalization = normalization_of(found)
    if normalization is None or not np.allclose(normalization, expected, rtol=1e-5):
        wrong.append("normalization")
    if unpack(path, labels.name) != labels.read_text(encoding="utf-8"):
        wrong.append("labels")
    if wrong:
        raise ValueError(f"metadata read back differs from what was written in: {', '.join(wrong)}")


def read(path: str | os.PathLike) -> dict | None:
    """Return a file's metadata under the names of TFLite's metadata schema, or None if it has none.

    Raises:
        ValueError: the metadata is damaged.
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
    """Return (mean, std) of the input from metadata that `read` returned, or None if it has no normalization.

    Files of this package have three numbers for each. Other files may have anything, so validate the result.
    """
    for subgraph in metadata.get("subgraph_metadata", ())[:1]:
        for tensor in subgraph.get("input_tensor_metadata", ())[:1]:
            for unit in tensor.get("process_units", ()):
                if unit.get("options_type") == "NormalizationOptions":
                    mean, std = (unit.get("options", {}).get(key, ()) for key in ("mean", "std"))
                    return _per_channel(mean), _per_channel(std)
    return None


def labels_of(path: str | os.PathLike, name: str, counts: Collection[int]) -> tuple[str, ...] | None:
    """Return the labels in a .tflite file, or None if it has none.

    They are in the text file `name` of its archive, else in the file that its metadata names for the output's axis,
    preferably one that is not a translation, else in the only text file of the archive, if it fits.

    Args:
        path: the .tflite file.
        name: the text file that the labels of this package are in.
        counts: how many labels a text file must have that nothing calls labels.

    Raises:
        ValueError: the metadata, the archive or the labels are damaged.
    """
    for called in (name, *_label_files(path)):
        if (content := _document(path, called)) is not None:
            return _parsed(content, f"{called if called.isprintable() else repr(called):.100} in {path}")
    texts = [each for each in _names(path) if each.lower().endswith(TEXTS)]
    with suppress(ValueError):  # a text that is not labels, such as a license
        labels = _parsed(_document(path, texts[0]) or b"", texts[0]) if len(texts) == 1 else ()
        return labels if len(labels) in counts else None
    return None


def _label_files(path: str | os.PathLike) -> list[str]:
    """Return the files that the metadata names for the labels of the output, translations last."""
    found = []
    for subgraph in (read(path) or {}).get("subgraph_metadata", ())[:1]:
        for tensor in subgraph.get("output_tensor_metadata", ())[:1]:
            found += [each for each in tensor.get("associated_files", ()) if each.get("type") in LABEL_TYPES]
    return [each.get("name", "") for each in sorted(found, key=lambda each: bool(each.get("locale")))]


def _parsed(content: bytes, where: str) -> tuple[str, ...]:
    """Return the labels in a file; raise ValueError if there are none, or one would change what a terminal shows."""
    labels = files.parse_labels(content, where)
    for number, label in enumerate(labels, start=1):
        if CONTROL.search(label):
            raise ValueError(f"{where} must hold no control characters. Received: {label!r:.100} in line {number}")
    return labels


def _per_channel(numbers: Sequence[float]) -> tuple[float, ...]:
    """Return a number for each channel; a single number applies to all three."""
    return tuple(numbers) * (3 if len(numbers) == 1 else 1)


def pack(path: Path, *documents: Path) -> None:
    """Add text files to the archive at the end of a .tflite file, skipping names that it already has."""
    with zipfile.ZipFile(path, "a") as archive:
        for document in documents:
            if document.name not in archive.namelist():
                archive.write(document, document.name)


def unpack(path: str | os.PathLike, name: str) -> str | None:
    """Return a text file from the archive at the end of a .tflite file, or None if there is no such file.

    Raises:
        ValueError: the archive is damaged, or the text is larger than `MAX_TEXT_BYTES` or not compressed by deflate.
    """
    content = _document(path, name)
    return None if content is None else content.decode("utf-8", errors="replace").replace("\r\n", "\n")


def _names(path: str | os.PathLike) -> list[str]:
    """Return the names of the files in the archive."""
    with _archive(path) as archive:
        return archive.namelist() if archive else []


def _document(path: str | os.PathLike, name: str) -> bytes | None:
    with _archive(path) as archive:
        if archive is None or name not in archive.namelist():
            return None
        if (method := archive.getinfo(name).compress_type) not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name} is compressed by method {method}, which may take any amount of memory")
        if archive.getinfo(name).file_size > MAX_TEXT_BYTES:
            raise ValueError(f"{name} is larger than {MAX_TEXT_BYTES} bytes")
        return archive.read(name)


def _archived(path: Path) -> tuple[int | None, list[tuple[zipfile.ZipInfo, bytes]]]:
    """Return the position of the archive at the end of a file (None if there is none) and its documents."""
    with _archive(path) as archive:
        documents = [(document, archive.read(document)) for document in archive.infolist()] if archive else []
        return min((document.header_offset for document, _ in documents), default=None), documents


@contextmanager
def _archive(path: str | os.PathLike) -> Iterator[zipfile.ZipFile | None]:
    """Yield the archive at the end of a file, or None. Any error in the block is raised as a damaged archive."""
    archive = None
    with open(path, "rb") as file:
        try:
            with suppress(zipfile.BadZipFile):
                archive = zipfile.ZipFile(file)
            yield archive
        except Exception as error:  # zipfile raises many types
            raise ValueError(f"{path} has a damaged archive: {str(error) or type(error).__name__}") from None
