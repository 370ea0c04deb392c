"""Labels that are probably wrong, against labels that were made wrong."""

import numpy as np
import pytest

from keras_inception.evaluation.label_errors import find_label_errors


def test_errors_counted_by_hand():
    """The means of the labels are 0.6 and 0.7: images 3 and 6 reach that of the other class, and no other image."""
    of_first = np.array([0.9, 0.8, 0.6, 0.1, 0.9, 0.2, 0.0, 0.7])
    of_first[6] = 0.8
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    of_first[4:] = [0.0, 0.1, 0.8, 0.3]
    assert find_label_errors(np.stack([of_first, 1 - of_first], axis=1), labels).tolist() == [3, 6]


@pytest.mark.parametrize("classes", [2, 5, 40])
def test_most_labels_that_were_made_wrong_are_found_first(classes):
    rng = np.random.default_rng(classes)
    count = 50 * classes
    truth = np.repeat(np.arange(classes), 50)
    logits = rng.normal(size=(count, classes)) + 8 * np.eye(classes)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    changed = rng.choice(count, count // 20, replace=False)
    labels = truth.copy()
    labels[changed] = (truth[changed] + rng.integers(1, classes, len(changed))) % classes
    found = find_label_errors(probabilities, labels)
    assert len(found) <= 1.5 * len(changed)
    first = found[: len(changed)]
    assert np.isin(first, changed).mean() >= 0.8
    assert np.isin(changed, found).mean() >= 0.8
    margins = probabilities[found, labels[found]] - probabilities[found].max(axis=1)
    assert (np.diff(margins) >= 0).all()
    assert (margins < 0).all(), "an image that is classified as its label is not suspicious"


def test_nothing_is_found_if_every_image_is_classified_as_its_label():
    probabilities = np.array([[0.6, 0.4, 0.0], [0.9, 0.1, 0.0], [0.3, 0.7, 0.0]], np.float32)
    assert find_label_errors(probabilities, [0, 0, 1]).tolist() == []


def test_a_class_is_not_wrong_only_because_the_network_is_underconfident_in_it():
    """The network prefers class 0, but its probability is not above the mean of images of class 0."""
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.55, 0.45]] * 10)
    assert find_label_errors(probabilities, np.repeat([0, 1], 10)).tolist() == []


def test_no_images_and_classes_without_images():
    assert find_label_errors(np.zeros((0, 3)), np.zeros(0, int)).tolist() == []
    assert find_label_errors(np.array([[0.0, 0.1, 0.9]]), [1]).tolist() == []
