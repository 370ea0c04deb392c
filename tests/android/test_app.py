"""The Android app, tested without a phone and without Gradle: its logic and its screens. Run by `make test-android`."""

import re
from pathlib import Path

import pytest
from test_android import PROJECT, maven

from keras_inception.android.project import ASSETS, android

pytestmark = pytest.mark.android

LOGIC, SCREENS = (Path(__file__).with_name(name) for name in ("compile_check", "screens"))


@pytest.mark.parametrize(("module", "tests"), [(LOGIC, 31), (SCREENS, 9)])
def test_the_app_decides_and_shows_what_is_right(exported, tmp_path, module, tests):
    android(exported[0], tmp_path / "app", variants=["int8"])
    said = maven(module, tmp_path / "built", "test", EXPORT=tmp_path / "app" / ASSETS)
    ran, *failed = map(int, re.findall(r"\d+", re.findall(r"Tests run: .*", said)[-1]))
    assert ran >= tests
    assert sum(failed) == 0
    assert not [*PROJECT.rglob("target"), *module.rglob("target")]
