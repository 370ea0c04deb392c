"""Tables of labels: their columns, the files that they mean, their splits, and tables that cannot be used."""

import csv
import os
import sys
import unicodedata

import numpy as np
import pytest
from images import save_photographs

from keras_inception.datasets import open_data, open_folder, open_labelled, open_table, recorded, tables
from keras_inception.utils import files


def table(path, *rows, text=None, encoding="utf-8", separator=","):
    """Write a table, whose first row is the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding=encoding, newline="") as file:
        file.write(text) if text is not None else csv.writer(file, delimiter=separator).writerows(rows)
    return path


def listed(examples, class_names):
    return {examples.path(index): class_names[label] for index, label in enumerate(examples.labels)}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Images of the classes a, b and é: four each, of which number 2 is a PNG file and the others are JPEG."""
    return save_photographs(tmp_path_factory.mktemp("tables") / "photos", 4)


@pytest.fixture
def rows(photographs):
    paths = sorted(path.relative_to(photographs).as_posix() for path in photographs.rglob("*.*"))
    return [(path, path.partition("/")[0]) for path in paths]


def test_a_table_gives_the_images_of_a_folder(photographs, rows, tmp_path):
    splits = open_table(table(tmp_path / "labels.csv", ("path", "label"), *rows), root=photographs, validation=0.25)
    folder = open_folder(photographs, validation=0.25)
    assert splits.labels == folder.labels == ("a", "b", "é")
    for split in ("train", "validation"):
        ours, theirs = getattr(splits, split), getattr(folder, split)
        assert ours.keys.tolist() == theirs.keys.tolist()
        assert ours.fingerprint() == theirs.fingerprint()
        assert ours.plain.tolist() == theirs.plain.tolist()


@pytest.mark.parametrize("path", ["path", "file", "filename", "image", "image_id", "id", "Path", " FILE "])
@pytest.mark.parametrize("label", ["label", "class", "category", "Class"])
def test_columns_are_known_by_their_names(path, label, tmp_path):
    made = table(tmp_path / "labels.csv", ("note", label, path), ("x", "cat", "1.png"), ("y", "dog", "2.png"))
    assert [(row.path, row.label) for row in tables.read_table(made)] == [("1.png", "cat"), ("2.png", "dog")]


def test_a_path_takes_precedence_over_a_number(tmp_path):
    made = table(tmp_path / "labels.csv", ("id", "label", "filename"), ("1", "cat", "1.png"))
    assert tables.read_table(made)[0].path == "1.png"


@pytest.mark.parametrize("columns", ["dx_image,dx", ("dx_image", "DX"), ["dx_image", "dx"], '"dx_image", dx'])
def test_other_columns_are_chosen_by_their_names(columns, tmp_path):
    made = table(tmp_path / "labels.csv", ("label", "dx", "dx_image"), ("no", "mole", "1.png"))
    (row,) = tables.read_table(made, columns)
    assert (row.path, row.label) == ("1.png", "mole")


def test_labels_are_text(tmp_path):
    save_photographs(tmp_path, 2, classes=("x", "y", "z"))
    labels = {"x/0.jpg": "07", "x/1.jpg": "7", "y/0.jpg": "7.0", "y/1.jpg": "NA", "z/0.jpg": "07 ", "z/1.jpg": "True"}
    splits = open_data(table(tmp_path / "labels.csv", ("path", "label"), *labels.items()), validation=0)
    assert splits.labels == ("07", "7", "7.0", "NA", "True")
    assert listed(splits.train, splits.labels) == {**labels, "z/0.jpg": "07"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("labels.csv", {}),
        ("labels.csv", {"encoding": "utf-8-sig"}),
        ("labels.csv", {"encoding": "utf-16"}),
        ("labels.CSV", {"separator": ";"}),
        ("labels.csv", {"separator": "\t"}),
        ("labels.tsv", {"separator": "\t"}),
    ],
)
def test_encodings_and_separators(name, options, photographs, rows, tmp_path):
    made = table(tmp_path / name, ("path", "label"), *rows, **options)
    splits = open_table(made, root=photographs, validation=0)
    assert listed(splits.train, splits.labels) == dict(rows)


def test_cells_may_hold_separators_quotes_and_line_ends(tmp_path):
    save_photographs(tmp_path, 2, classes=('a, "b"', "c"))
    text = (
        'path,label\r\n\r\n"a, ""b""/0.jpg","a, ""b"""\r\n"a, ""b""/1.jpg", "a, ""b"""\r\nc/0.jpg, c\r\nc/1.jpg,c,\r\n'
    )
    splits = open_table(table(tmp_path / "labels.csv", text=text), validation=0)
    assert (splits.labels, len(splits.train)) == (('a, "b"', "c"), 4)


