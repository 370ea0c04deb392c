"""Recipes: what they allow, and their way to JSON and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_inception.datasets import Augmentation
from keras_inception.training.recipe import RECIPES, Recipe, named_recipe


@given(
    size=st.integers(32, 512),
    epochs=st.integers(2, 1000),
    rate=st.floats(0, 1),
    minutes=st.none() | st.floats(0.01, 100),
    seed=st.integers(0, 2**31 - 1),
)
def test_json_round_trip(tmp_path_factory, size, epochs, rate, minutes, seed):
    recipe = Recipe(size=size, epochs=epochs, learning_rate=rate, minutes=minutes, seed=seed)
    recipe = recipe.replace(augmentation=Augmentation(area=(0.5, 1.0), flip=False))
    path = tmp_path_factory.mktemp("recipe") / "recipe.json"
    recipe.save(path)
    assert Recipe.load(path) == recipe


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epochs": 0}, r"`epochs` must be from 1 .*epochs=0"),
        ({"epochs": 2.5}, r"`epochs` must be a whole number"),
        ({"batch_size": True}, r"`batch_size` must be a whole number"),
        ({"size": 31}, r"`size` must be from 32"),
        ({"training_size": 16}, r"`training_size` must be 0, or 32"),
        ({"learning_rate": -1}, r"`learning_rate` must be from 0"),
        ({"learning_rate": float("nan")}, r"`learning_rate` must be from 0"),
        ({"minutes": 0}, r"`minutes` must be from 0.01"),
        ({"warmup_epochs": 10, "epochs": 5}, r"`warmup_epochs` must be from 0 to 5"),
        ({"normalization": "bn"}, r"'lrn' or 'batch_norm'. Received: 'bn'"),
        ({"precision": "bfloat16"}, r"`precision` must be one of auto, float32"),
    ],
)
def test_a_field_out_of_range_is_named(changes, says):
    with pytest.raises(ValueError, match=says):
        Recipe(**changes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not json", "is not a JSON file"),
        ("[1]", "is not a recipe"),
        ('{"epoch": 3}', r"is not a recipe; its fields are .*epochs.*Received: \['epoch'\]"),
        ('{"epochs": "3"}', "is not a recipe: `epochs` must be a whole number"),
        ('{"augmentation": {"zoom": 1}}', "is not a recipe"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, says):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=says) as error:
        named_recipe(str(path))
    assert "mine.json" in str(error.value)


def test_named_recipes(tmp_path):
    assert named_recipe("small") is RECIPES["small"]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"epochs": 7}))
    assert named_recipe(str(path)) == Recipe(epochs=7)
    with pytest.raises(ValueError, match=r"one of default, small, or a JSON file. Received: 'tiny'"):
        named_recipe("tiny")
