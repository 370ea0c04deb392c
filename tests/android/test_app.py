"""The Android app, tested without a phone and without Gradle: its logic by Maven. Run by `make test-android`."""

import re
from pathlib import Path

import pytest
from test_android import PROJECT, maven

pytestmark = pytest.mark.android

COMPILE_CHECK = Path(__file__).with_name("compile-check")


def test_the_app_compiles_and_its_logic_is_right(tmp_path):
    said = maven(COMPILE_CHECK, tmp_path, "test")
    ran, *failed = map(int, re.findall(r"\d+", re.findall(r"Tests run: .*", said)[-1]))
    assert ran >= 23
    assert sum(failed) == 0
    assert not [*PROJECT.rglob("target"), *COMPILE_CHECK.rglob("target")]
