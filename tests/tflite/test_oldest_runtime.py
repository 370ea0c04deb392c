"""The oldest runtime of a file, from the versions of its operations."""

import re

import pytest

from keras_inception.tflite.flatbuffer import Data
from keras_inception.tflite.model_entries import Buffer, Metadata, Model
from keras_inception.tflite.runtimes import RELEASES, Runtime, numbers, oldest_runtime


def recorded(path) -> set[str]:
    """Return what the converter has recorded: a file may have several of these entries, and empty ones."""
    root = Data(path.read_bytes()).root()
    buffers, entries = root.tables(Model.BUFFERS), root.tables(Model.METADATA)
    found = [
        each.number(Metadata.BUFFER, "I") for each in entries if each.content(Metadata.NAME) == b"min_runtime_version"
    ]
    texts = [buffers[number].content(Buffer.DATA).rstrip(b"\0").decode() for number in found]
    return {text for text in texts if text}


def test_releases_never_get_older_from_version_to_version():
    for name, releases in RELEASES.items():
        assert list(releases) == sorted(releases, key=numbers), name
        assert all(re.fullmatch(r"[12]\.\d+\.\d+", release) for release in releases), name


def test_it_is_what_the_converter_records(exported):
    folder, _ = exported
    files = sorted(folder.glob("*.tflite"))
    assert len(files) == 4
    for path in files:
        assert {oldest_runtime(path).version} == recorded(path), path.name


def test_an_operation_that_is_not_known_needs_a_runtime_that_is_not_known():
    unknown = Runtime(None, "FULLY_CONNECTED", 99)
    assert str(unknown) == "a runtime of unknown version (FULLY_CONNECTED version 99)"
    assert not unknown.runs_on("99.0")
    assert Runtime("2.4.0", "CONV_2D", 5).runs_on("2.4")
    assert not Runtime("2.14.4", "TRANSPOSE", 7).runs_on("2.14")


@pytest.mark.parametrize("release", ["", "two", "2.x", "2.8.0.1", "-1", "²"])
def test_a_release_is_up_to_three_numbers(release):
    with pytest.raises(ValueError, match=r"`runtime` must be a release of TensorFlow Lite, such as 2\.8"):
        numbers(release)


def test_damaged_files_are_refused(exported, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(next(exported[0].glob("*.tflite")).read_bytes()[:200])
    with pytest.raises(ValueError, match=r"cut\.tflite is damaged"):
        oldest_runtime(path)
