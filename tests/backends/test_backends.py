"""The networks' outputs on Keras' other backends equal those on TensorFlow. Run by `make test-backends`."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.backends


def run(backend, folder):
    path = folder / f"{backend}.npz"
    environment = {**os.environ, "KERAS_BACKEND": backend}
    subprocess.run([sys.executable, Path(__file__).with_name("forward.py"), path], env=environment, check=True)
    with np.load(path) as outputs:
        return dict(outputs)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return run("tensorflow", tmp_path_factory.mktemp("tensorflow"))


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_every_network_agrees_with_tensorflow(backend, reference, tmp_path):
    found = run(backend, tmp_path)
    assert set(found) == set(reference)
    for name, want in reference.items():
        assert np.abs(want).max() > 0, name
        assert np.abs(found[name] - want).max() <= 1e-4 * np.abs(want).max(), name
