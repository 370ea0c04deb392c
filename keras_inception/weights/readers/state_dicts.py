"""Find the state dict in what a training script saves, next to the optimizer's state, counters and arguments."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TypeVar

from keras_inception.weights.readers.pickles import Opaque
from keras_inception.weights.readers.wrappers import unwrapped

logger = logging.getLogger(__name__)

T = TypeVar("T")
Keys = tuple[str, ...]

# Keys of a network's state dict, which take precedence over other dicts of tensors.
PREFERRED = ("state_dict", "model_state_dict", "model_state", "model", "net", "network")
AVERAGED = re.compile(r"(?:.*_)?ema(?:_.*)?")
MAX_DEPTH, MAX_DICTS = 4, 10_000


def state_dict(content: object, kind: type[T], path: str | os.PathLike) -> dict[str, T]:
    """Return the tensors by name of the network in a checkpoint: the averaged ones if there are such, and say so.

    Args:
        content: what the file holds: a state dict, or a dict with one at any key, next to anything else.
        kind: class of the tensors. A state dict's other values, such as counters, are left out.
        path: the file, for messages.

    Raises:
        ValueError: There is no state dict, or several of which none is clearly the network's.
    """
    if content == {}:
        return {}
    found = dict(islice(_dicts(content, kind), MAX_DICTS))
    found = {keys: tensors for keys, tensors in found.items() if tensors}
    if not found:
        raise ValueError(_reason(content))
    averaged = {keys: tensors for keys, tensors in found.items() if keys and AVERAGED.fullmatch(keys[-1].lower())}
    plain = {keys: tensors for keys, tensors in found.items() if keys not in averaged}
    keys = _networks(plain or averaged)
    names = set(unwrapped(found[keys]).values())
    for other, tensors in averaged.items():
        if other != keys and names <= set(unwrapped(tensors).values()):
            logger.warning(
                "%s holds %s and %s: loaded %s, the averaged weights",
                *(path, ".".join(keys) or "weights", ".".join(other), ".".join(other)),
            )
            return tensors
    return found[keys]


def _dicts(content: object, kind: type[T]) -> Iterator[tuple[Keys, dict[str, T]]]:
    """Yield the tensors in each dict, outermost first, by the keys that lead to it. Leave out optimizers."""
    level: list[tuple[Keys, dict]] = [((), content)] if isinstance(content, dict) else []
    while level:
        inner: list[tuple[Keys, dict]] = []
        for keys, values in level:
            named = {name: value for name, value in values.items() if isinstance(name, str)}
            yield keys, {name: value for name, value in named.items() if isinstance(value, kind)}
            if len(keys) < MAX_DEPTH and len(inner) < MAX_DICTS:
                inner += (
                    ((*keys, name), value)
                    for name, value in named.items()
                    if isinstance(value, dict) and "optim" not in name.lower()
                )
        level = inner


def _networks(found: Mapping[Keys, dict[str, T]]) -> Keys:
    """Return the keys of the network's state dict among several.

    Raises:
        ValueError: None has one of the `PREFERRED` keys or is by far the largest.
    """
    for name in PREFERRED:
        if preferred := [keys for keys in found if keys and keys[-1].lower() == name]:
            return min(preferred, key=len)
    largest, *others = sorted(found, key=lambda keys: len(found[keys]), reverse=True)
    if others and len(found[largest]) < 2 * len(found[others[0]]):
        names = ", ".join(".".join(keys) for keys in (largest, *others) if keys)
        raise ValueError(f"it holds several state dicts, {names:.200}: save the network's alone")
    return largest


def _reason(content: object) -> str:
    """Return why there is no state dict in `content`."""
    values = [content, *(content.values() if isinstance(content, dict) else ())]
    values += [inner for value in values[1:] if isinstance(value, dict) for inner in value.values()]
    opaque = [value.name for value in values if isinstance(value, Opaque)]
    if opaque:
        return (
            "it holds a pickled object in place of a state dict. Save the state dict, as "
            f"torch.save(model.state_dict(), path) does. Received: {opaque[0]:.200}"
        )
    if not isinstance(content, dict):
        return f"it must hold a state dict. Received: a {type(content).__name__}"
    name, value = next(iter(content.items()))
    return f"a state dict must hold tensors by name. Received: {name!s:.200} with a {type(value).__name__}"
