"""Tests of recipes: valid values, the round trip through JSON, and fields set from text."""

import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_inception.datasets import Augmentation
from keras_inception.training.presets import RECIPES, named_recipe
from keras_inception.training.recipe import FIELDS, Recipe, size_from


@given(
    size=st.integers(32, 512),
    epochs=st.integers(2, 1000),
    rate=st.floats(0, 1),
    minutes=st.none() | st.floats(0.01, 100),
    milestones=st.lists(st.floats(1, 100), min_size=1, unique=True),
    seed=st.integers(0, 2**31 - 1),
)
def test_json_round_trip(tmp_path_factory, size, epochs, rate, minutes, milestones, seed):
    recipe = Recipe(size=size, epochs=epochs, learning_rate=rate, minutes=minutes, seed=seed)
    recipe = recipe.replace(augmentation=Augmentation(area=(0.5, 1.0), flip=False, scale=(1, 2)))
    recipe = recipe.replace(schedule="steps", milestones=tuple(sorted(milestones)))
    path = tmp_path_factory.mktemp("recipe") / "recipe.json"
    recipe.save(path)
    assert Recipe.load(path) == recipe


@pytest.mark.parametrize("name", RECIPES)
def test_built_in_recipes_survive_json_and_describe_their_results(name):
    recipe = RECIPES[name]
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert "keras-inception" in recipe.about or "ot run here" in recipe.about


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epochs": 0}, r"`epochs` must be from 1 .*epochs=0"),
        ({"epochs": 2.5}, r"`epochs` must be a whole number"),
        ({"batch_size": True}, r"`batch_size` must be a whole number"),
        ({"auxiliary": 1}, r"`auxiliary` must be true or false"),
        ({"weights": 5}, r"`weights` must be text. Received: weights=5"),
        ({"size": 7}, r"`size` must be from 8"),
        ({"training_size": 4}, r"`training_size` must be 0, or at least 8"),
        ({"learning_rate": -1}, r"`learning_rate` must be from 0"),
        ({"learning_rate": float("nan")}, r"`learning_rate` must be from 0"),
        ({"minutes": 0}, r"`minutes` must be from 0.01"),
        ({"warmup_epochs": -1}, r"`warmup_epochs` must be from 0"),
        ({"options": 5}, r"`options` must be a mapping of the network's arguments. Received: options=5"),
        ({"augmentation": {"mixup": 0.2}}, r"`augmentation` must be an Augmentation, or be set field by field"),
        (
            {"schedule": "steps", "milestones": 5},
            r"`milestones` must be epochs in ascending order. Received: milestones=5",
        ),
        (
            {"schedule": "steps", "milestones": ["a"]},
            r"`milestones` must be epochs in ascending order.*Received: milestones=\['a'\]",
        ),
        ({"freeze_epochs": 61}, r"`freeze_epochs` must be from 0 to 60"),
        ({"precision": "bfloat16"}, r"`precision` must be one of 'auto', 'float32'.*Did you mean mixed_bfloat16\?"),
        ({"optimizer": "adamv"}, r"one of 'adamw', 'rmsprop', 'sgd'. Did you mean adamw\? Received: optimizer='adamv'"),
        ({"schedule": "steps"}, r"`milestones` belong to the schedule 'steps', which needs at least one"),
        ({"milestones": (1.0,)}, r"`milestones` belong to the schedule 'steps'"),
        ({"schedule": "steps", "milestones": (2.0, 1.0)}, r"`milestones` must be epochs in ascending order"),
        ({"network": "resnet43"}, r"Did you mean ResNet34\? Received: 'resnet43'"),
    ],
)
def test_an_invalid_field_is_named(changes, says):
    with pytest.raises(ValueError, match=says):
        Recipe(**changes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not json", "is not a JSON file"),
        ("[1]", "is not a recipe: a recipe must be a JSON object"),
        ('{"epoch": 3}', r"a recipe has no field 'epoch'. Did you mean epochs\? Its fields are .*learning_rate"),
        ('{"epochs": "3"}', "is not a recipe: `epochs` must be a whole number"),
        ('{"options": 5}', "is not a recipe: `options` must be a mapping"),
        ('{"milestones": 5}', "is not a recipe: `milestones` must be epochs in ascending order"),
        ('{"augmentation": {"mix_up": 1}}', r"is not a recipe: `augmentation` must have .* Did you mean mixup\?"),
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
    with pytest.raises(ValueError, match=r"or a JSON file. Did you mean googlenet-2014\? Received: 'googlenet2014'"):
        named_recipe("googlenet2014")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("epochs", "7", 7),
        ("learning_rate", "1e-2", 0.01),
        ("minutes", "none", None),
        ("minutes", "20", 20),
        ("class_weights", "true", True),
        ("nesterov", "True", True),
        ("optimizer", "sgd", "sgd"),
        ("weights", "imagenet:caffe", "imagenet:caffe"),
        ("options.stem_stride", "4", {"stem_stride": 4}),
        ("options.normalization", "lrn", {"normalization": "lrn"}),
    ],
)
def test_a_field_is_set_from_text(field, text, value):
    assert getattr(Recipe().override({field: text}), field.split(".")[0]) == value


