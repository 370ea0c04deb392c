"""Names of layers: a network of another name than its own has it before the names of its layers."""

from collections import Counter
from collections.abc import Iterable

# TensorFlow allows no other characters in names than letters, digits and "_.\\/>-", and torch no dots.
SEPARATOR = "-"


def prefixed(prefix: str, name: str) -> str:
    """Return a layer's name in the network of this name: ``left`` and ``conv1`` give ``left-conv1``."""
    return f"{prefix}{SEPARATOR}{name}"


def bare(name: str) -> str:
    """Return a layer's name without that of its network. No layer of ours has a hyphen in its own name."""
    return name.rpartition(SEPARATOR)[2]


def by_any_name(names: Iterable[str]) -> dict[str, str]:
    """Return the layers' names by themselves, and by the names without their network's of which there is only one."""
    names = list(names)
    counts = Counter(map(bare, names))
    return {**{bare(name): name for name in names if counts[bare(name)] == 1}, **{name: name for name in names}}
