"""Networks of keras.applications."""

import inspect
import shutil

import keras
import numpy as np
import pytest

from keras_inception import registry
from keras_inception.models import applications
from keras_inception.training import Recipe, building, train


def test_the_names_are_those_of_keras():
    found = {name for name, each in vars(keras.applications).items() if inspect.isfunction(each)}
    assert set(registry.APPLICATIONS) == found


@pytest.mark.parametrize("name", registry.APPLICATIONS)
def test_preprocessing_is_that_of_keras(name):
    module = inspect.getmodule(getattr(keras.applications, name))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 6, 5, 3)).astype(np.float32)
    theirs = module.preprocess_input(pixels.copy(), data_format="channels_last")
    ours = applications.preprocessing(name).normalize(pixels)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


def test_a_name_in_any_spelling():
    assert registry.resolve("keras:efficientnet_v2-b0") == "keras:EfficientNetV2B0"
    with pytest.raises(ValueError, match=r"Did you mean MobileNetV2\? Received: 'MobilNetV2'"):
        registry.resolve("keras:MobilNetV2")
    assert registry.heads("keras:VGG16") == ()


def test_options_are_those_of_keras():
    recipe = Recipe(network="keras:MobileNet", options={"alpha": 0.25})
    assert building.resolved(recipe).options == {"alpha": 0.25}
    with pytest.raises(ValueError, match=r"`options` of keras:MobileNet may be alpha, .*Received: 'alhpa'"):
        building.resolved(recipe.replace(options={"alhpa": 0.25}))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"weights": "no.h5"},
            r"`weights` of keras:MobileNet must be imagenet, an .h5 file .*Received: weights='no.h5'",
        ),
        ({"auxiliary": True}, r"keras:MobileNet has no auxiliary classifiers"),
    ],
)
def test_what_is_not_taken_is_named(options, says):
    with pytest.raises(ValueError, match=says):
        registry.create("keras:MobileNet", **options)


@pytest.mark.parametrize(
    ("recipe", "crop"),
    [({}, 0.875), ({"crop": 0.9}, 0.9), ({"fitting": "pad"}, 1), ({"fitting": "stretch", "size": (32, 40)}, 1)],
)
def test_a_recipe_adds_the_cropping_to_its_own_preprocessing(recipe, crop):
    recipe = Recipe(network="keras:MobileNet", options={"alpha": 0.25}, size=32).replace(**recipe)
    network = building.build(recipe, 3, recipe.size, "float32")
    found = building.preprocessing(recipe, network)
    assert (found.mean, found.std, found.crop) == ((127.5,) * 3, (127.5,) * 3, crop)
    assert found.size == network.input_shape[1:3]
    assert network.output_shape == (None, 3)


@pytest.mark.full
def test_a_network_is_trained_with_its_own_preprocessing(pictures, tmp_path):
    recipe = Recipe(network="keras:MobileNetV3Small", options={"alpha": 0.75, "minimalistic": True}, size=32)
    recipe = recipe.replace(crop=0.9, epochs=1, batch_size=8, precision="float32")
    run = train(pictures, tmp_path / "run", recipe=recipe, verbose=0)
    assert run.preprocessing.mean == (0.0, 0.0, 0.0)
    assert run.preprocessing.std == (1.0, 1.0, 1.0)
    assert run.preprocessing.crop == 0.9
    model = run.model()
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, 3)
    assert model.layers[-1].name == "predictions"
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert train(None, run.path, resume=True, verbose=0).metrics == run.metrics


@pytest.mark.full
def test_a_second_run_begins_with_the_first_ones_network_and_is_resumed_without_it(pictures, tmp_path):
    recipe = Recipe(network="keras:MobileNet", options={"alpha": 0.25}, size=32, fitting="stretch")
    recipe = recipe.replace(epochs=1, batch_size=8, precision="float32")
    first = train(pictures, tmp_path / "first", recipe=recipe, verbose=0)
    second = recipe.replace(weights=str(first.path), epochs=2, freeze_epochs=2)
    run = train(pictures, tmp_path / "second", recipe=second, verbose=0)
    assert run.preprocessing == first.preprocessing
    for mine, theirs in zip(run.model().layers[1:-1], first.model().layers[1:-1], strict=True):
        for one, other in zip(mine.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    expected = run.metrics
    shutil.rmtree(first.path)
    for path in (run.path / "checkpoints").glob("epoch-*"):
        path.unlink()
    train(None, run.path, resume=True, verbose=0)
    assert [row["loss"] for row in run.metrics] == [row["loss"] for row in expected]
