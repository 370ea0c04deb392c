"""The parts of a report that show an evaluation."""

import re

import numpy as np
import pytest

from keras_inception.datasets import Arrays
from keras_inception.evaluation.metrics import Evaluation, ImageResults
from keras_inception.reports import evaluated

NAMES = ("cat", "<dog>", "unseen")
TRUTH = np.array([0, 1, 1, 0])
PROBABILITIES = np.float32([[0.7, 0.2, 0.1], [0.9, 0.1, 0.0], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1]])
IMAGES = ImageResults(TRUTH, PROBABILITIES, ("a.png", "b&c.png", "d.png", "e.png"))
EVALUATION = Evaluation(NAMES, np.array([[2, 0, 0], [2, 0, 0], [0, 0, 0]]), top5=1.0, loss=0.5, images=IMAGES)
EXAMPLES = Arrays(
    labels=TRUTH,
    keys=np.array(["a", "b", "c", "d"], object),
    pictures=np.zeros((4, 8, 8, 3), np.uint8),
    source="zeros",
)


def test_a_confusion_matrix_of_few_classes_is_a_table(tmp_path):
    matrix = evaluated.confusion(EVALUATION, tmp_path / "none.png")
    assert re.findall(r"<td style=.*?, ([\d.]+)\)\">(\d+)</td>", matrix) == [("0.65", "2"), ("0.65", "2")]
    assert re.findall(r'<th scope="row">(.*?)</th>', matrix) == ["cat", "&lt;dog&gt;", "unseen"]


def test_a_confusion_matrix_of_many_classes_is_a_picture(tmp_path):
    many = Evaluation(tuple(map(str, range(31))), np.eye(31, dtype=int), top5=1.0, loss=0.0)
    assert "<img" not in evaluated.confusion(many, tmp_path / "none.png")
    (tmp_path / "some.png").write_bytes(b"\x89PNG")
    assert "<img" in evaluated.confusion(many, tmp_path / "some.png")


def test_mistakes_and_uncertain_images_are_shown_with_what_the_network_said():
    wrong, uncertain = evaluated.mistakes(EVALUATION, EXAMPLES)
    assert "2 of 4 images" in wrong
    lines = ["b&amp;c.png", "label: &lt;dog&gt; (10.0%)", "guess: cat (90.0%)"]
    assert wrong.index("<br>".join(lines)) < wrong.index("d.png")
    assert wrong.count('class="wrong"') == 2
    assert uncertain.count("<li") == 4
    assert uncertain.index("e.png") < uncertain.index("d.png") < uncertain.index("a.png")


def test_images_that_are_gone_have_their_lines_only():
    def read(index):
        raise FileNotFoundError(index)

    shown = evaluated.gallery(IMAGES, NAMES, [0], read)
    assert "<img" not in shown
    assert "a.png<br>label: cat (70.0%)" in shown


def test_without_mistakes_the_least_certain_images_are_drawn():
    assert evaluated.drawn_mistakes(IMAGES) == [1, 2]
    right = ImageResults(np.zeros(4, int), PROBABILITIES)
    assert evaluated.drawn_mistakes(right) == [3, 2, 0, 1]
    (uncertain,) = evaluated.mistakes(Evaluation(NAMES, np.diag([4, 0, 0]), top5=1.0, loss=0.1, images=right), EXAMPLES)
    assert "Least certain" in uncertain
    assert "image 3" in uncertain


def test_the_least_accurate_class_comes_first_and_empty_ones_last():
    rows = re.findall(r"<tr><td>(.*?)</td>", evaluated.by_class(EVALUATION))
    assert rows == ["&lt;dog&gt;", "cat", "unseen"]


def test_the_accuracy_has_its_interval():
    assert evaluated.accuracy(EVALUATION).startswith(
        "4 images: top-1 50.0% (95 % interval 15.0% to 85.0%), top-5 100.0%"
    )


def test_no_images_no_galleries():
    assert evaluated.mistakes(Evaluation(NAMES, np.eye(3, dtype=int), top5=1.0, loss=0.1), EXAMPLES) == []
    assert evaluated.calibration(EVALUATION).count("<rect") == 0
    with pytest.raises(IndexError):
        evaluated.gallery(IMAGES, NAMES, [4], EXAMPLES.read)
