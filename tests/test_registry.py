import pytest

from keras_inception import registry


@pytest.mark.parametrize("name", ["googlenet", "GoogLeNet", "goog-le_net"])
def test_case_and_hyphens_are_ignored(name):
    assert registry.resolve(name) == "googlenet"


def test_the_error_for_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"one of alexnet, .*, vgg19\. Did you mean VGG19\? Received: 'vgg-91'"):
        registry.resolve("vgg-91")


def test_networks_of_one_file_are_a_family():
    assert registry.family("vgg16") == registry.family("vgg19") != registry.family("resnet34")


def test_public_names_are_relative_to_the_package():
    assert registry.public("keras_inception")["VGG19"] == "models.vgg"
    assert registry.public("keras_inception.models")["VGG19"] == "vgg"


@pytest.mark.parametrize("name", [None, 5, ["vgg16"]])
def test_a_name_that_is_no_text_is_refused(name):
    with pytest.raises(ValueError, match=r"`model` must be one of .* Received: "):
        registry.resolve(name)
