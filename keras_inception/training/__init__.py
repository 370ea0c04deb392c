"""Training: a recipe and a folder of pictures in, a run directory out."""

from keras_inception.training.recipe import RECIPES, Recipe, named_recipe
from keras_inception.training.trainer import train

__all__ = ["RECIPES", "Recipe", "named_recipe", "train"]
