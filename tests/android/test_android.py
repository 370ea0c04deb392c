"""The Android project, tested without a phone: the classifier in Kotlin by Maven. Run by `make test-android`."""

import json
import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_inception.cli.commands import app
from keras_inception.datasets.reading import read_picture
from keras_inception.exporting.clients import kotlin
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.utils.subprocesses import ChildError

pytestmark = pytest.mark.android

PROJECT = Path(__file__).parents[2] / "keras_inception" / "android" / "project"


def maven(module: Path, folder: Path, goal: str, **variables: str | Path) -> str:
    """Run a goal of Maven, with its output in `folder`, and return what it printed."""
    command = ["mvn", "--batch-mode", "--no-transfer-progress", f"-DbuildDirectory={folder}", goal]
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    done = subprocess.run(command, cwd=module, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout[-20000:]
    return done.stdout


def runtime() -> Path:
    """Return LiteRT's library, of the version that is installed here."""
    (folder,) = find_spec("ai_edge_litert").submodule_search_locations
    return Path(folder) / "libLiteRt.so"


def test_the_classifier_gives_the_bytes_and_the_answers_of_python(vectors, tmp_path):
    said = maven(PROJECT / "classifier", tmp_path, "test", VECTORS=vectors, LITERT=runtime())
    ran, *failed = map(int, re.findall(r"\d+", re.findall(r"Tests run: .*", said)[-1]))
    assert ran >= 20
    assert sum(failed) == 0
    assert not (PROJECT / "classifier" / "target").exists()


def test_the_client_gives_the_scores_of_litert(vectors):
    for path in sorted(vectors.glob("googlenet/*.tflite")):
        classifier = TFLiteClassifier(path)
        pictures = [read_picture(each) for each in vectors.glob("googlenet/*.png")]
        images = np.stack([classifier.preprocessing.fit(picture) for picture in pictures])
        expected = classifier.predict(images)
        found = kotlin.scores(path, images, classifier.classes)
        limit = 1e-2 if "dynamic" in path.name else 0 if "int8" in path.name else 1e-6
        assert np.abs(found - expected).max() <= limit


def test_a_file_that_is_no_model_is_refused_with_a_reason(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"not a model")
    with pytest.raises(ChildError, match="not a TFLite model"):
        kotlin.scores(tmp_path / "model.tflite", np.zeros((1, 8, 8, 3), np.uint8), 2)


def test_predictions_are_printed_as_by_the_command_line(vectors, tmp_path):
    picture = tmp_path / "turned «é».png"
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 4), np.uint8)
    Image.fromarray(noise).save(picture, exif=exif)
    gray = tmp_path / "gray.png"
    Image.fromarray(noise[..., 0]).save(gray)
    for path in vectors.glob("googlenet/*.tflite"):
        said = kotlin.run("kerasinception.Predict", path, picture, gray)
        expected = json.loads(CliRunner().invoke(app, ["predict", str(path), str(picture), str(gray), "--json"]).stdout)
        if "int8" in path.name:
            assert json.loads(said) == expected
        for here, there in zip(json.loads(said), expected, strict=True):
            assert here["path"] == there["path"]
            limit = 1e-2 if "dynamic" in path.name else 1e-6
            for mine, theirs in zip(here["top"], there["top"], strict=True):
                assert mine["probability"] == pytest.approx(theirs["probability"], abs=limit)
