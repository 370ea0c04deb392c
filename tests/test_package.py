"""The public names of the package, and the modules that each of them imports."""

import subprocess
import sys

import keras
import pytest
from networks import in_full_but

import keras_inception


def python(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8").stdout


def test_nothing_heavy_is_imported_with_the_package():
    heavy = {"tensorflow", "keras", "tf_keras", "PIL", "matplotlib"}
    code = "import sys, keras_inception; dir(keras_inception); print(*{name.split('.')[0] for name in sys.modules})"
    assert not heavy & set(python(code).split())


def test_preprocessing_needs_no_tensorflow():
    code = "import sys; from keras_inception import Preprocessing; print(*sys.modules)"
    assert not {"tensorflow", "keras"} & set(python(code).split())


@pytest.mark.parametrize("name", keras_inception.__all__)
def test_every_public_name_can_be_imported(name):
    assert name in dir(keras_inception)
    assert getattr(keras_inception, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'keras_inception' has no attribute 'LeNet'"):
        keras_inception.LeNet  # noqa: B018


ORDERS = ["import keras_inception; import keras", "import keras; import keras_inception"]


@pytest.mark.parametrize("order", in_full_but(ORDERS[:1], ORDERS))
def test_keras_finds_the_layers_of_a_saved_network(order, tmp_path):
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, keras_inception.LocalResponseNormalization()(image))
    paths = [str(tmp_path / f"model{suffix}") for suffix in (".keras", ".h5")]
    for path in paths:
        model.save(path)
    said = python(f"{order}; print([keras.models.load_model(path).layers for path in {paths}])")
    assert said.count("LocalResponseNormalization") == 2


@pytest.mark.full
def test_the_layers_alone_can_be_imported_first():
    assert python("from keras_inception.layers import SpaceToDepth; print(SpaceToDepth(2).size)").split() == ["2"]
