"""The Android project, tested without a phone: the classifier in Kotlin by Maven. Run by `make test-android`."""

import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

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