def test_the_ending_is_added_if_one_file_fits(photographs, tmp_path):
    wanted = [("a/0", "a"), ("a/2", "a"), ("b/0.jpg", "b"), ("b/1", "b"), ("b/9", "b"), ("é/1.v2", "é")]
    copies = save_photographs(tmp_path / "copies", 4)
    os.rename(copies / "é" / "1.jpg", copies / "é" / "1.v2.jpg")
    (copies / "b" / "1.png").write_bytes((copies / "b" / "2.png").read_bytes())
    (copies / "a" / "0").mkdir()
    (copies / "a" / "0.txt").touch()
    splits = open_table(table(tmp_path / "labels.csv", ("id", "label"), *wanted), root=copies, validation=0)
    assert list(listed(splits.train, splits.labels)) == ["a/0.jpg", "a/2.png", "b/0.jpg", "é/1.v2.jpg"]
    reasons = {os.path.relpath(path, copies): reason for path, reason in splits.skipped}
    assert reasons == {os.path.join("b", "1"): "2 files fit: 1.jpg, 1.png", os.path.join("b", "9"): "does not exist"}


def test_paths_may_be_absolute_or_from_windows_or_composed_otherwise(tmp_path):
    root = save_photographs(tmp_path / "photos", 2, classes=("a", "é"))
    os.rename(root / "a" / "0.jpg", root / "a" / unicodedata.normalize("NFD", "ü.jpg"))
    rows = [("a/ü.jpg", "a"), (".\\a\\1.jpg", "a"), (root / "é" / "0.jpg", "é"), ("a/../é/1.jpg ", "é")]
    splits = open_table(table(tmp_path / "labels.csv", ("path", "label"), *rows), root=root, validation=0, strict=True)
    names = [unicodedata.normalize("NFC", splits.train.path(index)) for index in range(4)]
    assert names == ["a/1.jpg", "a/ü.jpg", "é/0.jpg", "é/1.jpg"]


def test_paths_are_relative_to_the_table_unless_a_folder_is_given(photographs, rows, tmp_path, monkeypatch):
    copies = save_photographs(tmp_path / "copies", 4)
    beside = table(copies / "labels.csv", ("path", "label"), *rows)
    assert len(open_table(beside, validation=0).train) == 12
    elsewhere = table(tmp_path / "labels.csv", ("path", "label"), *rows)
    with pytest.raises(ValueError, match=r"labels\.csv names no image that is in .*; 12 skipped, such as .*--pictures"):
        open_table(elsewhere)
    monkeypatch.chdir(tmp_path)
    arguments = recorded("labels.csv", root=os.path.relpath(photographs), columns="path,label")
    assert arguments == {"source": str(elsewhere), "root": str(photographs), "columns": ["path", "label"]}
    assert len(open_data(**arguments, validation=0).train) == 12


