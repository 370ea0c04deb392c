"""Thresholds for "not sure" of a run, which are chosen on its validation images."""

import os
import shutil

import pytest

from keras_inception.evaluation.abstention import abstentions, choose_thresholds
from keras_inception.evaluation.evaluator import evaluate
from keras_inception.evaluation.predictions import FILE
from keras_inception.utils import files


@pytest.fixture
def copied(run, tmp_path):
    """A copy of the run that tests can change."""
    return shutil.copytree(run, tmp_path / "run")


def test_those_of_a_run_are_chosen_on_its_validation_images(run, pictures):
    result = evaluate(run)
    confidence = evaluate(run, pictures / "validation").images.confidence
    assert result.count == 90
    assert result.not_sure == abstentions(
        result.images.confidence, result.images.predicted == result.images.truth, choose_thresholds(confidence)
    )
    assert result.not_sure_chosen_on == "validation"


def test_what_a_run_recorded_of_its_validation_images_is_used(copied, pictures):
    recorded = [{"path": "x.png", "probability": value} for value in (0.9, 0.8, 0.7, 0.6, 0.5)]
    files.write_csv(copied / FILE, recorded)
    for images in (None, pictures / "test"):
        result = evaluate(copied, images)
        assert [row.threshold for row in result.not_sure] == [0.5, 0.5, 0.6]
        assert result.not_sure_chosen_on == "validation"
    assert [row.threshold for row in evaluate(copied, crops=10).not_sure] != [0.5, 0.5, 0.6], "of other crops"


@pytest.mark.parametrize("damage", ["earlier", "other columns", "no probabilities", "no text"])
def test_a_record_that_cannot_be_used_is_not(copied, run, damage):
    table = copied / FILE
    rows = [{"path": "x.png", "probability": 0.5}]
    if damage == "other columns":
        rows = [{"path": "x.png", "confidence": 0.5}]
    if damage == "no probabilities":
        rows = [{"path": "x.png", "probability": "nan"}]
    files.write_csv(table, rows)
    if damage == "no text":
        table.write_bytes(b"path,probability\n\0\n")
    if damage == "earlier":
        os.utime(table, (0, 0))
    assert evaluate(copied).not_sure == evaluate(run).not_sure


def test_validation_images_that_are_evaluated_themselves_are_known_by_their_probabilities(copied, pictures):
    confidence = evaluate(copied, pictures / "validation").images.confidence
    files.write_csv(copied / FILE, [{"path": "x.png", "probability": f"{value:.6g}"} for value in confidence[::-1]])
    assert evaluate(copied, pictures / "validation").not_sure_chosen_on == "evaluated"
    assert evaluate(copied, pictures / "test").not_sure_chosen_on == "validation"
