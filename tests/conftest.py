import contextlib
import functools
import math
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from children import Forks
from hypothesis import settings
from litert_children import LiteRTForks
from PIL import Image

from keras_inception.exporting import convert
from keras_inception.tflite import isolation as tflite_isolation
from keras_inception.utils.subprocesses import run_module
from keras_inception.weights.readers import isolation

# No deadline, since the machine may be busy. `make soak` draws different examples in every run.
settings.register_profile("random", deadline=None)
settings.register_profile("derandomized", deadline=None, derandomize=True)
settings.load_profile("derandomized")

START = tflite_isolation.start
COLORS = {"blue": (30, 40, 220), "green": (30, 200, 40), "red": (220, 30, 40)}


LONGEST = ("test_notebooks.py", "test_any_model.py", "test_own.py", "test_distribution.py")


def pytest_collection_modifyitems(items):
    """Begin with the files that take so long that one worker would end with them alone."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True)
def _seeded():
    """Draw the same weights in every run, so that tolerances hold in all of them."""
    import keras  # not above: the process that only starts the workers would import TensorFlow too

    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _quick_draws():
    """Look up the first weights of large layers in a table: drawing them is most of the time that a network takes."""
    import keras

    table = np.random.default_rng(0).standard_normal(2**17 - 1, np.float32)  # a prime, so that no two kernels repeat
    drawn = keras.initializers.VarianceScaling.__call__

    def looked_up(self, shape, dtype=None):
        if math.prod(shape) < 4096:
            return drawn(self, shape, dtype)
        *window, fan_in, fan_out = (1, *shape)
        area, start = math.prod(window), np.random.default_rng(self.seed).integers(table.size)
        fan = {"fan_in": fan_in * area, "fan_out": fan_out * area, "fan_avg": (fan_in + fan_out) * area / 2}[self.mode]
        values = np.resize(np.roll(table, start) * np.sqrt(self.scale / fan, dtype=np.float32), shape)
        return keras.ops.convert_to_tensor(values, dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.initializers.VarianceScaling, "__call__", looked_up)
        yield drawn


@pytest.fixture(scope="module")
def own_draws(_quick_draws):
    """Draw first weights as Keras does."""
    import keras

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.initializers.VarianceScaling, "__call__", _quick_draws)
        yield


@pytest.fixture(autouse=True, scope="session")
def _without_reports():
    """Leave no reports in the many runs that are trained for other tests: drawing takes longer than these trainings."""
    from keras_inception.training.reporting import ReportRun

    real = {name: getattr(ReportRun, name) for name in ("on_epoch_begin", "on_epoch_end", "finish")}
    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(ReportRun, name, lambda *arguments: None)
        yield real


@pytest.fixture(scope="module")
def own_reports(_without_reports):
    """Leave reports in runs, as users have them."""
    from keras_inception.training.reporting import ReportRun

    with pytest.MonkeyPatch.context() as patch:
        for name, method in _without_reports.items():
            patch.setattr(ReportRun, name, method)
        yield


@pytest.fixture(scope="session")
def forks(tmp_path_factory):
    """Stand in for `run_module` with children that are forked from a process that has imported TensorFlow."""
    forks = Forks(tmp_path_factory.mktemp("forks"))
    yield forks
    forks.close()


@pytest.fixture(autouse=True, scope="session")
def _quick_children(forks):
    """Fork the children that convert networks and read weights; the coverage of conversions is not measured."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.platform != "win32":
            patch.setattr(convert, "run_module", functools.partial(forks, environment={"COVERAGE_PROCESS_CONFIG": ""}))
            patch.setattr(isolation, "run_module", forks)
        yield


@pytest.fixture(scope="module")
def own_children():
    """Start children as users do, and measure the coverage of conversions too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "run_module", run_module)
        patch.setattr(isolation, "run_module", run_module)
        yield


@pytest.fixture
def quick_children(own_children, monkeypatch, forks):
    """Fork the children that read weights, for tests that read many files in a module of `own_children`."""
    if sys.platform != "win32":
        monkeypatch.setattr(isolation, "run_module", forks)


@pytest.fixture(autouse=True, scope="session")
def _quick_litert():
    """Fork the children that run .tflite files."""
    if sys.platform == "win32":
        yield
        return
    forks = LiteRTForks()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tflite_isolation, "start", forks)
        yield
    forks.close()


@pytest.fixture
def own_litert(monkeypatch):
    """Start the children that run .tflite files as users do."""
    monkeypatch.setattr(tflite_isolation, "start", START)


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
