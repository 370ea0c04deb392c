"""Metrics, against values counted by hand and properties of any evaluation."""

import json
import re
from typing import ClassVar

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_inception.evaluation.metrics import (
    ClassResult,
    ConfidenceBin,
    ConfusedPair,
    Evaluation,
    evaluate_batches,
    keras_predictor,
    top_k,
    wilson,
)

# Six images of three classes; the classifier looks its answers up in a table.
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.3, 0.5, 0.2]]
)
TRUTH = np.array([0, 0, 1, 1, 1, 0])
CLASS_NAMES = ("cat", "dog", "unseen")


def batches_of(truth, size):
    return [(np.arange(start, min(start + size, len(truth))), truth[start : start + size])
            for start in range(0, len(truth), size)]  # fmt: skip


def test_evaluation_counted_by_hand():
    result = evaluate_batches(lambda x: PROBABILITIES[x], batches_of(TRUTH, 4), CLASS_NAMES)
    assert result.confusion.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert (result.count, result.top1, result.top5) == (6, 4 / 6, 1.0)
    assert result.loss == pytest.approx(-np.log([0.7, 0.5, 0.8, 0.3, 0.7, 0.3]).mean())
    assert result.per_class == (
        ClassResult("cat", 3, 2 / 3, 2 / 3, 2 / 3),
        ClassResult("dog", 3, 2 / 3, 2 / 3, 2 / 3),
        ClassResult("unseen", 0, None, None, None),
    )


def test_confused_pairs_counted_by_hand():
    confusion = np.array([[5, 2, 0, 1], [1, 4, 0, 0], [0, 0, 9, 0], [3, 0, 0, 7]])
    result = Evaluation(("a", "b", "c", "d"), confusion, top5=1.0, loss=1.0)
    assert result.confused_pairs == (ConfusedPair("a", "d", 1, 3), ConfusedPair("a", "b", 2, 1))
    assert result.to_dict()["confused_pairs"][0] == dict(first="a", second="d", first_as_second=1, second_as_first=3)
    assert str(result).splitlines()[-2] == "Most often confused: a and d (4), a and b (3)"
    many = Evaluation(tuple("abcdefg"), np.ones((7, 7), int), top5=1.0, loss=1.0)
    assert len(many.confused_pairs) == 10
    assert str(many).splitlines()[-2] == "Most often confused: a and b (2), a and c (2), a and d (2)"
    assert Evaluation(("a",), np.array([[3]]), top5=1.0, loss=0.0).confused_pairs == ()


def test_precision_differs_from_recall():
    result = Evaluation(("a", "b"), np.array([[3, 1], [2, 0]]), top5=1.0, loss=1.0)
    f1 = 2 / (4 / 3 + 5 / 3)
    assert result.per_class == (ClassResult("a", 4, 3 / 4, 3 / 5, pytest.approx(f1)), ClassResult("b", 2, 0, 0, 0))
    assert (result.calibration, result.calibration_error) == ((), None)


def test_calibration_counted_by_hand():
    """Confidences 0.5, 0.5, 0.6, 0.7, 0.7 and 0.8 fall into bins that end at 0.533, 0.6, 0.733 and 0.8, inclusive."""
    result = evaluate_batches(lambda x: PROBABILITIES[x], batches_of(TRUTH, 4), CLASS_NAMES)
    filled = {round(each.high, 3): each for each in result.calibration if each.pictures}
    assert len(result.calibration) == 15
    assert [each.low for each in result.calibration[1:]] == [each.high for each in result.calibration[:-1]]
    assert [(high, each.pictures, each.top1) for high, each in filled.items()] == [
        (0.533, 2, 0.5), (0.6, 1, 0.0), (0.733, 2, 1.0), (0.8, 1, 1.0)
    ]  # fmt: skip
    assert [each.confidence for each in filled.values()] == pytest.approx([0.5, 0.6, 0.7, 0.8])
    assert result.calibration_error == pytest.approx((2 * 0.0 + 0.6 + 2 * 0.3 + 0.2) / 6)
    assert result.calibration[0] == ConfidenceBin(0.0, 1 / 15, 0, None, None)


@pytest.mark.parametrize(
    ("confidence", "place"), [(0.0, 0), (1e-9, 0), (1 / 15, 0), (0.07, 1), (1.0, 14), (1.0005, 14)]
)
def test_every_confidence_falls_into_one_bin(confidence, place):
    result = evaluate_batches(lambda x: np.array([[confidence]]), [(None, [0])], "a")
    assert [each.pictures for each in result.calibration] == [int(index == place) for index in range(15)]


