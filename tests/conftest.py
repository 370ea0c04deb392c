import contextlib
import functools
from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from keras_inception.exporting import convert

# No deadline, since the machine may be busy. `make soak` draws different examples in every run.
settings.register_profile("random", deadline=None)
settings.register_profile("derandomized", deadline=None, derandomize=True)
settings.load_profile("derandomized")

COLORS = {"blue": (30, 40, 220), "green": (30, 200, 40), "red": (220, 30, 40)}


@pytest.fixture(autouse=True)
def _seeded():
    """Draw the same weights in every run, so that tolerances hold in all of them."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _conversions_without_coverage(request):
    """Measure the coverage of conversions in two modules alone, since it makes them half as slow again."""
    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__ not in ("test_convert", "test_layer_errors"):
            quick = functools.partial(convert.run_module, environment={"COVERAGE_PROCESS_CONFIG": ""})
            patch.setattr(convert, "run_module", quick)
        yield


@pytest.fixture
def small_disk() -> Callable[[int], contextlib.AbstractContextManager]:
    """Return a context manager that limits the size of files in bytes, to simulate a full disk."""
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")

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
    """A folder of 36-pixel images in three classes by color: 8 per class in ``train``, 4 in ``test``."""
    root = tmp_path_factory.mktemp("colors")
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 4)):
        for name, color in COLORS.items():
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                noisy = np.clip(np.array(color) + rng.normal(0, 25, (36, 36, 3)), 0, 255)
                Image.fromarray(noisy.astype(np.uint8)).save(root / split / name / f"{index}.png")
    return root
