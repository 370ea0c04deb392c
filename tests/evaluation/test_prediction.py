"""`predict` from Python, with a classifier that is computed by hand."""

import json
import tracemalloc

import numpy as np
import pytest
from by_color import ByColor
from PIL import Image

from keras_inception.evaluation import prediction
from keras_inception.evaluation.classifiers import KerasClassifier
from keras_inception.evaluation.prediction import Guess, Prediction, predict


class Counting(ByColor):
    """Note the number of images in each batch, and answer nothing in advance."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def predict(self, pictures):
        self.batches.append(len(pictures))
        return super().predict(pictures)


class InBatches(Counting, KerasClassifier):
    """A classifier that is faster in batches."""

    def __init__(self):
        Counting.__init__(self)


def test_predictions_of_image_files(pictures):
    paths = [pictures / "test" / name / "0.png" for name in ("red", "blue")]
    result = predict(ByColor(), paths, top=2)
    assert result[0] == Prediction(
        str(paths[0]), (Guess("red", pytest.approx(0.9)), Guess("blue", pytest.approx(0.05)))
    )
    assert str(result) == f"{paths[0]}: red 90.0%, blue 5.0%\n{paths[1]}: blue 90.0%, green 5.0%"
    assert result.to_dict()[0] == {
        "path": str(paths[0]),
        "top": [
            {"label": "red", "probability": pytest.approx(0.9)},
            {"label": "blue", "probability": pytest.approx(0.05)},
        ],
    }
    assert json.loads(json.dumps(result.to_dict())) == result.to_dict()
    assert list(result) == list(result), "they have been kept"
    assert list(predict(ByColor(), paths, top=2)) == list(result)


def test_predictions_are_made_when_they_are_asked_for_and_not_kept(pictures):
    classifier = Counting()
    predictions = predict(classifier, sorted((pictures / "test").glob("*/*.png")))
    assert classifier.batches == []
    assert next(predictions).top[0].label == "blue"
    assert classifier.batches == [1]
    assert len(list(predictions)) == 11
    assert list(predictions) == predictions.to_dict() == []


def test_images_of_an_iterator_are_taken_one_by_one(pictures):
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield Image.open(pictures / "test" / "red" / "0.png")

    classifier = InBatches()
    predictions = predict(classifier, endless())
    for count in (1, 2, 3):
        assert next(predictions).top[0].label == "red"
        assert (len(taken), len(classifier.batches)) == (count, count)


def test_keras_classifies_batches_of_files(pictures, monkeypatch):
    monkeypatch.setattr(prediction, "BATCH", 5)
    classifier = InBatches()
    labels = [each.top[0].label for each in predict(classifier, pictures / "test")]
    assert labels == ["blue"] * 4 + ["green"] * 4 + ["red"] * 4
    assert classifier.batches == [5, 5, 2]


@pytest.mark.parametrize("classifier", [ByColor, InBatches])
def test_an_image_that_cannot_be_read_is_an_error_among_the_others(pictures, tmp_path, classifier):
    good = pictures / "test" / "red" / "0.png"
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:500])
    (tmp_path / "empty.png").touch()
    given = [tmp_path / "cut.png", good, tmp_path / "empty.png", tmp_path / "missing.png", np.zeros((8, 8)), good]
    predictions = list(predict(classifier(), given))
    assert [each.path for each in predictions[:4]] == list(map(str, given[:4]))
    assert [bool(each.top) for each in predictions] == [False, True, False, False, False, True]
    assert [each.error for each in predictions[2:4]] == ["empty file", "No such file or directory"]
    assert predictions[2].to_dict() == {"path": str(tmp_path / "empty.png"), "error": "empty file"}
    assert str(predictions[2]) == f"{tmp_path / 'empty.png'}: empty file"
    assert predictions[1].error is None


def test_no_network_is_loaded_if_there_are_no_images(tmp_path):
    (tmp_path / "broken.tflite").write_bytes(b"1234TFL3")
    (only,) = predict(tmp_path / "broken.tflite", tmp_path / "missing.png")
    assert only == Prediction(str(tmp_path / "missing.png"), error="No such file or directory")
    with pytest.raises(ValueError, match=r"broken\.tflite"):
        predict(tmp_path / "broken.tflite", [tmp_path / "missing.png", tmp_path / "broken.tflite"])


@pytest.mark.parametrize(
    ("given", "options", "says"),
    [
        (5, {}, "`images` must be paths, PIL images or arrays, .* Received: int"),
        (["a.png", None], {}, "`images` must be .* Received: NoneType"),
        ("a.png", {"top": 0}, "`top` must be at least 1. Received: top=0"),
    ],
)
def test_a_mistake_is_an_error_at_once(given, options, says):
    with pytest.raises(ValueError, match=says):
        predict(ByColor(), given, **options)


def test_memory_does_not_grow_with_the_images(tmp_path):
    """Two hundred images of 3 MB are classified in the memory of a few, and leave a few hundred bytes each."""
    image = Image.new("RGB", (1000, 1000), "red")

    def peak(count):
        tracemalloc.start()
        for _ in predict(ByColor(), [image] * count):
            pass
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(4)
    assert peak(200) - peak(8) < 3e6 + 200 * 500