@pytest.mark.parametrize(
    ("right", "pictures", "low", "high"),
    # Newcombe 1998 (Statistics in Medicine 17), Table I, method 3: Wilson's.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_matches_published_values(right, pictures, low, high):
    assert wilson(right, pictures) == pytest.approx((low, high), abs=5e-5)
    result = Evaluation(("a", "b"), np.array([[right, pictures - right], [0, 0]]), top5=1.0, loss=1.0)
    assert result.top1_interval == wilson(right, pictures)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_contains_the_proportion(counts):
    right, pictures = counts
    low, high = wilson(right, pictures)
    assert 0 <= low <= right / pictures <= high <= 1
    assert low < high
    assert wilson(pictures - right, pictures) == pytest.approx((1 - high, 1 - low))


def test_top5_considers_five_classes():
    probabilities = np.array([[0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.05]])
    for truth, expected in [(0, 1.0), (4, 1.0), (5, 0.0), (6, 0.0)]:
        result = evaluate_batches(lambda x: probabilities, [(None, np.array([truth]))], "abcdefg")
        assert result.top5 == expected


def test_loss_is_finite_for_a_probability_of_zero():
    result = evaluate_batches(lambda x: np.array([[1.0, 0.0]]), [(None, [1])], "ab")
    assert result.loss == pytest.approx(-np.log(1e-7))


def test_an_evaluation_prints_as_a_table(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    printed = str(evaluate_batches(lambda x: PROBABILITIES[x], batches_of(TRUTH, 6), CLASS_NAMES)).splitlines()
    assert [line.split() for line in printed[1:2] + printed[3:6]] == [
        ["class", "images", "top-1", "precision", "F1"],
        ["cat", "3", "66.7%", "66.7%", "66.7%"],
        ["dog", "3", "66.7%", "66.7%", "66.7%"],
        ["unseen", "0", "–", "–", "–"],
    ]
    assert printed[-1].startswith("6 images: top-1 66.7% (95 % interval 30.0% to 90.3%), top-5 100.0%, loss 0.6")
    uncalibrated = Evaluation(("a",), np.array([[1]]), top5=1.0, loss=0.0, models=("x", "y"), crops=10)
    assert str(uncalibrated).splitlines()[-2:] == [
        "1 image: top-1 100.0% (95 % interval 20.7% to 100.0%), top-5 100.0%, loss 0.000",
        "Averaged over 10 crops of each image and 2 networks.",
    ]


def test_on_batch_is_called_with_the_number_of_images():
    counts = []
    evaluate_batches(lambda x: PROBABILITIES[x], batches_of(TRUTH, 4), CLASS_NAMES, on_batch=counts.append)
    assert counts == [4, 2]


def test_to_dict_round_trips_through_json():
    values = evaluate_batches(lambda x: PROBABILITIES[x], batches_of(TRUTH, 6), CLASS_NAMES).to_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["per_class"][0] == {"label": "cat", "pictures": 3, "top1": 2 / 3, "precision": 2 / 3, "f1": 2 / 3}
    assert values["top1_interval"] == list(wilson(4, 6))
    assert values["calibration"][14] == {"low": 14 / 15, "high": 1, "pictures": 0, "confidence": None, "top1": None}
    assert values["confusion"] == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("probabilities", "truth", "message"),
    [
        ([[0.5, 0.5]], [2], "a class index must be in 0 to 1. Received: 2"),
        ([[0.5, 0.5]], [-1], "a class index must be in 0 to 1. Received: -1"),
        ([[0.5, 0.5]], [[0, 1]], "must be class indices"),
        ([[0.5, 0.5]], [0.0], "must be class indices"),
        ([[0.4, 0.3, 0.3]], [0], "probabilities of shape (1, 2). Received: (1, 3)"),
        ([[0.5, 0.5]], [0, 1], "probabilities of shape (2, 2). Received: (1, 2)"),
        ([[4.5, -2.0]], [0], "in [0, 1]. Received: 4.5"),
        ([[np.nan, 0.5]], [0], "in [0, 1]. Received: nan"),
    ],
)
def test_invalid_predictions_and_labels_are_refused(probabilities, truth, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluate_batches(lambda x: np.array(probabilities), [(None, truth)], ("a", "b"))


def test_no_images_is_an_error():
    with pytest.raises(ValueError, match="contains no images"):
        evaluate_batches(lambda x: x, [], CLASS_NAMES)


@given(st.data())
def test_properties_of_any_evaluation(data):
    classes = data.draw(st.integers(1, 9))
    count = data.draw(st.integers(1, 20))
    levels = data.draw(hnp.arrays(np.uint8, (count, classes)))  # few levels, hence many ties
    truth = data.draw(hnp.arrays(np.int32, count, elements=st.integers(0, classes - 1)))
    size = data.draw(st.integers(1, count))
    result = evaluate_batches(lambda x: levels[x] / 255, batches_of(truth, size), [str(i) for i in range(classes)])
    assert 0 <= result.top1 <= result.top5 <= 1
    if classes <= 5:
        assert result.top5 == 1
    assert result.count == count
    assert 0 <= result.calibration_error <= 1
    assert sum(each.pictures for each in result.calibration) == count
    assert sum(each.pictures * (each.top1 or 0) for each in result.calibration) == pytest.approx(result.top1 * count)
    assert all(each.low <= each.confidence <= each.high + 1e-12 for each in result.calibration if each.pictures)
    assert result.confusion.sum(axis=1).tolist() == np.bincount(truth, minlength=classes).tolist()
    assert result.confusion.sum(axis=0).tolist() == np.bincount(levels.argmax(1), minlength=classes).tolist()


def test_top_k_breaks_ties_by_index():
    assert top_k(np.array([3, 9, 3, 0, 9], np.uint8), 4).tolist() == [1, 4, 0, 2]
    assert top_k(np.array([[0.1, 0.1], [0.2, 0.8]])).tolist() == [[0, 1], [1, 0]]


@given(hnp.arrays(np.uint8, (3, 7)), st.integers(1, 12))
def test_top_k_matches_a_stable_sort(probabilities, k):
    indices = top_k(probabilities, k)
    for row, found in zip(probabilities.tolist(), indices.tolist(), strict=True):
        assert found == sorted(range(7), key=lambda index: (-row[index], index))[:k]


def test_top_k_of_zero_is_an_error():
    with pytest.raises(ValueError, match="`k` must be 1 or more"):
        top_k(np.ones(3), 0)


@pytest.fixture(scope="module")
def two_outputs():
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 3))
    flat = keras.layers.Flatten()(image)
    outputs = {
        "predictions": keras.layers.Dense(3, activation="softmax", name="predictions")(flat),
        "aux": keras.layers.Dense(3, activation="softmax", name="aux")(flat),
    }
    return keras.Model(image, outputs)


