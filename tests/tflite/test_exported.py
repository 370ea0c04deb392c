"""The folder of an export and the files near a network, given in the network's place."""

import json
import logging
import shutil
from pathlib import Path

import pytest

import keras_inception
from keras_inception.evaluation.classifiers import located
from keras_inception.evaluation.evaluator import evaluate
from keras_inception.page import site
from keras_inception.runs import Run
from keras_inception.tflite import exported as folders
from keras_inception.tflite.exported import folder_of


def test_the_folder_of_an_export_means_its_smallest_file(exported, pictures, caplog):
    folder, _ = exported
    smallest = min(folder.glob("*.tflite"), key=lambda path: path.stat().st_size)
    assert located(str(folder)) == folders.smallest(folder) == smallest
    image = next((pictures / "test").rglob("*.png"))
    with caplog.at_level(logging.WARNING):
        (prediction,) = keras_inception.predict(folder, [image])
    assert f"{folder}: taking {smallest}, the smallest file" in caplog.text
    assert prediction == next(iter(keras_inception.predict(smallest, [image])))
    assert evaluate(folder, pictures).to_dict() == evaluate(smallest, pictures).to_dict()


def test_refused_and_missing_files_of_an_export_are_not_taken(exported, tmp_path):
    report = json.loads((exported[0] / "report.json").read_text(encoding="utf-8"))
    names = {variant: row["path"] for variant, row in report["variants"].items()}
    shutil.copy(exported[0] / names["float32"], tmp_path)
    shutil.copy(exported[0] / names["int8"], tmp_path)
    report["variants"]["int8"]["refused"] = "it disagrees with Keras"
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    assert located(tmp_path).name == names["float32"]
    (tmp_path / names["float32"]).unlink()
    with pytest.raises(ValueError, match=r"has none of the files that report\.json lists\. Received: .*float32"):
        located(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[1]", "is not a report of `export`: TypeError"),
        ('{"variants": {"int8": {"path": 7}}}', "is not a report of `export`: TypeError"),
        ('{"variants": {"int8": {}}}', "is not a report of `export`: KeyError"),
        ('{"variants": {"int8": {"path": "a\\u001bb"}}}', r"lists\. Received: \['a\\x1bb'\]"),
        ("[" * 100_000, "is not a JSON file: maximum recursion depth"),
        ("9" * 5000, "is not a JSON file: Exceeds the limit"),
    ],
    ids=range(6),
)
def test_any_report_of_an_export_gets_a_line(tmp_path, content, says):
    (tmp_path / "report.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"report\.json {says}"):
        located(tmp_path)


def test_the_model_of_a_run_means_the_run(run, tmp_path):
    assert located(run / "model.keras") == Run(run)
    alone = Path(shutil.copy(run / "model.keras", tmp_path))
    assert located(alone) == alone


def test_a_folder_of_networks_gets_a_line_that_names_them(exported, run, tmp_path):
    shutil.copy(exported[0] / "colours_int8.tflite", tmp_path)
    shutil.copytree(run, tmp_path / "first")
    with pytest.raises(
        ValueError, match=r"is not a run directory: .*; what is in it can be given: \S+8\.tflite, \S+first$"
    ):
        located(tmp_path)


def test_page_takes_a_file_of_an_export_and_says_what_to_export(exported, run, tmp_path):
    folder, _ = exported
    assert folder_of(folder) == folder_of(folder / "colours_int8.tflite") == folder
    for given in (run, run / "model.keras"):
        with pytest.raises(ValueError, match=rf"{given} must be a folder that .* keras-inception export {run}$"):
            site.page(given, tmp_path / "site")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty"),
        (b"\x89PNG\r\n\x1a\n and more", "it is an image: the network comes first"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"\x08\x07\x12\x07pytorch", "perhaps an ONNX"),
        (b"anything else", "of an unknown format, or damaged"),
    ],
)
def test_other_files_get_a_line_that_says_what_to_give(tmp_path, content, says):
    path = tmp_path / "model.h5"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"model\.h5 is not a network that can be run: .*{says}.*\. Give a run dir"):
        keras_inception.predict(path, [])


@pytest.mark.parametrize("name", ["model.weights.h5", "model.pth", "model.safetensors"])
def test_weights_alone_get_a_line_that_says_what_to_give(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\x89HDF\r\n\x1a\n" if name.endswith("h5") else b"weights")
    with pytest.raises(ValueError, match=rf"{name} holds weights alone, and the network is missing: give a run dir"):
        keras_inception.predict(path, [])
