import contextlib
from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# A busy machine is not a fault, so that there is no deadline. `make soak` draws other examples in every run.
settings.register_profile("random", deadline=None)
settings.register_profile("derandomized", deadline=None, derandomize=True)
settings.load_profile("derandomized")

COLOURS = {"blue": (30, 40, 220), "green": (30, 200, 40), "red": (220, 30, 40)}


@pytest.fixture(autouse=True)
def _seeded():
    """Drawn weights are the same in every run: what a tolerance lets pass today it lets pass tomorrow."""
    keras.utils.set_random_seed(0)


@pytest.fixture
def small_disk() -> Callable[[int], contextlib.AbstractContextManager]:
    """Refuse to write more than so many bytes of a file, as a full disk does."""
    resource = pytest.importorskip("resource", reason="this system has no limit on the size of a file")

    @contextlib.contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Three classes of 36 px pictures, told apart by their colour: eight a class to train on, four to test on."""
    root = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 4)):
        for name, colour in COLOURS.items():
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                noisy = np.clip(np.array(colour) + rng.normal(0, 25, (36, 36, 3)), 0, 255)
                Image.fromarray(noisy.astype(np.uint8)).save(root / split / name / f"{index}.png")
    return root
