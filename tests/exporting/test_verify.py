import dataclasses

import numpy as np
import pytest
from colours import SIDE, color_images, without_archive

from keras_inception.evaluation.metrics import wilson
from keras_inception.exporting.variants import VARIANTS
from keras_inception.exporting.verify import (
    Reference,
    accuracy,
    agreement,
    decision_agreement,
    takes_raw_pixels,
    tie_share,
    verify,
)
from keras_inception.preprocessing import DEFAULT
from keras_inception.tflite import metadata
from keras_inception.tflite.classifier import TFLiteClassifier


def test_agreement_is_the_share_of_equal_answers():
    reference = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    assert agreement(reference, reference) == 1
    assert agreement(reference[:, ::-1], reference) == 0
    assert agreement(np.array([[0.6, 0.4]] * 4), reference) == 0.5


def test_of_classes_that_tie_the_first_counts_and_zeros_do_not_agree():
    tie = np.array([[0.5, 0.5, 0.0]])
    assert agreement(tie, np.array([[0.5, 0.49, 0.01]])) == 1
    assert agreement(tie, np.array([[0.49, 0.5, 0.01]])) == 0
    assert agreement(np.zeros((1, 3)), np.array([[0.5, 0.49, 0.01]])) == 0


def test_independent_scores_agree_by_their_decisions():
    reference = np.array([[0.9, 0.8, 0.1, 0.2], [0.1, 0.2, 0.3, 0.1]])
    assert decision_agreement(reference[:, [1, 0, 3, 2]], reference) == 1  # although other classes are most likely
    assert decision_agreement(np.zeros((2, 4)), reference) == 0.5  # although three of four decisions are equal
    assert decision_agreement(np.zeros((1, 4)), reference[1:]) == 1


def test_independent_scores_do_not_tie(exported, monkeypatch):
    images, _ = color_images(4, seed=5)
    scores = np.tile([1.0, 1.0, 0.0], (len(images), 1)).astype(np.float32)
    monkeypatch.setattr(TFLiteClassifier, "predict", lambda self, images, on_image=None: scores)
    reference = Reference(images, np.tile([0.9, 0.6, 0.6], (len(images), 1)), None, independent=True)
    row = verify(exported[0] / "colours_int8.tflite", VARIANTS["int8"], DEFAULT, reference, clients=())
    assert (row["ties"], row["agreement"]) == (0, pytest.approx(2 / 3))
    assert (
        row["refused"]
        == "it agrees with Keras on 66.7% of the decisions on the classes of 12 images, and 95.0% are required"
    )


def test_the_share_of_ties():
    assert tie_share(np.array([[0.5, 0.5, 0.0], [0.25, 0.25, 0.5], [0, 0, 0], [1, 0, 0]])) == 0.5


@pytest.mark.parametrize(
    ("output", "calibrated", "can_keep_float", "advice"),
    [
        ("uint8", True, True, "--int8-output float32"),
        ("uint8", True, False, "--int8-output float32"),
        ("float32", True, True, "--keep-float LAYER"),
        ("float32", True, False, ""),  # trained for int8
        ("float32", False, True, ""),
    ],
)
def test_ties_that_fail_a_file_are_named_with_the_way_to_avoid_them(
    exported, monkeypatch, output, calibrated, can_keep_float, advice
):
    images, labels = color_images(4, seed=5)
    reference = Reference(images, np.tile([0.1, 0.5, 0.4], (len(images), 1)), labels)
    tied = np.tile([0.45, 0.45, 0.1], (len(images), 1)).astype(np.float32)
    monkeypatch.setattr(TFLiteClassifier, "predict", lambda self, images, on_image=None: tied)
    variant = dataclasses.replace(VARIANTS["int8"], output_type=output, calibrated=calibrated)
    options = {"clients": (), "can_keep_float": can_keep_float}
    row = verify(exported[0] / "colours_int8.tflite", variant, DEFAULT, reference, **options)
    assert (row["agreement"], row["ties"]) == (0, 1)
    assert row["refused"].startswith("it agrees with Keras on 0.0% of 12 images, and 95.0% are required")
    assert ("advice" in row) == bool(advice)
    assert row["refused"].endswith(f"the images: {row['advice'].split(': ')[1]})" if advice else "are required")
    row = verify(exported[0] / "colours_int8.tflite", variant, DEFAULT, reference, **options, min_agreement=0)
    assert "refused" not in row
    assert advice in row.get("advice", "")


def test_accuracy_is_unknown_without_labels():
    probabilities = np.eye(7)[[0, 1, 2]]
    assert accuracy(probabilities, None) == {"top1": None, "top1_interval": None, "top5": None}
    assert accuracy(probabilities, np.array([0, 2, 6])) == {
        "top1": pytest.approx(1 / 3),
        "top1_interval": list(wilson(1, 3)),
        "top5": pytest.approx(2 / 3),
    }


@pytest.mark.parametrize(
    ("scale", "zero_point", "right"),
    [(1 / 127.5, 127, True), (1 / 127.5, 128, True), (1 / 127.5, 126, False), (1.01 / 127.5, 128, False)],
)
def test_raw_pixels_are_distinguished_from_a_range_that_calibration_missed(scale, zero_point, right):
    assert takes_raw_pixels((scale, zero_point), DEFAULT) is right
    assert takes_raw_pixels((scale, zero_point - 128), DEFAULT, black=-128) is right


@pytest.mark.tflite_support
def test_metadata_that_misleads_the_phone_is_refused(exported, tmp_path):
    folder, _ = exported
    path = tmp_path / "model.tflite"
    path.write_bytes(without_archive(folder / "colours_float32.tflite"))
    about = metadata.About(name="x", version="1", description="", author="", license="")
    wrong = DEFAULT.replace(size=(SIDE, SIDE), std=(40.0, 40.0, 40.0))
    metadata.write(path, about, wrong, folder / "labels.txt")
    metadata.pack(path, folder / "preprocessing.json")
    images, labels = color_images(4, seed=5)
    reference = Reference(images, TFLiteClassifier(path).predict(images), labels)
    row = verify(path, VARIANTS["float32"], DEFAULT, reference)
    assert row["agreement"] == 1
    assert row["clients"]["task-library"]["max_difference"] > 0.02
    assert "task-library's scores differ from the interpreter's" in row["refused"]
