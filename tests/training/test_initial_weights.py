"""Without a named recipe, training begins with published weights."""

import urllib.error

import numpy as np
import pytest

from keras_inception import registry
from keras_inception.cli import main
from keras_inception.preprocessing import NAMED
from keras_inception.training import RECIPES, Recipe, train, trainer
from keras_inception.training.initial_weights import unnamed_recipe
from keras_inception.weights import checkpoint

OPTIONS = ["--size", "64", "--epochs", "1", "--batch-size", "8", "--precision", "float32"]


def run_command(*arguments) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, arguments)))
    return stop.value.code


@pytest.fixture
def no_connection(monkeypatch, tmp_path):
    """Keep weights in an empty cache, and let every download fail."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))

    def fail(*arguments, **options):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", fail)


@pytest.fixture
def made(monkeypatch):
    """Return the recipes of the trainings that begin, of which none is run."""
    recipes = []

    def stop(recipe, *others):
        recipes.append(recipe)
        raise ValueError("stopped")

    monkeypatch.setattr(trainer, "_initial_weights", lambda *arguments: None)
    monkeypatch.setattr(trainer, "_Training", stop)
    return recipes


def test_a_network_with_published_weights_is_fine_tuned():
    assert unnamed_recipe() == RECIPES["finetune"]
    assert unnamed_recipe("resnet34") == RECIPES["finetune"].replace(network="resnet34")
    assert unnamed_recipe("keras:mobilenet_v2").network == "keras:MobileNetV2"
    assert unnamed_recipe(weights=None) == RECIPES["default"]


@pytest.mark.parametrize("network", ["plain34", "network_in_network"])
def test_a_network_without_published_weights_begins_with_random_ones_and_says_so(network, caplog):
    assert unnamed_recipe(network) == RECIPES["default"].replace(network=network)
    assert [record.getMessage() for record in caplog.records] == [
        f"no verified weights of {network} are published: training begins with random weights"
    ]
    caplog.clear()
    assert unnamed_recipe(network, weights=None).weights is None
    assert unnamed_recipe(network, weights="own.pth") == RECIPES["finetune"].replace(network=network)
    assert not caplog.records


def test_the_commands_recipe(pictures, tmp_path, made, capsys):
    def recipe(*arguments):
        made.clear()
        assert run_command("train", pictures, "--output", tmp_path / "run", *arguments) == 1
        assert capsys.readouterr().err.endswith("error: stopped\n")
        return made[0]

    assert recipe().weights == "imagenet"
    assert recipe("--epochs", "2").freeze_epochs == 1
    assert recipe("--recipe", "small").weights is None
    scratch = recipe("--from-scratch")
    assert (scratch.weights, scratch.freeze_epochs, scratch.about) == (None, 0, RECIPES["default"].about)
    assert recipe("--set", "weights=none").freeze_epochs == 0
    named = recipe("--from-scratch", "--recipe", "finetune")
    assert (named.weights, named.freeze_epochs, named.about) == (None, 0, RECIPES["finetune"].about)
    assert recipe("--weights", "none", "--recipe", "finetune") == named
    assert recipe("--model", "keras:mobilenetv2", "--lr", "0.01").network == "keras:MobileNetV2"
    (tmp_path / "own.pth").touch()
    own = recipe("--weights", tmp_path / "own.pth", "--network", "plain34")
    assert (own.weights, own.freeze_epochs) == (str(tmp_path / "own.pth"), RECIPES["finetune"].freeze_epochs)


def test_the_functions_recipe(pictures, tmp_path, made):
    for options in ({}, {"recipe": Recipe()}, {"weights": None}, {"recipe": "small"}, {"network": "plain34"}):
        with pytest.raises(ValueError, match="stopped"):
            train(pictures, tmp_path / "run", **options)
    assert [recipe.weights for recipe in made] == ["imagenet", None, None, None, None]


def test_contradictions_are_refused(pictures, tmp_path, capsys):
    for weights in (["--set", "weights=imagenet"], ["--weights", "imagenet"]):
        assert run_command("train", pictures, "--output", tmp_path / "run", "--from-scratch", *weights) == 1
        assert "--from-scratch sets no weights: give one of both. Received: weights=imagenet" in capsys.readouterr().err
    assert run_command("train", "--resume", "--output", tmp_path / "run", "--from-scratch") == 1
    assert "give neither" in capsys.readouterr().err


@pytest.mark.parametrize("network", ["googlenet", "keras:EfficientNetV2B0"])
def test_without_a_connection_one_line_says_both_ways_out(network, pictures, tmp_path, no_connection, capsys):
    assert run_command("train", pictures, "--output", tmp_path / "run", "--network", network, *OPTIONS) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "cannot be downloaded" in line
    assert "Name or service not known" in line
    assert "--weights FILE" in line
    assert "--from-scratch" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.full
def test_without_a_recipe_published_weights_are_fine_tuned(pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "finetune", RECIPES["finetune"].replace(size=64, epochs=1, precision="float32"))
    published = registry.create("googlenet", normalization="batch_norm", input_shape=(64, 64, 3))
    published.save_weights(tmp_path / "published.weights.h5")
    fetched = []

    def fetch(entry):
        fetched.append(entry.address)
        return tmp_path / "published.weights.h5"

    monkeypatch.setattr(checkpoint, "fetch", fetch)
    run = train(pictures, tmp_path / "run", verbose=0)
    assert set(fetched) == {"https://download.pytorch.org/models/googlenet-1378be20.pth"}
    assert run.preprocessing == NAMED["torchvision_unit"].replace(size=(64, 64))
    model = run.model()
    assert model.output["predictions"].shape == (None, 3)
    for theirs in published.layers:
        if theirs.name != "predictions":  # the body is frozen in the only epoch
            for mine, other in zip(model.get_layer(theirs.name).get_weights(), theirs.get_weights(), strict=True):
                np.testing.assert_array_equal(mine, other)
