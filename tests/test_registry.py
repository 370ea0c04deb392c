import keras
import pytest

import keras_inception
from keras_inception import analysis, registry


@pytest.mark.parametrize("name", registry.NETWORKS)
def test_the_figures_are_the_networks_own(name):
    with keras.StatelessScope(initialize_variables=False):  # shapes are all that is needed
        cost = analysis.cost(keras_inception.create(name))
    keras.utils.clear_session(free_memory=False)  # or the next network would fill this one's weights in
    assert cost.input_shape == (registry.FIGURES[name].size, registry.FIGURES[name].size, 3)
    assert cost.trainable == registry.FIGURES[name].parameters
    assert cost.macs == registry.FIGURES[name].macs


def test_every_network_has_figures():
    assert list(registry.FIGURES) == list(registry.NETWORKS)


@pytest.mark.parametrize("name", ["googlenet", "GoogLeNet", "goog-le_net"])
def test_neither_case_nor_hyphens_matter(name):
    assert registry.resolve(name) == "googlenet"


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"one of alexnet, .*, vgg19\. Did you mean VGG19\? Received: 'vgg-91'"):
        registry.resolve("vgg-91")
