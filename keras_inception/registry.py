"""Networks by name."""

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

NETWORKS = {"googlenet": "GoogLeNet"}


def create(name: str, **options) -> "keras.Model":
    """The network of that name, in any case: ``create("googlenet", classes=10)`` is ``GoogLeNet(classes=10)``.

    Raises:
        ValueError: there is no such network.
    """
    import keras_inception

    factory = NETWORKS.get(name.lower())
    if factory is None:
        near = difflib.get_close_matches(name.lower(), NETWORKS, n=1)
        hint = f" Did you mean {NETWORKS[near[0]]}?" if near else ""
        raise ValueError(f"`model` must be one of {', '.join(NETWORKS.values())}.{hint} Received: {name!r}")
    return getattr(keras_inception, factory)(**options)
