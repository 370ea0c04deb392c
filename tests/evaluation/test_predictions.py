"""The table of predictions."""

import csv

import numpy as np
import pytest

from keras_inception.evaluation import predictions
from keras_inception.evaluation.metrics import ImageResults
from keras_inception.utils.files import write_csv


def test_up_to_100_classes_have_a_column_each():
    assert predictions.columns(("cat", "dog"), True) == ["path", "label", "predicted", "probability", "p:cat", "p:dog"]
    assert len(predictions.columns(tuple(map(str, range(100))), False)) == 103
    row = predictions.row("a.png", np.float32([0.25, 0.75]), ("cat", "dog"), "cat")
    assert list(row.values()) == ["a.png", "cat", "dog", 0.75, 0.25, 0.75]


def test_of_more_classes_the_five_likeliest_are_listed():
    names = tuple(f"class {index}" for index in range(101))
    values = np.zeros(101)
    values[[3, 7, 9]] = 0.5, 0.3, 0.2
    row = predictions.row("a.png", values, names, None)
    assert list(row) == predictions.columns(names, False)
    assert list(row.values())[:7] == ["a.png", "class 3", 0.5, "class 3", 0.5, "class 7", 0.3]
    assert list(row)[3:] == ["top1", "p1", "top2", "p2", "top3", "p3", "top4", "p4", "top5", "p5"]


def test_classes_of_one_name_keep_their_columns():
    row = predictions.row("a.png", np.array([0.1, 0.2, 0.7]), ("crane", "crane", "cat"), None)
    assert (row["p:crane"], row["p:crane (2)"], row["p:cat"]) == (0.1, 0.2, 0.7)


def test_a_table_keeps_names_that_are_not_utf_8(tmp_path):
    results = ImageResults(np.array([0, 1]), np.float32([[0.9, 0.1], [0.8, 0.2]]), ("a,b.png", "\udcff.png"))
    predictions.write(tmp_path / "predictions.csv", results, ("cat", "dog"))
    with open(tmp_path / "predictions.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["a,b.png", "\udcff.png"]
    assert [(row["label"], row["predicted"], row["probability"]) for row in rows] == [
        ("cat", "cat", "0.9"), ("dog", "cat", "0.8"),
    ]  # fmt: skip


def test_other_tables_are_strict_no_more_than_needed(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_csv(tmp_path / "table.csv", [{"path": "\ud800"}])  # no byte of a name
    assert not list(tmp_path.iterdir())


def test_mistakes_are_ordered_by_confidence():
    probabilities = np.float32([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.45, 0.55]])
    results = ImageResults(np.array([0, 1, 0, 1]), probabilities)
    assert results.predicted.tolist() == [0, 0, 1, 1]
    assert results.mistakes().tolist() == [2, 1]
    assert results.least_certain().tolist() == [3, 1, 2, 0]
    assert len(results) == 4
