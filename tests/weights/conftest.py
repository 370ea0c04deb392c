"""Publishers' outputs with the weights that produced them (see tests/golden/README.md)."""

import functools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from writers import published

GOLDEN = Path(__file__).parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))

from draw import draw, draw_input  # noqa: E402


def pytest_collection_modifyitems(items):
    """Leave the coverage of parity unmeasured: it takes long, through code that other tests cover."""
    for item in items:
        if item.path.name.startswith("test_parity"):
            item.add_marker("no_cover")


class Golden:
    """One publisher's network: generated weights, an image and the outputs."""

    def __init__(self, name):
        fixture = json.loads((GOLDEN / f"{name}.json").read_text())
        self.parameters = fixture["weights"]["params"]
        self.count = fixture["weights"]["count"]
        self.variants = fixture["variants"]
        self.salt = fixture["weights"]["salt"]

    @functools.cached_property
    def tensors(self):
        return {
            name: np.array(0) if kind == "counter" else draw(name, shape, kind, self.salt)
            for name, shape, kind in self.parameters
        }

    @property
    def weights(self):
        """Tensors without torch's counters."""
        return {name: self.tensors[name] for name, _, kind in self.parameters if kind != "counter"}


@pytest.fixture(scope="session")
def golden():
    return functools.cache(Golden)


@pytest.fixture(scope="session")
def weight_file(golden, tmp_path_factory):
    """Return a function that writes a golden network's drawn weights in its publisher's format and returns the path."""

    @functools.cache
    def write(name):
        path = tmp_path_factory.mktemp("weights") / name
        published(name.partition("_")[0], path, golden(name).tensors)
        return path

    return write


@pytest.fixture(scope="session")
def pixels():
    """Return a function that draws a golden network's image, RGB, 0 to 255: (1, height, width, 3)."""
    return lambda height, width: 255 * draw_input(height, width, seed=0)


@pytest.fixture(scope="session")
def sizes():
    """Return outputs at other sizes, by golden network; see tests/golden/README_SIZES.md."""
    networks = json.loads((GOLDEN / "sizes.json").read_text())["networks"]
    return {Path(network["weights_and_preprocess_of"]).stem: network["sizes"] for network in networks}