def test_parts_of_a_field_are_set_from_text():
    recipe = Recipe().override(
        {"augmentation.area": "0.5,1", "augmentation.flip": "false", "augmentation.mixup": "0.2"}
    )
    assert recipe.augmentation == Augmentation(area=(0.5, 1.0), flip=False, mixup=0.2)
    recipe = Recipe().override({"schedule": "steps", "milestones": "30,60.5"})
    assert recipe.milestones == (30.0, 60.5)


@pytest.mark.parametrize(
    ("field", "text", "says"),
    [
        ("epoch", "3", r"a recipe has no field 'epoch'. Did you mean epochs\?"),
        ("epochs", "many", "`epochs` must be a whole number. Received: epochs='many'"),
        ("epochs", "1.5", "`epochs` must be a whole number"),
        ("epochs.first", "1", "`epochs` has no subfields. Received: epochs.first=1"),
        ("augmentation.crop", "1", r"`augmentation` must have the fields area,.*Received: "),
        ("augmentation.area", "1,0.5", "`area` must be two numbers"),
        ("augmentation", '{"mixup": 0.2}', "`augmentation` must be an Augmentation, or be set field by field"),
        ("options", "5", "`options` must be a mapping of the network's arguments"),
        ("milestones", "abc", "`milestones` must be epochs in ascending order. Received: milestones='"),
    ],
)
def test_invalid_text_is_named(field, text, says):
    with pytest.raises(ValueError, match=says):
        Recipe().override({field: text})


def test_a_recipe_of_ones_own_network_names_none():
    recipe = Recipe(network=None, size=40)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert recipe.override({"epochs": "2"}).network is None
    with pytest.raises(ValueError, match=r"`options`, `weights` and `freeze_epochs` require a `network`"):
        recipe.replace(freeze_epochs=1)


def test_a_network_of_another_family_resets_the_options():
    recipe = Recipe(options={"stem_stride": 4})
    assert recipe.replace(network="GoogLeNet", epochs=3).options == {"stem_stride": 4}
    assert recipe.replace(network="ResNet34").options == {}
    assert RECIPES["vgg-2014"].replace(network="vgg16").options == {"normalization": None}, "the same family keeps them"
    assert recipe.override({"network": "vgg16", "options.normalization": "batch_norm"}).options == {
        "normalization": "batch_norm"
    }


def test_another_size_resets_the_training_size():
    recipe = Recipe(size=96, training_size=80)
    assert recipe.replace(size=28).training_size == 0
    assert recipe.override({"size": "28", "training_size": "24"}).training_size == 24
    assert recipe.replace(size=96, epochs=3).training_size == 80


@pytest.mark.parametrize("name", RECIPES)
def test_any_recipe_can_be_shortened_to_one_epoch(name):
    assert RECIPES[name].replace(epochs=1, freeze_epochs=0).epochs == 1


def test_every_field_is_described():
    described = inspect.getdoc(Recipe).split("Raises:")[0]
    assert [name for name in FIELDS if f"    {name}:" not in described and f"`{name}`" not in described] == []


def test_sizes_that_are_not_square():
    recipe = RECIPES["small"].override({"size": "64x192"})
    assert (recipe.size, recipe.training_size) == ((64, 192), 0)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert Recipe(size=[96, 96]).size == 96
    assert Recipe().override({"size": "64,192"}).size == (64, 192)
    assert size_from("96") == 96
    assert size_from("64 × 192") == (64, 192)
    for size, says in (((64,), "of pixels, or the two of"), ((64, 7), "from 8 to 4096"), ("64x", "a whole number of")):
        with pytest.raises(ValueError, match=says):
            Recipe(size=size)
    with pytest.raises(ValueError, match=r"or HEIGHTxWIDTH: 64x192\. Received: '64x'"):
        size_from("64x")


def test_padding_crops_nothing():
    assert Recipe(fitting="pad").crop is None
    with pytest.raises(ValueError, match=r"`crop` must be 1 with fitting 'pad'"):
        Recipe(fitting="pad", crop=0.5)


def test_other_weights_reset_fitting_and_crop():
    recipe = Recipe(crop=1.0, fitting="stretch")
    assert (recipe.replace(weights="run").crop, recipe.replace(weights="run").fitting) == (None, None)
    assert recipe.override({"weights": "run", "crop": "0.9"}).crop == 0.9


def test_fewer_epochs_keep_the_share_of_the_frozen_ones():
    recipe = RECIPES["finetune"]
    assert [recipe.replace(epochs=epochs).freeze_epochs for epochs in (1, 2, 5, 10, 40)] == [1, 1, 1, 2, 4]
    assert recipe.replace(epochs=2, freeze_epochs=2).freeze_epochs == 2


@pytest.mark.parametrize(
    ("name", "field"), [("lr", "learning_rate"), ("model", "network"), ("image_size", "size"), ("bs", "batch_size")]
)
def test_the_names_of_other_tools_are_understood_in_errors(name, field):
    with pytest.raises(ValueError, match=rf"a recipe has no field '{name}'\. Did you mean {field}\?"):
        Recipe().override({name: "1"})
    with pytest.raises(ValueError, match=rf"Did you mean {field}\?"):
        Recipe().replace(**{name: 1})
