"""Child processes with limits. tests/exporting/test_convert.py has further tests of failures."""

import sys

import pytest

from keras_inception.utils.subprocesses import ChildError, run_program


def python(script):
    return [sys.executable, "-c", script]


def test_a_child_within_its_limits_is_not_disturbed():
    run_program(python("bytearray(10 * 2**20)"), {}, "It", timeout=60, memory=2**30)


def test_a_child_that_hangs_is_stopped():
    with pytest.raises(ChildError, match="It was stopped because it took longer than 1 s") as error:
        run_program(python("import time; time.sleep(600)"), {}, "It", timeout=1)
    assert error.value.__cause__ is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit the memory of another process")
def test_a_child_that_floods_the_memory_fails():
    script = "import time; time.sleep(1); bytearray(400 * 2**20)"
    with pytest.raises(ChildError, match=r"It ended with exit code 1: .*MemoryError"):
        run_program(python(script), {}, "It", memory=200 * 2**20)


def test_the_error_ends_with_the_last_lines():
    with pytest.raises(ChildError, match="It ended with exit code 3: one / two") as error:
        run_program(python("print('one'); print('two'); raise SystemExit(3)"), {}, "It")
    assert error.value.last_line == "two"