def test_missing_unreadable_and_repeated_images_are_left_out_by_name(photographs, rows, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    more = [("missing.jpg", "a"), (tmp_path / "broken.jpg", "b"), rows[0]]
    made = table(tmp_path / "labels.csv", ("path", "label"), *rows, *more)
    splits = open_table(made, root=photographs, validation=0)
    assert len(splits.train) == 12
    assert splits.skipped == (
        (str(photographs / "missing.jpg"), "does not exist"),
        (str(photographs / rows[0][0]), "is listed again in line 16 of labels.csv"),
        (str(tmp_path / "broken.jpg"), "not a readable image"),
    )
    with pytest.raises(ValueError, match=r"3 of the files .* cannot be used:\n.*missing\.jpg: does not exist"):
        open_table(made, root=photographs, strict=True)


def test_splits_are_named_as_folders_of_them_may_be(photographs, rows, tmp_path):
    names = ("Training", "train", "dev", "TEST")
    made = table(
        tmp_path / "labels.csv",
        ("path", "label", "Split"),
        *((*row, names[number % 4]) for number, row in enumerate(rows)),
    )
    splits = open_table(made, root=photographs)
    assert [list(getattr(splits, split).keys) for split in ("train", "validation", "test")] == [
        [row[0] for number, row in enumerate(rows) if number % 4 in chosen] for chosen in ((0, 1), (2,), (3,))
    ]
    test, _ = open_labelled(made, ["É", "b", "a"], root=photographs)
    assert listed(test, ["é", "b", "a"]) == dict(rows[3::4])
    assert len(open_labelled(made, ["a", "b", "é"], root=photographs, prefer=("validation",))[0]) == 3


def test_without_a_validation_split_one_is_cut_from_train(photographs, rows, tmp_path):
    made = table(tmp_path / "labels.csv", ("path", "label", "split"), *((*row, "train") for row in rows))
    splits = open_table(made, root=photographs, validation=0.25)
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [9, 3, 0]


@pytest.mark.parametrize(
    ("text", "columns", "says"),
    [
        ("", None, r"labels\.csv must have a column of paths, named path, file, .* or id; .* Received: no columns"),
        ("path,label\n", None, r"labels\.csv must have a row for each image below its header\. Received: no rows"),
        ("1.jpg,cat\n2.jpg,dog\n", None, r"labels\.csv must have a column of paths, .* Received: 1\.jpg, cat"),
        ("image,breed\n1,x\n", None, r"a column of labels, named label, class or category; .*--columns PATH,LABEL"),
        ("path,label,class\n1,x,y\n", None, r"must have one column of labels: .* Received: label and class"),
        ("path,label,label\n1,x,y\n", None, r"must have one column named label\. Received: 2"),
        ("path,label\n1,x\n", "path,lable", r"column named lable\. Did you mean label\? Received: path, label"),
        ("path,label\n1,x\n", "path", r"`columns` must name .*PATH,LABEL\. Received: 'path'"),
        ("path,label\n1,x\n2,\n", None, r"labels\.csv, line 3: label must be a value\. Received: ''"),
        ("path,label\n1\n", None, r"labels\.csv, line 2: label must be a value\. Received: ''"),
        ("path,label\n ,x\n", None, r"labels\.csv, line 2: path must be a value\. Received: ''"),
        ('path,label\n1,"x\ny"\n', None, r"line 3: label must be a line of text\. Received: 'x\\ny'"),
        ("path,label\na,b.jpg,x\n", None, r"labels\.csv, line 2 must have 2 cells\. Received: 3; put cells that hold"),
        ("path,label,split\n1,x,fold1\n", None, r"line 2: split must be train, validation or test, .* 'fold1'"),
        ("path,label,split\n1,x,\n", None, r"line 2: split must be train, validation or test, .* Received: ''"),
        ('path,label\n1,"x\n', None, r"labels\.csv, line \d is no row of a table: unexpected end of data"),
        ("path,label\na/0.jpg,x\na/0,y\n", None, r"with one label\. Received: a/0\.jpg with 'x' in line 2 and 'y' in"),
        ("path,label,split\na/0,x,train\na/0,x,val\n", None, r"with one split\. Received: a/0\.jpg with 'train' in li"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_what_is_expected(text, columns, says, photographs, tmp_path):
    made = table(tmp_path / "labels.csv", text=text)
    with pytest.raises(ValueError, match=says):
        open_table(made, root=photographs, columns=columns)


@pytest.mark.parametrize("rows", [[("path", "label"), ("é.jpg", "x")], [("path", "label"), ("1", "é")], [("id", "é")]])
def test_other_encodings_are_refused(rows, tmp_path):
    made = table(tmp_path / "labels.csv", *rows, encoding="latin-1")
    with pytest.raises(ValueError, match=r"labels\.csv is not UTF-8 text\. Received: byte 0xe9 .* in line [12]"):
        open_table(made)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text on other systems")
def test_names_of_files_may_be_any_bytes(tmp_path):
    root = save_photographs(tmp_path / "photos", 2, classes=("a", "b"))
    os.rename(root / "a" / "0.jpg", os.fsencode(root / "a") + b"/\xe9\n.jpg")
    splits = open_folder(root, validation=0.5)
    files.write_csv(tmp_path / "split.csv", splits.rows())
    again = open_table(tmp_path / "split.csv", root=root, strict=True)
    assert again.fingerprints() == splits.fingerprints()


def test_options_of_a_table_are_refused_for_other_sources(photographs):
    for call in (open_data, recorded, lambda source, **options: open_labelled(source, ["a"], **options)):
        with pytest.raises(ValueError, match=r"`root` \(--pictures\) is for a table of labels"):
            call(photographs, root=photographs)
        with pytest.raises(ValueError, match=r"`columns` \(--columns\) is for a table of labels"):
            call(photographs, columns="path,label")
    with pytest.raises(ValueError, match="must be a table of labels: an existing"):
        open_table(photographs)


def test_a_large_table_lists_each_folder_once(tmp_path, monkeypatch):
    save_photographs(tmp_path, 2, classes=("a", "b"))
    rows = [(f"{'ab'[number % 2]}/{number}", "ab"[number % 2]) for number in range(100_000)]
    calls = []
    listing = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: calls.append(path) or listing(path))
    splits = open_table(table(tmp_path / "labels.csv", ("id", "label"), *rows), validation=0)
    assert (len(splits.train), len(splits.skipped)) == (2, 99_998)
    assert len(calls) == 2
    assert np.array_equal(splits.train.labels, [0, 1])
