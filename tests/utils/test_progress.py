"""Progress on a terminal."""

import io

import pytest
from rich import console

from keras_inception.utils.progress import bars, counted, silent


@pytest.fixture
def terminal(monkeypatch):
    """Let consoles write to a terminal of a hundred columns, and return what they wrote."""
    shown = io.StringIO()
    made = console.Console(file=shown, force_terminal=True, width=100)
    monkeypatch.setattr(console, "Console", lambda **_: made)
    return shown


def test_a_terminal_shows_each_step_and_clears_it_at_the_end(terminal):
    progress = bars()
    for step in ("Reading", "Converting"):
        assert list(counted("ab", step, 2, progress)) == ["a", "b"]
    shown = terminal.getvalue()
    assert shown.index("Reading") < shown.index("Converting")
    assert shown.count("100%") == 2


def test_nothing_is_shown_without_a_terminal():
    assert bars() is silent
