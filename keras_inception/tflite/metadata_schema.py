"""Encode TFLite metadata from nested dicts to a FlatBuffer and decode it.

Field names and their order, which numbers them, are those of version 1.5.0 of TensorFlow Lite's published
metadata_schema.fbs. Only the tables of an image classifier are listed. Those of text, audio and detection are ignored.
"""

import re

import flatbuffers
import numpy as np

from keras_inception.tflite.flatbuffer import Data, Table, put_offsets, put_table

IDENTIFIER = b"M001"
ROOT = "ModelMetadata"
# The notation is the schema's own, except that a union is written as two fields: its type, and the table of that type.
# An enum is stored as a byte, the index of the name.
SCHEMA = """
enum AssociatedFileType { UNKNOWN, DESCRIPTIONS, TENSOR_AXIS_LABELS, TENSOR_VALUE_LABELS,
                          TENSOR_AXIS_SCORE_CALIBRATION, VOCABULARY, SCANN_INDEX_FILE }
enum ColorSpaceType { UNKNOWN, RGB, GRAYSCALE }
enum ContentProperties { NONE, FeatureProperties, ImageProperties, BoundingBoxProperties, AudioProperties }
enum ProcessUnitOptions { NONE, NormalizationOptions, ScoreCalibrationOptions, ScoreThresholdingOptions,
                          BertTokenizerOptions, SentencePieceTokenizerOptions, RegexTokenizerOptions }
enum ScoreTransformationType { IDENTITY, LOG, INVERSE_LOGISTIC }
table ModelMetadata { name: string; description: string; version: string; subgraph_metadata: [SubGraphMetadata];
                      author: string; license: string; associated_files: [AssociatedFile]; min_parser_version: string; }
table SubGraphMetadata { name: string; description: string; input_tensor_metadata: [TensorMetadata];
                         output_tensor_metadata: [TensorMetadata]; associated_files: [AssociatedFile];
                         input_process_units: [ProcessUnit]; output_process_units: [ProcessUnit]; }
table TensorMetadata { name: string; description: string; dimension_names: [string]; content: Content;
                       process_units: [ProcessUnit]; stats: Stats; associated_files: [AssociatedFile]; }
table Content { content_properties_type: ContentProperties; content_properties: union; range: ValueRange; }
table FeatureProperties { }
table ImageProperties { color_space: ColorSpaceType; default_size: ImageSize; }
table ImageSize { width: uint; height: uint; }
table ValueRange { min: int; max: int; }
table ProcessUnit { options_type: ProcessUnitOptions; options: union; }
table NormalizationOptions { mean: [float]; std: [float]; }
table ScoreCalibrationOptions { score_transformation: ScoreTransformationType; default_score: float; }
table ScoreThresholdingOptions { global_score_threshold: float; }
table Stats { max: [float]; min: [float]; }
table AssociatedFile { name: string; description: string; type: AssociatedFileType; locale: string; version: string; }
"""
NUMBERS = {"int": "i", "uint": "I", "float": "f"}  # formats of `struct`
_BODIES = re.findall(r"(enum|table) (\w+) {(.*?)}", SCHEMA, re.DOTALL)
NAMES = {name: re.findall(r"\w+", body) for declared, name, body in _BODIES if declared == "enum"}
TABLES = {name: dict(re.findall(r"(\w+): (.*?);", body)) for declared, name, body in _BODIES if declared == "table"}


def encode(metadata: dict) -> bytes:
    """Encode metadata: nested dicts whose keys are all names of the schema."""
    builder = flatbuffers.Builder()
    builder.Finish(_put_table(builder, metadata, ROOT), IDENTIFIER)
    return bytes(builder.Output())


def decode(buffer: bytes) -> dict:
    """Decode metadata. Missing fields are left out.

    Raises:
        ValueError: the buffer is damaged or of another format.
    """
    data = Data(buffer)
    if data.identifier != IDENTIFIER:
        raise ValueError(f"its format must be {IDENTIFIER!r}. Received: {data.identifier!r}")
    return _take_table(data.root(), ROOT)


def _put_table(builder: flatbuffers.Builder, value: dict, name: str) -> int:
    """Write a table and return its offset."""
    kinds, fields = TABLES[name], {key: field for field, key in enumerate(TABLES[name])}
    offsets, numbers = {}, {}
    for key, each in value.items():
        kind = value[f"{key}_type"] if kinds[key] == "union" else kinds[key]
        if kind in NUMBERS:
            numbers[fields[key]] = (NUMBERS[kind], each)
        elif kind in NAMES:
            numbers[fields[key]] = ("B", NAMES[kind].index(each))
        else:
            offsets[fields[key]] = _put(builder, each, kind)
    return put_table(builder, offsets, numbers)


def _put(builder: flatbuffers.Builder, value, kind: str) -> int:
    """Write a string, vector or table that a table refers to and return its offset."""
    if kind == "string":
        return builder.CreateString(value)
    if kind == "[float]":
        return builder.CreateNumpyVector(np.asarray(value, np.float32))
    if kind in TABLES:
        return _put_table(builder, value, kind)
    return put_offsets(builder, [_put(builder, each, kind[1:-1]) for each in value])


def _take_table(table: Table, name: str) -> dict:
    """Read the known fields of a table. An unknown enum value stays a number."""
    places = table.places()
    found: dict = {}
    for field, (key, kind) in enumerate(TABLES[name].items()):
        known = found.get(f"{key}_type") if kind == "union" else kind
        if field in places and (kind != "union" or known in TABLES):
            found[key] = _take(table.data, places[field], str(known))
    return found


def _take(data: Data, place: int, kind: str):
    """Read the value at a position in a table or vector, or the value that the offset there refers to."""
    if kind in NUMBERS:
        return data.number(place, NUMBERS[kind])
    if kind in NAMES:
        number = data.number(place, "B")
        return NAMES[kind][number] if number < len(NAMES[kind]) else number
    target = data.follow(place)
    if kind == "string":
        return data.content(target).decode("utf-8", errors="replace")
    if kind in TABLES:
        return _take_table(Table(data, target), kind)
    return [_take(data, each, kind[1:-1]) for each in data.places(target)]
