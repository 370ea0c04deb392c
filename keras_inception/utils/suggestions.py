"""The nearest name, for the error of a wrong one."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` Did you mean …?``, or nothing if no known name is near. Case, ``_``, ``-`` and spaces do not matter."""
    plain = {_plain(each): each for each in known}
    near = difflib.get_close_matches(_plain(name), plain, n=1)
    return f" Did you mean {plain[near[0]]}?" if near else ""


def _plain(name: str) -> str:
    return name.lower().translate({ord(sign): None for sign in "_- "})
