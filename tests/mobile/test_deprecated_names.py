"""The names that `keras_inception.mobile` had before 0.2 still work, and warn at the caller's line."""

import importlib
import subprocess
import sys
import warnings

import pytest

import keras_inception
from keras_inception import mobile


def warned(code: str) -> tuple[dict, list[tuple[str, str, int]]]:
    """Run code, and return its variables and (message, file, line) of each deprecation warning."""
    names: dict = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(compile(code, "caller.py", "exec"), names)
    found = [each for each in caught if issubclass(each.category, DeprecationWarning)]
    return names, [(str(each.message), each.filename, each.lineno) for each in found]


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Let the deprecated modules be imported again."""
    for name in ("metadata", "classifier", "bridge"):
        monkeypatch.delitem(sys.modules, f"keras_inception.mobile.{name}", raising=False)
        monkeypatch.delattr(mobile, name, raising=False)


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("TFLiteClassifier", "keras_inception.tflite.classifier"),
        ("VARIANTS", "keras_inception.exporting.variants"),
        ("export", "keras_inception.exporting.exporter"),
    ],
)
@pytest.mark.parametrize(
    "code", ["\nfrom keras_inception.mobile import {0} as found", "import keras_inception.mobile as m\nfound = m.{0}"]
)
def test_a_name_warns_at_the_callers_line(name, home, code):
    names, warnings = warned(code.format(name))
    message = f"keras_inception.mobile.{name} is deprecated: use {home}.{name}"
    assert set(warnings) == {(message, "caller.py", 2)}
    if name == "VARIANTS":
        assert names["found"] == ("float32", "float16", "dynamic", "int8")
    else:
        assert names["found"] is getattr(importlib.import_module(home), name)


def test_export_is_the_public_one():
    with pytest.warns(DeprecationWarning, match="use keras_inception.exporting.exporter.export"):
        assert mobile.export is keras_inception.export


@pytest.mark.parametrize(
    ("name", "home", "member"),
    [
        ("metadata", "keras_inception.tflite.metadata", "About"),
        ("classifier", "keras_inception.tflite.classifier", "TFLiteClassifier"),
        ("bridge", "keras_inception.compression.tf_keras_bridge", "to_tf_keras"),
    ],
)
@pytest.mark.parametrize(
    "code",
    [
        "\nfrom keras_inception.mobile.{0} import {1} as found",
        "\nfrom keras_inception.mobile import {0}\nfound = {0}.{1}",
        "\nimport keras_inception.mobile.{0}\nfound = keras_inception.mobile.{0}.{1}",
    ],
)
def test_a_module_is_redirected_and_warns_at_the_callers_line(name, home, member, code):
    names, warnings = warned(code.format(name, member))
    assert names["found"] is getattr(importlib.import_module(home), member)
    assert warnings == [(f"keras_inception.mobile.{name} is deprecated: use {home}", "caller.py", 2)]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'keras_inception.mobile' has no attribute 'nothing'"):
        getattr(mobile, "nothing")  # noqa: B009


def test_the_command_line_is_still_a_module():
    command = [sys.executable, "-m", "keras_inception.cli", "list"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert "googlenet" in done.stdout
