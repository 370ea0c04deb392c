import errno
import json
import os
import re
import stat
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_inception.utils import files

# Not blank; any script, and characters at which `str.splitlines` splits but text files do not.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0")
labels = st.text(characters, min_size=1).filter(files.clean_label)
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
    assert files.read_labels(path) == tuple(map(files.clean_label, labels))


NAMES = ("circle, round", "猫", "blue – «Ä»", "crane", "crane")
PLAIN = "".join(f"{name}\n" for name in NAMES)


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode("utf-8-sig"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace("\n", " \t\u00a0\n").encode(),
        PLAIN.removesuffix("\n").encode(),
        f"{PLAIN}\n  \r\n".encode(),
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    ],
    ids=["mark", "crlf", "cr", "blanks", "no last break", "empty lines at the end", "utf-16", "utf-16, big endian"],
)
def test_labels_are_those_that_a_person_reads(tmp_path, content):
    (tmp_path / "labels.txt").write_bytes(content)
    assert files.read_labels(tmp_path / "labels.txt") == NAMES


def test_labels_are_written_without_marks_and_blanks(tmp_path):
    files.write_labels(tmp_path / "labels.txt", ["\ufeffcat ", "  dog\t"])
    assert (tmp_path / "labels.txt").read_bytes() == b"cat\n  dog\n"


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ("0 Class 1\n1 big dog\n", ("Class 1", "big dog")),  # of Teachable Machine
        ("0 cat\n2 dog\n", ("0 cat", "2 dog")),
        ("0\n1\n", ("0", "1")),
        ("0 cat\n", ("0 cat",)),
    ],
)
def test_given_labels_lose_the_numbers_in_front(tmp_path, content, labels):
    (tmp_path / "labels.txt").write_text(content)
    assert files.given_labels(tmp_path / "labels.txt") == labels
    assert files.read_labels(tmp_path / "labels.txt") == tuple(content.splitlines())  # of a run, as they are


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("value", [{"cat": 0, "dog": 1}, ["cat", "dog"]])
def test_labels_in_json_are_refused(tmp_path, value, indent):
    (tmp_path / "labels.json").write_text(json.dumps(value, indent=indent))
    with pytest.raises(ValueError, match=r"labels\.json must hold one label per line\. Received: JSON"):
        files.given_labels(tmp_path / "labels.json")


def test_labels_are_given_by_a_file_or_as_names(tmp_path):
    files.write_labels(tmp_path / "labels.txt", NAMES)
    assert files.given_labels(tmp_path / "labels.txt") == files.given_labels(PLAIN.splitlines(keepends=True)) == NAMES
    with pytest.raises(ValueError, match="each of `labels` must be a line of text"):
        files.given_labels(["cat", "big\ndog"])


@pytest.mark.parametrize("label", ["", "  ", "cat\ndog", "cat\r"])
def test_a_label_must_be_one_line(tmp_path, label):
    with pytest.raises(ValueError, match="a label must be one line of text"):
        files.write_labels(tmp_path / "labels.txt", ["fish", label])
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", r"labels\.txt must hold one label per line\. Received: no labels"),
        (b"\xef\xbb\xbf \r\n", "Received: no labels"),
        (b"cat\n \ndog\n", r"one label per line, none empty\. Received: a blank line 2, before 'dog' in line 3"),
        (
            b"caf\xe9\n",
            r"labels\.txt is not UTF-8 text\. Received: byte 0xe9 at position 3, in line 1; if it is Lat",
        ),
        (b"cat\n\xc4\n", "byte 0xc4 at position 4, in line 2"),
        (b"\xff\xfe\n", r"labels\.txt is not UTF-16 text\. Received: byte 0x0a at position 2"),
        ("cat\n".encode("utf-16-le"), r"or UTF-16 with a byte order mark\. Received: byte 0x00 at position 1"),
        ("cat\n".encode("utf-32"), "Received: byte 0x00"),
    ],
)
def test_a_file_without_labels_is_named(tmp_path, content, match):
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(ValueError, match=match):
        files.read_labels(tmp_path / "labels.txt")


FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded", "elsewhere"),
    OSError("155648 requested and 0 written"),  # NumPy
    RuntimeError("Unable to close file (file write failed: errno = 28, error message = 'No space left on device')"),
    ValueError("model.ckpt; No space left on device [Op:SaveV2]"),  # TensorFlow has its own classes
]


@pytest.mark.parametrize("error", FULL, ids=lambda error: str(error)[:20])
def test_a_full_disk_is_one_error_whichever_library_says_so(error, tmp_path):
    def write():
        with files.replacing(tmp_path / "file.txt") as beside:
            beside.write_text("half")
            raise error

    reason = r"cannot be written: (No space left on device|Disk quota exceeded)$"
    with pytest.raises(OSError, match="cannot be written") as caught:
        write()
    assert re.search(reason, caught.value.strerror)
    assert caught.value.filename == str(tmp_path / "file.txt")
    assert names(tmp_path) == []


def test_another_error_of_a_library_stays_as_it_is(tmp_path):
    def write():
        with files.replacing(tmp_path / "file.txt"):
            raise RuntimeError("not supported")

    with pytest.raises(RuntimeError, match="not supported"):
        write()


def test_a_full_disk_names_the_folder_that_was_asked_for(tmp_path):
    def fill():
        with files.new_folder(tmp_path / "run") as new:
            raise OSError(errno.ENOSPC, "No space left on device", "source", None, str(new / "file"))

    def fill_temporary():
        with files.temporary_folder() as folder:
            raise RuntimeError(f"{folder}/model; No space left on device")

    with pytest.raises(OSError, match="cannot be written: No space left") as error:
        fill()
    assert error.value.filename == str(tmp_path / "run")
    with pytest.raises(OSError, match=r"cannot be written: No space left on device; .*TMPDIR") as error:
        fill_temporary()
    assert error.value.filename == tempfile.gettempdir()
    assert names(tmp_path) == []


def test_a_full_disk_elsewhere_is_not_taken_for_that_of_a_temporary_folder(tmp_path):
    def fill():
        with files.temporary_folder():
            raise OSError(errno.ENOSPC, "cannot be written: No space left on device", str(tmp_path / "file.txt"))

    with pytest.raises(OSError, match="No space") as error:
        fill()
    assert error.value.filename == str(tmp_path / "file.txt")


def test_a_second_writer_of_a_folder_is_told_and_does_not_disturb_the_first(tmp_path):
    with files.new_folder(tmp_path / "run") as new:
        (new / "file.txt").write_text("first")
        with pytest.raises(FileExistsError, match=r"run is being written: another process"):
            files.new_folder(tmp_path / "run").__enter__()
    assert (tmp_path / "run" / "file.txt").read_text() == "first"
    assert names(tmp_path) == ["run"]


def test_a_folder_that_was_created_meanwhile_is_named(tmp_path):
    def late():
        with files.new_folder(tmp_path / "run") as new:
            (new / "file.txt").write_text("late")
            (tmp_path / "run").mkdir()
            (tmp_path / "run" / "file.txt").write_text("first")

    with pytest.raises(FileExistsError, match=rf"^{re.escape(str(tmp_path / 'run'))} exists: another process"):
        late()
    assert (tmp_path / "run" / "file.txt").read_text() == "first"
    assert names(tmp_path) == ["run"]


def test_temporary_files_of_a_process_that_ends_at_once_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(files._process, "is_ending", False)  # also afterwards
    with files.temporary_folder() as folder, files.new_folder(tmp_path / "new") as new:
        (new / "file.txt").write_text("text")
        files.remove_temporary()
        assert not folder.exists()
        assert not new.exists()
        with pytest.raises(RuntimeError, match="about to end"):
            files.write_text(tmp_path / "file.txt", "text")
        new.mkdir(parents=True)
