"""A network takes one file and one registry row, and then supports everything that the others do."""

import json

import numpy as np
import pytest
from model_helpers import image

import keras_inception
from keras_inception import analysis
from keras_inception.cli import main
from keras_inception.datasets import Augmentation
from keras_inception.registry import NETWORKS, Network
from keras_inception.runs import Run
from keras_inception.training import Recipe

FILE = '''"""Two convolutions."""

from typing import Unpack

import keras

from keras_inception.models.factory import Builder, Common, network


@network("toy")
def Toy(net: Builder, *, width: int = 8, dropout: float = 0.0, **common: Unpack[Common]) -> keras.Model:
    """Build two convolutions.

    Options:
        width: number of filters of the first convolution.
    """
    x = net.input(8)
    conv_block = net.conv_block()
    x = conv_block(x, width, 3, strides=2, name="conv1")
    x = conv_block(x, 2 * width, 3, strides=2, name="conv2")
    return net.finish(x)
'''
ROW = Network("toy_network:Toy", 32, 18_392, 145_024)


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy_network.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(NETWORKS, "toy", ROW)


def test_it_is_created_with_all_shared_arguments(tmp_path):
    model = keras_inception.create("Toy", classes=3, width=4, filters={"conv2": 5})
    assert (model.name, model.input_shape, model.output_shape) == ("toy", (None, 32, 32, 3), (None, 3))
    assert model.get_layer("conv2").filters == 5
    model.save_weights(tmp_path / "toy.weights.h5")
    again = keras_inception.create("toy", classes=3, width=4, filters={"conv2": 5}, weights=tmp_path / "toy.weights.h5")
    np.testing.assert_array_equal(again(image(32, 32)), model(image(32, 32)))


def test_it_is_listed_with_its_figures(capsys):
    assert "toy" in keras_inception.list_models()
    cost = analysis.cost(keras_inception.create("toy"))
    assert (cost.trainable, cost.macs) == (ROW.parameters, ROW.macs)
    with pytest.raises(SystemExit) as stop:
        main(["list", "--json"])
    assert not stop.value.code
    networks = {network["name"]: network for network in json.loads(capsys.readouterr().out)}
    assert networks["toy"] == {
        "name": "toy",
        "input": [32, 32, 3],
        "parameters": ROW.parameters,
        "macs": ROW.macs,
        "weights": [],
    }


def test_it_is_trained_and_exported(pictures, tmp_path):
    recipe = Recipe(
        network="toy",
        options={"width": 6},
        size=32,
        crop=1.0,
        epochs=1,
        batch_size=8,
        learning_rate=1e-3,
        warmup_epochs=1.0,
        ema=0.5,
        augmentation=Augmentation(area=(0.5, 1.0)),
        precision="float32",
        seed=7,
    )
    run = keras_inception.train(pictures, tmp_path / "run", recipe=recipe, verbose=0)
    assert Run(run.path).model().get_layer("conv1").filters == 6
    report = keras_inception.export(run.path, tmp_path / "mobile", quantize=["float32"], min_agreement=0, clients=())
    assert (tmp_path / "mobile" / report["variants"]["float32"]["path"]).stat().st_size > 1000
