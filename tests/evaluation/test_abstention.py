"""Accuracy if a network may say "not sure", against values counted by hand and properties of any answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_inception.evaluation.abstention import (
    SHARES,
    Abstention,
    abstentions,
    accuracy_by_answered,
    choose_thresholds,
)

CONFIDENCE = np.array([0.5, 0.9, 0.6, 0.6, 0.3])
RIGHT = np.array([True, True, False, True, False])


def test_thresholds_counted_by_hand():
    assert choose_thresholds(CONFIDENCE, (1, 0.8, 0.6, 0.4, 0.2)) == (0.3, 0.5, 0.6, 0.6, 0.9)
    assert choose_thresholds(np.arange(20) / 20, (0.95,)) == (1 / 20,), "19 of 20 images, although 0.95 * 20 > 19"


def test_accuracy_counted_by_hand():
    assert abstentions(CONFIDENCE, RIGHT, (0.5, 0.6, 0.95)) == (
        Abstention(0.8, 0.5, 3 / 4),
        Abstention(0.6, 0.6, 2 / 3),
        Abstention(0.0, 0.95, None),
    )


def test_the_curve_counted_by_hand():
    answered, top1 = accuracy_by_answered(CONFIDENCE, RIGHT)
    assert answered.tolist() == [0.2, 0.6, 0.8, 1.0], "two images of equal confidence are answered together"
    assert top1.tolist() == pytest.approx([1, 2 / 3, 3 / 4, 3 / 5])


@given(st.lists(st.tuples(st.integers(0, 255), st.booleans()), min_size=1, max_size=60))
def test_each_share_is_answered_and_no_higher_threshold_answers_it(answers):
    confidence, right = np.array([level / 255 for level, _ in answers]), np.array([right for _, right in answers])
    rows = abstentions(confidence, right, choose_thresholds(confidence))
    shares, curve = accuracy_by_answered(confidence, right)
    for share, row in zip(SHARES, rows, strict=True):
        assert row.answered >= share - 1e-9
        assert (confidence > row.threshold).mean() < share
        assert row.top1 == pytest.approx(curve[shares == row.answered][0])
    assert curve[-1] == pytest.approx(right.mean())
