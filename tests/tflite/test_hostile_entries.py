"""Whatever the named entries of a file hold, reading it ends in an answer or in one line."""

import json
import re
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_isolation import WHOLE, WORDS, answer_or_line, image, many  # noqa: F401

from keras_inception.cli import main
from keras_inception.tflite import flatbuffer
from keras_inception.tflite.model_entries import Model, SubGraph, end_types, entry, operator_codes, with_entry
from keras_inception.tflite.runtimes import oldest_runtime

NAMES = ("reduced_precision_support", "min_runtime_version", "TFLITE_METADATA", "")
CONTENTS = (
    *(b"", b"\0", b"fp16accfp16", b"fp16accfp16" * 1000, b"fp16acc", b"\xff" * 64, b"%s%n" * 9, b"\x1b[2J\n"),
    *(struct.pack("<I", 2**32 - 1) * 8, struct.pack("<i", -1) + b"\0" * 64, b"M001" * 16, b"9" * 5000),
    b"\x10\0\0\0M001" + b"\xff" * 64,
)
MODEL = WHOLE.read_bytes()
READERS = {
    "entry": lambda model: [entry(model, name) for name in NAMES],
    "end_types": end_types,
    "operator_codes": operator_codes,
    "with_entry": lambda model: with_entry(model, NAMES[0], b"fp16accfp16"),
}
contents = st.sampled_from(CONTENTS) | st.binary(max_size=200)
entries = st.lists(st.tuples(st.sampled_from(NAMES) | st.text(max_size=20), contents), min_size=1, max_size=3)


def refusal(read, *arguments) -> str:
    """Return the message of a ValueError, checked to be one line, or an empty text if there is none."""
    try:
        read(*arguments)
    except ValueError as error:
        (line,) = str(error).splitlines()
        return line
    return ""


@given(given=entries)
@settings(many, max_examples=60)
def test_any_entries_give_an_answer_or_a_line(tmp_path, image, given):  # noqa: F811
    path, model = tmp_path / "entries.tflite", MODEL
    for name, content in given:
        model = with_entry(model, name, content)
    assert entry(model, given[-1][0]) == given[-1][1]
    path.write_bytes(model)
    answer_or_line(path, image)
    assert oldest_runtime(path) == oldest_runtime(WHOLE)


TABLES = [MODEL.index(name.encode()) for name in NAMES[1:3]]  # near these are the tables of the entries
near = st.sampled_from([0, *TABLES]).flatmap(lambda at: st.integers(max(at - 200, 0), at + 200))
edits = st.lists(st.tuples(near | st.integers(0, len(MODEL) - 4), st.sampled_from(WORDS)), min_size=1, max_size=4)


@pytest.mark.parametrize("reader", READERS)
@given(changes=edits)
@settings(many, max_examples=200)
def test_any_tables_are_read_or_refused(reader, changes):
    model = bytearray(MODEL)
    for position, new in changes:
        model[position : position + len(new)] = new
    assert len(refusal(READERS[reader], bytes(model))) < 300


@given(changes=edits)
@settings(many, max_examples=100)
def test_the_oldest_runtime_is_found_or_the_file_is_named(tmp_path, changes):
    path, model = tmp_path / "changed.tflite", bytearray(MODEL)
    for position, new in changes:
        model[position : position + len(new)] = new
    path.write_bytes(model)
    said = refusal(oldest_runtime, path)
    assert not said or said.startswith(f"{path} ")
    assert len(said) < len(str(path)) + 300


@pytest.mark.parametrize("reader", ["end_types", "with_entry"])
def test_a_refusal_of_endless_tables_is_short(reader):
    """Give the root table a list of fields as long as the file, and the graph as many inputs."""
    root = flatbuffer.Data(MODEL).root()
    vtable = root.position - root.data.number(root.position, "i")
    inputs = root.tables(Model.SUBGRAPHS)[0].target(SubGraph.INPUTS)
    place, new = {"with_entry": (vtable, b"\xf0\x10"), "end_types": (inputs, b"\xf0\x10\0\0")}[reader]
    said = refusal(READERS[reader], MODEL[:place] + new + MODEL[place + len(new) :])
    assert re.match("it uses a newer schema|it must have one input", said)
    assert len(said) < 300


def test_a_list_that_says_that_it_is_endless_is_refused_soon():
    root = flatbuffer.Data(MODEL).root()
    codes = root.target(Model.OPERATOR_CODES)
    model = MODEL[:codes] + struct.pack("<I", 2**32 - 1) + MODEL[codes + 4 :]
    with pytest.raises(ValueError, match=r"it refers to|it is too large"):
        operator_codes(model)


@pytest.mark.parametrize("content", [b"fp16accfp16" * 1000, b"\xff" * 64])
def test_benchmark_times_a_file_with_such_an_entry_or_prints_a_line(tmp_path, capfd, content):
    path = tmp_path / "entries.tflite"
    path.write_bytes(with_entry(MODEL, NAMES[0], content))
    code = 0
    try:
        main(["benchmark", str(path), "--accelerator", "cpu", "--runs", "1", "--no-peak", "--json"])
    except SystemExit as stop:
        code = stop.code or 0
    output, errors = capfd.readouterr()
    if code:
        assert errors.startswith(f"error: {path} ")
        assert errors.count("\n") == 1
    else:
        assert json.loads(output)[0]["median_ms"] > 0
