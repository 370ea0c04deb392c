"""Training: a recipe and a folder of pictures in, a run directory out."""

from typing import TYPE_CHECKING

from keras_inception.training.recipe import RECIPES, Recipe, named_recipe

if TYPE_CHECKING:
    from keras_inception.training.trainer import train as train

__all__ = ["RECIPES", "Recipe", "named_recipe", "train"]


def __getattr__(name: str):
    if name != "train":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from keras_inception.training.trainer import train  # imports TensorFlow

    return train
