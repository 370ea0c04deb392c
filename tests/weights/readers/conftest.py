"""One small set of weights, in a file of every kind."""

import functools
import os

import keras
import numpy as np
import pytest
from keras import layers
from safetensors.numpy import save
from writers import caffemodel, slim_checkpoint, torch_stream, torch_zip

from keras_inception.weights.readers import read_tensors

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
KINDS = {
    "safetensors": "model.safetensors",
    "torch zip": "model.pth",
    "torch stream": "model.pth",
    "keras": "model.keras",
    "keras weights": "model.weights.h5",
    "keras legacy": "model.h5",
    "caffe": "net.caffemodel",
    "caffe 2014": "net.caffemodel",
    "tf 1": "model.ckpt",
    "tf 2": "model.ckpt.index",
}
# Names in a file of each kind, in the same order: a kernel, a bias, a dense kernel.
NAMES = {
    "keras": ("conv1/kernel", "conv1/bias", "predictions/kernel"),
    "caffe": ("conv1/7x7_s2/0", "conv1/7x7_s2/1", "loss3/classifier/0"),
    "torch": ("conv1.conv.weight", "conv1.conv.bias", "fc.weight"),
    "tf": ("InceptionV1/Conv2d_1a_7x7/weights", "InceptionV1/Conv2d_1a_7x7/biases", "InceptionV1/Logits/weights"),
}


def names_of(kind):
    return NAMES["torch" if kind == "safetensors" else kind.split()[0]]


@pytest.fixture(scope="session")
def arrays():
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in ((3, 3, 3, 2), (2,), (8, 5))]


@pytest.fixture(scope="session")
def file_of(arrays, tmp_path_factory):
    """Return a function that writes a file of a kind to a folder of its own and returns the path."""

    @functools.cache
    def write(kind):
        folder = tmp_path_factory.mktemp("kind")
        path = folder / KINDS[kind]
        named = dict(zip(names_of(kind), arrays, strict=True))
        if kind.startswith("keras"):
            model = keras_model(arrays)
            model.save_weights(path) if kind == "keras weights" else model.save(path)
        elif kind.startswith("tf"):
            slim_checkpoint(folder / "model.ckpt", named, version=int(kind[-1]))
        else:
            writer = {
                "safetensors": save,
                "torch zip": torch_zip,
                "torch stream": torch_stream,
                "caffe": caffemodel,
                "caffe 2014": functools.partial(caffemodel, v1=True),
            }[kind]
            path.write_bytes(writer(named))
        return path

    return write


@pytest.fixture
def read(tmp_path):
    """Return a function that reads a file with the given content."""

    def write_and_read(content):
        (tmp_path / "file").write_bytes(content)
        return read_tensors(tmp_path / "file")

    return write_and_read


def keras_model(arrays):
    inputs = keras.Input((4, 4, 3))
    x = layers.Flatten()(layers.Conv2D(2, 3, name="conv1")(inputs))
    model = keras.Model(inputs, layers.Dense(5, use_bias=False, name="predictions")(x))
    model.set_weights(arrays)
    return model
