"""Files for Google's LiteRT sample of image classification."""

import json

import numpy as np
import pytest
from colours import LABELS, SIDE, trained
from PIL import Image

import keras_inception
from keras_inception.preprocessing import NAMED
from keras_inception.tflite import metadata
from keras_inception.tflite.classifier import TFLiteClassifier, interpreter

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pictures):
    """An int8 export of a network whose input differs from the sample's: 32×32, and not from -1 to 1."""
    preprocessing = NAMED["torchvision"].replace(crop=1.0, size=(SIDE, SIDE))
    folder = tmp_path_factory.mktemp("sample")
    keras_inception.export(
        trained(preprocessing),
        folder,
        labels=LABELS,
        preprocessing=preprocessing,
        calibration=pictures / "train",
        test=pictures / "test",
        quantize=["int8"],
        keep_float=["predictions"],
        layer_errors=True,
        litert_sample=True,
    )
    return folder


@pytest.fixture
def path(folder):
    return folder / "tiny_int8.tflite"


def test_the_file_has_what_the_sample_looks_for(path):
    opened = interpreter(path)
    (image,), (output,) = opened.get_input_details(), opened.get_output_details()
    assert image["shape"].tolist() == [1, 224, 224, 3]
    assert image["dtype"] == output["dtype"] == np.float32
    found = metadata.read(path)
    assert metadata.normalization_of(found) == ((127.5,) * 3, (127.5,) * 3)
    (described,) = found["subgraph_metadata"][0]["output_tensor_metadata"]
    assert [file["name"] for file in described["associated_files"]] == ["labels_without_background.txt"]
    assert metadata.unpack(path, "labels_without_background.txt").splitlines() == list(LABELS)


def test_the_file_classifies_images_of_the_samples_size(path, pictures):
    classifier = TFLiteClassifier(path)
    assert classifier.labels == LABELS
    named = sorted((pictures / "test").glob("*/*.png"))
    fitted = [classifier.preprocessing.fit(Image.open(each)) for each in named]
    best = classifier.predict(np.stack(fitted)).argmax(axis=1)
    assert np.mean([LABELS[index] == each.parent.name for index, each in zip(best, named, strict=True)]) > 0.6


def test_the_file_is_int8_between_input_and_output(path):
    kinds = [tensor["dtype"] for tensor in interpreter(path).get_tensor_details()]
    assert kinds.count(np.int8) > kinds.count(np.float32)


def test_layer_errors_are_measured(folder):
    errors = json.loads((folder / "layer_errors.json").read_text(encoding="utf-8"))
    types = {row["layer"]: row["type"] for row in errors}
    assert types["predictions"] == "float32"
    assert "int8" in types.values()
    assert all(0 < row["error"] < 0.2 for row in errors)


def test_the_card_names_the_sample(folder):
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "(1, 224, 224, 3)" in card
    assert "Google's LiteRT sample" in card
    assert "raw pixels" not in card
