import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_inception.utils import files

# Not blank; any script, and characters at which `str.splitlines` splits but text files do not.
labels = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), min_size=1).filter(str.strip)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_renamed_at_the_end(tmp_path):
    path = tmp_path / "folder" / "file.txt"
    with files.replacing(path) as beside:
        beside.write_text("new")
        assert not path.exists()
        assert beside.suffix == ".txt"
    assert path.read_text() == "new"
    assert names(path.parent) == ["file.txt"]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write_half():
        with files.replacing(path) as beside:
            beside.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_a_writer_that_leaves_no_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), files.replacing(tmp_path / "file.txt") as beside:
        beside.unlink()
    assert names(tmp_path) == []


def test_a_folder_is_renamed_at_the_end(tmp_path):
    path = tmp_path / "above" / "run"
    with files.new_folder(path) as new:
        (new / "file.txt").write_text("text")
        assert not path.exists()
    assert names(path) == ["file.txt"]
    assert names(path.parent) == ["run"]


def test_a_failed_folder_is_removed_with_what_a_killed_process_left(tmp_path):
    for left in (".writing-run-abcd_123", ".writing-run-2-abcdefgh"):
        (tmp_path / left / "run").mkdir(parents=True)

    def fill_half():
        with files.new_folder(tmp_path / "run"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_half()
    assert names(tmp_path) == [".writing-run-2-abcdefgh"], "those of another folder should stay"


def test_unfinished_files_are_removed(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("file.txt", ".writing-abcfile.txt", "folder/.writing-abcfile.txt"):
        (tmp_path / name).write_text("text")
    files.remove_unfinished(tmp_path)
    assert names(tmp_path) == ["file.txt", "folder"]
    assert names(tmp_path / "folder") == []


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_file_has_the_permissions_of_any_new_file(tmp_path, umask):
    previous = os.umask(umask)
    try:
        files.write_text(tmp_path / "file.txt", "text")
    finally:
        assert os.umask(previous) == umask
    assert stat.S_IMODE((tmp_path / "file.txt").stat().st_mode) == 0o666 & ~umask


@given(values)
@settings(max_examples=40)
def test_json_round_trips(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    files.write_json(path, value)
    assert files.read_json(path) == value


def test_json_is_readable_in_any_script(tmp_path):
    files.write_json(tmp_path / "value.json", {"猫": "кошка"})
    assert '"猫": "кошка"' in (tmp_path / "value.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{'a': 1}"])
def test_a_file_that_is_not_json_is_named(tmp_path, content):
    (tmp_path / "value.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"value\.json is not a JSON file: "):
        files.read_json(tmp_path / "value.json")


@given(st.lists(labels, min_size=1))
@settings(max_examples=40)
def test_labels_round_trip(tmp_path_factory, labels):
    path = tmp_path_factory.getbasetemp() / "labels.txt"
    files.write_labels(path, labels)
    assert files.read_labels(path) == tuple(labels)


@pytest.mark.parametrize("label", ["", "  ", "cat\ndog", "cat\r"])
def test_a_label_must_be_one_line(tmp_path, label):
    with pytest.raises(ValueError, match="a label must be one line of text"):
        files.write_labels(tmp_path / "labels.txt", ["fish", label])
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", r"labels\.txt must hold one label per line, none empty\. Received: 0 lines"),
        (b"cat\n\ndog\n", r"none empty\. Received: 3 lines"),
        (b"cat\n  \n", r"none empty\. Received: 2 lines"),
        (b"\xff\xfe\n", r"labels\.txt is not UTF-8 text"),
    ],
)
def test_a_file_without_labels_is_named(tmp_path, content, match):
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(ValueError, match=match):
        files.read_labels(tmp_path / "labels.txt")
