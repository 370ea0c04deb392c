"""Suggest the closest known name in an error about an unknown one."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean NAME?`` with the closest known name, or nothing. Ignore case, ``_``, ``-`` and spaces."""
    plain = {_plain(each): each for each in known}
    near = difflib.get_close_matches(_plain(name), plain, n=1)
    return f" Did you mean {plain[near[0]]}?" if near else ""


def _plain(name: str) -> str:
    return name.lower().translate(str.maketrans("", "", "_- "))
