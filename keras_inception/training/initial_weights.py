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
    "Without a connection, give a file of weights that you have (--weights FILE; in Python, weights=), or "
    "begin with random weights (--from-scratch; in Python, recipe=Recipe())"
)


def unnamed_recipe(network: str | None = None, weights: str | None = IMAGENET) -> Recipe:
    """Return the recipe to use when none is named: it fine-tunes weights, or begins with random ones without any.

    Args:
        network: a name that `Recipe.network` accepts. None: the recipe's own network.
        weights: what `Recipe.weights` will be. Networks without published weights do without these.

    Raises:
        ValueError: there is no such network.
    """
    name = registry.resolve(network or str(RECIPES["finetune"].network))
    if weights == IMAGENET and not _is_published(name):
        log.warning("no verified weights of %s are published: training begins with random weights", name)
        weights = None
    return RECIPES["default" if weights is None else "finetune"].replace(network=name)


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
