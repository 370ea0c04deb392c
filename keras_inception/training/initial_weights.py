"""The weights that a training begins with: published ones, unless a recipe or the user says otherwise."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from keras_inception import registry
from keras_inception.training.presets import RECIPES
from keras_inception.training.recipe import Recipe
from keras_inception.weights.publishers import IMAGENET, find

log = logging.getLogger(__name__)

WAYS_OUT = (
    "Without a connection, give a file of weights that you have (--set weights=FILE; in Python, Recipe.weights), or "
    "begin with random weights (--from-scratch; in Python, recipe=Recipe())"
)


def unnamed_recipe(network: str | None = None, *, from_scratch: bool = False) -> Recipe:
    """Return the recipe to use when none is named: it fine-tunes published weights, unless the network has none.

    Args:
        network: a name that `Recipe.network` accepts. None: the recipe's own network.
        from_scratch: begin with random weights.

    Raises:
        ValueError: there is no such network.
    """
    name = registry.resolve(network or str(RECIPES["finetune"].network))
    is_published = _is_published(name)
    if not from_scratch and not is_published:
        log.warning("no verified weights of %s are published: training begins with random weights", name)
    return RECIPES["finetune" if is_published and not from_scratch else "default"].replace(network=name)


def _is_published(network: str) -> bool:
    if registry.is_of_keras(network):
        return True
    try:
        find(IMAGENET, network)
    except ValueError:
        return False
    return True


@contextmanager
def ways_out() -> Iterator[None]:
    """Name the ways out if published weights cannot be downloaded inside the block."""
    try:
        yield
    except ConnectionError as error:
        raise ConnectionError(f"{error}. {WAYS_OUT}") from None
