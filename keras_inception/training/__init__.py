"""Train a network on labeled images: `train` takes a recipe and a folder and writes a run directory."""

from typing import TYPE_CHECKING

from keras_inception.training.presets import RECIPES, named_recipe
from keras_inception.training.recipe import Recipe
from keras_inception.utils import lazy

if TYPE_CHECKING:
    from keras_inception.training.trainer import train as train

__all__ = ["RECIPES", "Recipe", "named_recipe", "train"]
__getattr__, __dir__ = lazy.attach(__name__, {"train": "trainer"})  # trainer imports TensorFlow
