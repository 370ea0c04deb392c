"""Publishers of weights: their tensor names, preprocessing and published files.

Each family of `keras_inception.models` has a module that defines `PUBLISHERS` and `PUBLISHED`. `namemap` handles the
name suffixes and kernel layouts in which torch, Caffe, Keras and TF-slim differ. Nothing heavy is imported here.
"""

import errno
import os
import pkgutil
import re
from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from typing import TypeGuard

from keras_inception.weights.publishers.namemap import OWN, OWN_NAME, NameMap, listed
from keras_inception.weights.publishers.published import Published as Published

MODULES = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
FAMILIES = [module for module in MODULES if hasattr(module, "PUBLISHERS")]
# Name maps by network and publisher. `name_maps` adds our own.
PUBLISHERS: dict[str, dict[str, NameMap]] = {
    network: maps for family in FAMILIES for network, maps in family.PUBLISHERS.items()
}
# ``weights="imagenet"`` selects a network's first verified file.
PUBLISHED: tuple[Published, ...] = tuple(entry for family in FAMILIES for entry in family.PUBLISHED)

IMAGENET = "imagenet"
DOT = re.compile(r"\.")


def name_maps(network: str) -> dict[str, NameMap]:
    """Return the name maps of a network by publisher. Ours comes last because some of our names are also Keras'."""
    return {**PUBLISHERS.get(network, {}), OWN_NAME: OWN}


def without_prefix(names: Iterable[str], network: str) -> dict[str, str]:
    """Return each name without the dotted prefix under which most of the names are those of a network's publisher.

    A network inside of another module has such a prefix, such as ``features.`` or ``branch.cnn.``. Names outside of it
    stay as they are, and so do all names if a publisher knows most of them or if there is no such prefix.
    """
    names = list(names)
    best, prefix = _known(names, network), ""
    if 2 * best <= len(names):
        counts = Counter(name[: dot.end()] for name in names for dot in DOT.finditer(name))
        for candidate in (each for each, count in counts.items() if 3 * count > len(names)):
            inside = [name.removeprefix(candidate) for name in names if name.startswith(candidate)]
            if 2 * (known := _known(inside, network)) > len(inside) and known > best:
                best, prefix = known, candidate
    found = {name: name.removeprefix(prefix) for name in names}
    taken = Counter(found.values())
    return {name: short if taken[short] == 1 else name for name, short in found.items()}


def _known(names: list[str], network: str) -> int:
    """Return how many of the names the publisher that knows most of them knows, without counting ours."""
    maps = (name_map.for_file(names) for name_map in PUBLISHERS.get(network, {}).values())
    return max((sum(name_map.ours(name) is not None for name in names) for name_map in maps), default=0)


def publisher_of(names: Iterable[str], network: str) -> str:
    """Return the publisher of a network that knows most of these tensor names.

    Raises:
        ValueError: no publisher knows more than half of them.
    """
    names = list(names)
    maps = {publisher: name_map.for_file(names) for publisher, name_map in name_maps(network).items()}
    known = {publisher: sum(name_map.ours(name) is not None for name in names) for publisher, name_map in maps.items()}
    publisher = max(known, key=known.__getitem__)
    if 2 * known[publisher] <= len(names):
        allowed = ", ".join(known)
        raise ValueError(
            f"tensors must have the names of {network} from one of {allowed}. Received: {listed(names) or 'none'}"
        )
    return publisher


def is_published(weights) -> TypeGuard[str]:
    """Return whether `weights` is ``"imagenet"`` or ``"imagenet:PUBLISHER"`` rather than a path."""
    return isinstance(weights, str) and (weights == IMAGENET or weights.startswith(f"{IMAGENET}:"))


def check_weights(weights: str | os.PathLike) -> None:
    """Raise FileNotFoundError if `weights` is the path of a file or run directory that does not exist."""
    if not is_published(weights) and not os.path.exists(weights):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(weights))


def published_for(network: str) -> tuple[Published, ...]:
    """Return the files that were published for a network."""
    return tuple(entry for entry in PUBLISHED if entry.network == network)


def find(weights: str, network: str) -> Published:
    """Return the published file that ``"imagenet"`` or ``"imagenet:PUBLISHER"`` selects for a network.

    Raises:
        ValueError: nobody has published such weights.
    """
    entries = published_for(network)
    names = ", ".join(f"{IMAGENET}:{entry.publisher}" for entry in entries)
    if not entries:
        raise ValueError(
            f"`weights` must be None or a file: no ImageNet weights of {network} are published. "
            f"Received: weights={weights!r}"
        )
    if weights == IMAGENET:
        if verified := [entry for entry in entries if entry.verified]:
            return verified[0]
        raise ValueError(
            f"`weights` must name one of {names}: for {network}, none could be checked against an "
            f"installed package. Received: weights={weights!r}"
        )
    for entry in entries:
        if weights == f"{IMAGENET}:{entry.publisher}":
            return entry
    raise ValueError(f"`weights` must be one of {IMAGENET}, {names}. Received: weights={weights!r}")
