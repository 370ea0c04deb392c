"""Clients: their scores, and when a file is refused because of them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from colours import LABELS, color_images, without_archive

import keras_inception
from keras_inception.exporting import clients, exporter, targets
from keras_inception.exporting.clients import arm64, arm64_userland, litert_web, mediapipe, task_library
from keras_inception.exporting.model_card import model_card
from keras_inception.exporting.noise import convert_on_noise
from keras_inception.exporting.report import ExportReport
from keras_inception.exporting.variants import VARIANTS
from keras_inception.exporting.verify import Reference, client_problems, not_accepted, verify
from keras_inception.preprocessing import DEFAULT
from keras_inception.tflite import metadata
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.tflite.delegate import without_delegates
from keras_inception.utils import files
from keras_inception.utils.subprocesses import ChildError, run_program


class Fake:
    """A fake client: it is `missing`, rejects files for a `reason`, or gives scores that are too high by `wrong`."""

    def __init__(self, *, missing=None, reason=None, wrong=0.0):
        self._missing, self._reason, self._wrong = missing, reason, wrong
        self.asked = 0

    def unavailable(self):
        return self._missing

    def scores(self, path, images, classes):
        self.asked = len(images)
        if self._reason:
            raise ChildError(f"it ended with exit code 1: INFO: loading / {self._reason}")
        probabilities = TFLiteClassifier(path).predict(images)
        assert probabilities.shape == (len(images), classes)
        return probabilities + self._wrong


@pytest.fixture
def put(monkeypatch):
    """Return a function that replaces clients with fakes; all others are missing."""

    def put(**fakes: Fake) -> None:
        named = {name: fakes.get(name.replace("-", "_"), Fake(missing="it is not here")) for name in clients.CLIENTS}
        monkeypatch.setattr("keras_inception.exporting.verify.client", named.__getitem__)
        monkeypatch.setattr(clients, "client", named.__getitem__)

    return put


@pytest.fixture
def verified(exported):
    """Return a function that verifies the float32 file against itself and returns the row."""
    path = exported[0] / "colours_float32.tflite"
    images, labels = color_images(30, seed=3)
    reference = Reference(images, TFLiteClassifier(path).predict(images), labels)
    return lambda **asked: verify(path, VARIANTS["float32"], DEFAULT, reference, **asked)


def test_every_client_has_the_functions_of_the_protocol():
    for name in clients.CLIENTS:
        module = clients.client(name)
        assert callable(module.scores)
        assert module.unavailable() is None or isinstance(module.unavailable(), str)


def test_scores_are_compared_on_fifty_images(verified, put):
    fake = Fake(wrong=4e-6)
    put(mediapipe=fake)
    row = verified()
    assert "refused" not in row
    assert row["clients"]["mediapipe"] == {
        "max_difference": pytest.approx(4e-6, rel=0.1),
        "agreement": 1,
        "tolerance": 1e-5,
    }
    assert row["clients"]["litert-web"] == {"installed": False, "reason": "it is not here"}
    assert not not_accepted(row)
    assert fake.asked == 50


def test_slow_clients_run_on_request_and_on_fewer_images(verified, put):
    fakes = {name.replace("-", "_"): Fake() for name in clients.ON_REQUEST}
    put(**fakes)
    assert not set(verified()["clients"]) & set(clients.ON_REQUEST)
    assert set(verified(clients=clients.ON_REQUEST)["clients"]) == set(clients.ON_REQUEST)
    assert {name: fake.asked for name, fake in fakes.items()} == {
        name.replace("-", "_"): clients.IMAGES[name] for name in clients.ON_REQUEST
    }


def test_an_arm_that_is_not_set_up_says_how(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(arm64_userland.platform, "system", lambda: "Linux")
    monkeypatch.setattr(arm64_userland.platform, "machine", lambda: "x86_64")
    with pytest.raises(ValueError, match=r"Received: 'arm64', but the emulated ARM is not set up: python -m keras_inc"):
        clients.check(["arm64"])
    assert f"creates it in {tmp_path / 'keras-inception' / 'arm64'}" in arm64.unavailable()
    monkeypatch.setattr(arm64_userland.platform, "system", lambda: "Darwin")
    assert arm64.unavailable() == "ARM is emulated only on Linux on x86_64. Received: Darwin on x86_64"


@pytest.mark.parametrize("asked", [{}, {"clients": ["mediapipe"]}])
def test_a_client_with_other_scores_refuses_the_file(verified, put, asked):
    put(mediapipe=Fake(wrong=0.001))
    assert verified(**asked)["refused"] == (
        "mediapipe's scores differ from the interpreter's by up to 0.001, more than the tolerance of 1e-05 for "
        "rounding in a network of this depth (the first guess is the same on 100% of the images); to export it all "
        "the same, leave out clients (--client none; in Python, clients=()) or choose another variant"
    )


def test_a_network_that_amplifies_rounding_is_measured_in_other_kernels(verified, put, monkeypatch):
    class Other:
        def __init__(self, path):
            self.path = path

        def predict(self, images):
            return TFLiteClassifier(self.path).predict(images) + self.difference

    monkeypatch.setattr("keras_inception.exporting.verify.without_delegates", Other)
    for difference, wrong, tolerance, right in (
        (2e-5, 7e-5, 8e-5, True),
        (1e-6, 7e-5, 1e-5, False),
        (0.3, 0.04, 0.05, True),
        (0.3, 0.06, 0.05, False),  # no rounding, whatever the other kernels give
    ):
        Other.difference = difference
        put(mediapipe=Fake(wrong=wrong))
        row = verified()
        assert row["clients"]["mediapipe"]["tolerance"] == pytest.approx(tolerance, rel=0.1)
        assert ("refused" not in row) == right


@pytest.mark.full
@pytest.mark.parametrize("depth", [2, 60])
def test_the_tolerance_covers_the_rounding_of_other_kernels(depth, tmp_path):
    import keras
    from keras import layers

    image = keras.Input((24, 24, 3))
    x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(image)
    for _ in range(depth - 2):
        x = layers.LayerNormalization()(layers.Add()([x, layers.Conv2D(32, 3, padding="same", activation="relu")(x)]))
    x = layers.GlobalAveragePooling2D()(x)
    kernel = keras.initializers.RandomNormal(stddev=4.0)
    model = keras.Model(image, layers.Dense(5, activation="softmax", kernel_initializer=kernel)(x))
    preprocessing, path = DEFAULT.replace(size=(24, 24)), tmp_path / "model.tflite"
    convert_on_noise(model, preprocessing, preprocessing, {"float32": path})
    images = np.random.default_rng(0).integers(0, 256, (30, 24, 24, 3), np.uint8)
    scores = TFLiteClassifier(path, preprocessing=preprocessing).predict(images)
    difference = np.abs(without_delegates(path, preprocessing).predict(images) - scores).max()
    assert 0 < difference < VARIANTS["float32"].tolerance(depth)


def test_nan_scores_refuse_the_file():
    outcome = {"max_difference": float("nan"), "tolerance": 0.01, "agreement": 0}
    problem, way_on = client_problems({"mediapipe": outcome}, required=False)
    assert problem.startswith("mediapipe's scores")
    assert "--client none" in way_on


def test_a_file_that_a_client_does_not_accept_is_refused_if_the_client_was_requested(verified, put):
    put(task_library=Fake(reason="ValueError: no such operation"))
    row = verified()
    assert "refused" not in row
    assert row["clients"]["task-library"] == {"installed": True, "reason": "ValueError: no such operation"}
    assert not_accepted(row) == {"task-library": "ValueError: no such operation"}
    row = verified(clients=["task-library"])
    assert row["refused"].startswith("task-library does not accept it: ValueError: no such operation; to export it all")
    assert list(row["clients"]) == ["task-library"]


def test_the_card_shows_differences_and_what_was_not_accepted(exported):
    report = files.read_json(exported[0] / "report.json")
    scores, reason = {"max_difference": 0.0039, "tolerance": 0.0059}, {"installed": True, "reason": "no such operation"}
    report["variants"]["int8"]["clients"] = {"task-library": scores}
    report["variants"]["dynamic"]["clients"] = {"task-library": reason, "mediapipe": {"installed": False, "reason": ""}}
    report["variants"] = {variant: report["variants"][variant] for variant in ("int8", "dynamic")}
    about = metadata.About(name="x", version="1", description="", author="", license="")
    asked = [VARIANTS[name] for name in report["variants"]]
    card = model_card(about, LABELS, DEFAULT, ExportReport(**report), "keras-inception export", targets.DEFAULT, asked)
    assert "| variant | task-library |\n| --- | --- |\n| int8 | 0.004 (0.0059) |\n| dynamic | not accepted |\n" in card
    assert "task-library does not accept dynamic: no such operation" in card
    assert "mediapipe" not in card.split("## Use")[0]


@pytest.mark.full
def test_what_a_client_does_not_accept_is_reported_after_the_variant(run, tmp_path, put):
    put(task_library=Fake(reason="ValueError: no such operation"))
    said: list[str] = []
    options = {"quantize": ["float32"], "on_step": said.append, "overwrite": True}
    keras_inception.export(run, tmp_path, **options)
    assert said[-2].startswith("float32: ")
    assert said[-1] == "  task-library does not accept float32: ValueError: no such operation"
    assert not any("mediapipe" in line for line in said), "it is not installed"
    keras_inception.export(run, tmp_path, clients=["task-library"], **options)
    assert said[-1].startswith("float32: refused: task-library does not accept it: ValueError: no such operation; ")


def test_clients_can_be_left_out(verified, put):
    fake = Fake(wrong=0.5)
    put(mediapipe=fake)
    assert verified(clients=())["clients"] == {}
    assert fake.asked == 0


def test_a_requested_client_that_is_missing_is_an_error_before_any_work(run, tmp_path, put, monkeypatch):
    put()
    monkeypatch.setattr(exporter, "open_source", None)
    with pytest.raises(ValueError, match=r"`clients` must be installed\. Received: 'litert-web', but it is not here"):
        keras_inception.export(run, tmp_path / "new", clients=["litert-web"])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("variable", "named", "module", "says"),
    [
        (mediapipe.VARIABLE, "", mediapipe, "is not set: python -m venv ENV"),
        (mediapipe.VARIABLE, "no/such/python", mediapipe, "must name an environment or its Python. Received: no/such"),
        (mediapipe.VARIABLE, sys.executable, mediapipe, "has no mediapipe: pip install mediapipe=="),
        (litert_web.VARIABLE, "", litert_web, "is not set: set it to the folder that this prints"),
        (litert_web.VARIABLE, "no/such/folder", litert_web, "that contains @litertjs/core. Received: no/such/folder"),
    ],
)
def test_a_missing_client_says_how_to_install_it(monkeypatch, variable, named, module, says):
    monkeypatch.setenv(variable, named)
    monkeypatch.setattr("shutil.which", lambda program: program)
    assert says in module.unavailable()


def test_without_node_there_is_no_litert_web(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda program: None)
    assert "`node` is missing" in litert_web.unavailable()


def test_without_tflite_support_there_is_no_task_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite_support", None)
    assert "install keras-inception[task-library]" in task_library.unavailable()


@pytest.mark.tflite_support
def test_the_task_library_is_found_without_importing_it():
    code = (
        "import sys\n"
        "from keras_inception.exporting.clients import task_library\n"
        "print(task_library.unavailable(), {'tensorflow', 'tflite_support', 'libusb_package'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8")
    assert done.stdout == "None set()\n"


def test_a_child_process_gets_additional_environment_variables(monkeypatch):
    monkeypatch.setenv("OURS", "1")
    program = [sys.executable, "-c", "import os, sys; sys.exit(os.environ['OURS'] + os.environ['ITS_OWN'])"]
    with pytest.raises(ChildError, match=r"ended with exit code 1: 12$"):
        run_program(program, {}, "It", {"ITS_OWN": "2"})


def test_the_script_does_not_import_our_module_as_mediapipe(monkeypatch):
    monkeypatch.setenv(mediapipe.VARIABLE, sys.executable)
    with pytest.raises(ChildError, match="ModuleNotFoundError: No module named 'mediapipe'"):
        mediapipe.scores(Path("none.tflite"), np.zeros((1, 8, 8, 3), np.uint8), 3)


@pytest.mark.clients
@pytest.mark.parametrize("name", ["mediapipe", "litert-web"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_real_clients_give_the_interpreters_scores(exported, name, variant):
    assert clients.client(name).unavailable() is None
    path = exported[0] / f"colours_{variant}.tflite"
    images, _ = color_images(17, seed=9)
    expected = TFLiteClassifier(path).predict(images[:50])
    scores = clients.client(name).scores(path, images[:50], len(LABELS))
    assert np.abs(scores - expected).max() <= VARIANTS[variant].client_tolerance  # it is shallow
    assert np.abs(scores[::-1] - expected).max() > VARIANTS[variant].client_tolerance, "scores of other images differ"


@pytest.mark.clients
def test_mediapipe_refuses_a_float_file_with_a_deviation_for_each_channel(exported, tmp_path):
    folder, _ = exported
    path = tmp_path / "model.tflite"
    path.write_bytes(without_archive(folder / "colours_float32.tflite"))
    images, _ = color_images(1, seed=9)
    about = metadata.About(name="x", version="1", description="", author="", license="")
    metadata.write(path, about, DEFAULT.replace(std=(58.0, 57.0, 57.5)), folder / "labels.txt")
    with pytest.raises(ChildError, match="Per-channel image normalization"):
        clients.client("mediapipe").scores(path, images, len(LABELS))