def test_keras_predictor_returns_the_output_named_predictions(two_outputs):
    pictures = np.random.default_rng(0).random((5, 4, 4, 3), np.float32)
    predict = keras_predictor(two_outputs)
    whole = predict(pictures)
    np.testing.assert_allclose(whole, two_outputs.predict_on_batch(pictures)["predictions"], rtol=1e-5)
    np.testing.assert_allclose(predict(pictures[:2]), whole[:2], rtol=1e-5)


def test_keras_predictor_uses_weights_that_are_set_later(two_outputs):
    model = keras.models.clone_model(two_outputs)
    predict = keras_predictor(model)
    pictures = np.ones((2, 4, 4, 3), np.float32)
    before = predict(pictures)
    model.set_weights([2 * weight for weight in model.get_weights()])
    assert not np.allclose(predict(pictures), before)


def test_several_outputs_need_one_named_predictions(two_outputs):
    outputs = two_outputs.output
    with pytest.raises(ValueError, match="a, b, of which none is called predictions"):
        keras_predictor(keras.Model(two_outputs.inputs, {"a": outputs["predictions"], "b": outputs["aux"]}))


def test_outputs_in_a_list_have_the_names_of_their_layers(two_outputs):
    pictures = np.random.default_rng(0).random((5, 4, 4, 3), np.float32)
    listed = keras.Model(two_outputs.inputs, list(reversed(two_outputs.output.values())))
    np.testing.assert_array_equal(keras_predictor(listed)(pictures), keras_predictor(two_outputs)(pictures))


class Traced(keras.layers.Layer):
    """Identity that records its input shape each time it is traced."""

    shapes: ClassVar[list] = []

    def call(self, inputs):
        self.shapes.append(tuple(inputs.shape))
        return inputs


def test_partial_batches_are_not_retraced():
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, keras.layers.Softmax()(keras.layers.Flatten()(Traced()(image))))
    predict = keras_predictor(model)
    Traced.shapes.clear()
    sizes = [len(predict(np.zeros((size, 4, 4, 3), np.float32))) for size in (4, 4, 3, 1)]
    assert sizes == [4, 4, 3, 1]
    assert Traced.shapes == [(4, 4, 4, 3)]
