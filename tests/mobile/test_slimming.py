"""Filters that are cut: which depend on which, which go, and that what is left computes what it did."""

import keras
import numpy as np
import pytest
from keras import layers
from networks import with_drawn_weights

from keras_inception import analysis, registry
from keras_inception.mobile import slimming
from keras_inception.mobile.slimming import Anatomy

NETWORKS = {
    "googlenet": {"input_shape": (64, 64, 3), "normalization": "batch_norm", "auxiliary": True},
    "inception_v3": {"input_shape": (80, 80, 3)},
    "resnet34": {"input_shape": (32, 32, 3)},
    "vgg16": {"input_shape": (32, 32, 3)},
    "network_in_network": {"input_shape": (64, 64, 3)},
}


def silenced(model, kept):
    """The model, in which the filters that are not kept give nothing but zeros."""
    for step in (anatomy := Anatomy(model)).steps:
        layer = step.operation
        if step.name in kept:
            cut = np.setdiff1d(np.arange(layer.filters), kept[step.name])
            for weight in layer.weights:
                value = weight.numpy()
                value[..., cut] = 0
                weight.assign(value)
        elif isinstance(layer, layers.BatchNormalization):
            (group,) = anatomy.of(step.inputs[0])
            name = next((name for name in group.convolutions if name in kept), None)
            if name:
                cut = np.setdiff1d(np.arange(group.size), kept[name])
                for weight in (layer.beta, layer.moving_mean):
                    value = weight.numpy()
                    value[cut] = 0
                    weight.assign(value)
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_left_computes_what_it_did(name):
    model = with_drawn_weights(registry.create(name, classes=4, classifier_activation=None, **NETWORKS[name]))
    anatomy = Anatomy(model)
    assert anatomy.macs({}) == analysis.cost(model).macs
    kept = slimming.choose(anatomy, slimming.l1(model), 0.6)
    assert all(len(numbers) % 8 == 0 for numbers in kept.values())
    small = slimming.slim(anatomy, kept)
    assert 0.5 < analysis.cost(small).macs / analysis.cost(model).macs <= 0.6
    assert analysis.cost(small).macs == anatomy.macs({name: len(numbers) for name, numbers in kept.items()})
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype(np.float32)
    expected = silenced(model, kept)(x, training=False)
    for ours, theirs in zip(*map(keras.tree.flatten, (small(x, training=False), expected)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_filters_that_are_added_up_go_together():
    anatomy = Anatomy(registry.create("resnet34", input_shape=(32, 32, 3), classes=4))
    (stage,) = [group for group in anatomy.groups() if "conv3_1_shortcut" in group.convolutions]
    assert sorted(stage.convolutions) == ["conv3_1_2", "conv3_1_shortcut", "conv3_2_2", "conv3_3_2", "conv3_4_2"]


def test_what_cannot_be_cut_says_why():
    anatomy = Anatomy(registry.create("resnet34", input_shape=(32, 32, 3), classes=4, shortcut="A"))
    reasons = {name: group.fixed for group in anatomy.groups() for name in group.convolutions}
    assert reasons["conv3_1_2"] == "conv3_1_shortcut needs all of it" or reasons["conv2_1_2"]
    assert reasons["conv3_1_1"] is None
    nin = Anatomy(registry.create("network_in_network", input_shape=(64, 64, 3), classes=16))
    assert {group.fixed for group in nin.groups() if "predictions_conv" in group.convolutions} == {"it is an output"}


def test_a_filter_that_matters_stays():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="first")(image)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="second")(x)
    out = layers.Dense(4, activation="softmax", name="predictions")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, out)
    kernel, bias = model.get_layer("second").get_weights()
    dead = np.arange(0, 32, 2)
    kernel[:, :, dead] = 0  # nobody reads every other filter of the first
    model.get_layer("second").set_weights([kernel, bias])
    chance = np.random.default_rng(0)
    batches = [(chance.normal(size=(16, 8, 8, 3)).astype(np.float32), chance.integers(0, 4, 16))]
    anatomy = Anatomy(model)
    kept = slimming.choose(anatomy, slimming.taylor(model, batches), anatomy.macs({"first": 16}))
    assert not set(kept["first"]) & set(dead)
    small = slimming.slim(anatomy, kept)
    np.testing.assert_allclose(small(batches[0][0]), model(batches[0][0]), atol=1e-6)


def test_a_budget_that_cannot_be_met(tiny_model):
    with pytest.raises(ValueError, match=r"tiny cannot be made so small: with 8 filters .* Received: macs=0.001"):
        slimming.choose(Anatomy(tiny_model), slimming.l1(tiny_model), 0.001)


def test_without_batch_norm_there_is_no_scale():
    model = registry.create("googlenet", input_shape=(32, 32, 3), classes=2)
    with pytest.raises(ValueError, match="conv1 has none"):
        slimming.batch_norm_scale(model)
