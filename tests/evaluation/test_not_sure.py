"""Thresholds for "not sure": the images that `evaluate` chooses them on."""

import json
import shutil

import numpy as np
import pytest
from colours import LABELS, save_images

from keras_inception.evaluation.abstention import abstentions, choose_thresholds, shown_threshold
from keras_inception.evaluation.evaluator import evaluate
from keras_inception.preprocessing import Preprocessing


class ByColor:
    """Classify images by their brightest channel, more surely the purer the color is."""

    labels = LABELS
    preprocessing = Preprocessing(size=(8, 8))

    def predict(self, pictures):
        means = pictures.mean(axis=(1, 2), dtype=np.float32)[:, ::-1] / 30
        return np.exp(means) / np.exp(means).sum(axis=1, keepdims=True)

    def __str__(self):
        return "by color"


@pytest.fixture
def split(tmp_path):
    """A folder of images with ``train``, ``validation`` and ``test``."""
    for seed, (name, count) in enumerate({"train": 1, "validation": 5, "test": 30}.items()):
        save_images(tmp_path / name, count, seed)
    return tmp_path


def expected(result, thresholds):
    return abstentions(result.images.confidence, result.images.predicted == result.images.truth, thresholds)


def test_thresholds_are_chosen_on_validation_and_applied_to_the_test_images(split):
    result = evaluate(ByColor(), split)
    chosen = choose_thresholds(evaluate(ByColor(), split / "validation").images.confidence)
    assert result.count == 90
    assert result.not_sure == expected(result, chosen)
    assert result.not_sure_chosen_on == "validation"
    assert [row.threshold for row in result.not_sure] == sorted(chosen)
    assert result.top1 < result.not_sure[0].top1
    values = json.loads(json.dumps(result.to_dict()))
    assert [list(row) for row in values["not_sure"]] == [["answered", "threshold", "top1"]] * 3
    assert "not sure below" in str(result)
    assert "Thresholds were chosen on validation images, to answer 95, 90 and 80 % of them." in str(result)


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_without_validation_beside_it_they_are_chosen_on_the_images_themselves(split, missing):
    shutil.rmtree(split / missing)
    result = evaluate(ByColor(), split)
    assert result.not_sure == expected(result, choose_thresholds(result.images.confidence))
    assert result.not_sure_chosen_on == result.to_dict()["not_sure_chosen_on"] == "evaluated"
    assert "Thresholds were chosen on these images themselves" in str(result)


def test_validation_images_that_cannot_be_used_are_named_and_left_out(split, caplog):
    shutil.copytree(split / "train" / "red", split / "validation" / "violet")
    result = evaluate(ByColor(), split)
    assert result.not_sure_chosen_on == "evaluated"
    assert "thresholds are chosen without the validation images: " in caplog.text
    assert "'violet' is not one of the 3 classes" in caplog.text


@pytest.mark.parametrize(("threshold", "shown"), [(0.99999, "0.9999"), (0.61239, "0.6123"), (0.5, "0.5000")])
def test_a_threshold_is_shown_rounded_down(threshold, shown):
    assert shown_threshold(threshold) == shown
