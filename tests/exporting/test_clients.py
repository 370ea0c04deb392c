"""What clients make of files, and what `export` makes of that."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from colours import LABELS, colour_pictures, without_archive

import keras_inception
from keras_inception.exporting import clients, exporter
from keras_inception.exporting.clients import litert_web, mediapipe, task_library
from keras_inception.exporting.model_card import model_card
from keras_inception.exporting.variants import VARIANTS
from keras_inception.exporting.verify import CLIENT_TOLERANCE, Reference, client_problems, verify
from keras_inception.preprocessing import DEFAULT
from keras_inception.tflite import metadata
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.utils import files
from keras_inception.utils.subprocesses import ChildError, run_program


class Fake:
    """A client that is `missing`, refuses files for a `reason`, or says `wrong` more than LiteRT."""

    def __init__(self, *, missing=None, reason=None, wrong=0.0):
        self._missing, self._reason, self._wrong = missing, reason, wrong
        self.asked = 0

    def unavailable(self):
        return self._missing

    def scores(self, path, pictures, classes):
        self.asked = len(pictures)
        if self._reason:
            raise ChildError(f"it ended with exit code 1: INFO: loading / {self._reason}")
        probabilities = TFLiteClassifier(path).predict(pictures)
        assert probabilities.shape == (len(pictures), classes)
        return probabilities + self._wrong


@pytest.fixture
def put(monkeypatch):
    """Puts a client in the place of another; the rest are missing."""

    def put(**fakes: Fake) -> None:
        named = {name: fakes.get(name.replace("-", "_"), Fake(missing="it is not here")) for name in clients.CLIENTS}
        monkeypatch.setattr("keras_inception.exporting.verify.client", named.__getitem__)
        monkeypatch.setattr(clients, "client", named.__getitem__)

    return put


@pytest.fixture
def verified(exported):
    """The row of the float32 file, which is held against itself."""
    path = exported[0] / "colours_float32.tflite"
    pictures, truth = colour_pictures(30, seed=3)
    reference = Reference(pictures, TFLiteClassifier(path).predict(pictures), truth)
    return lambda **asked: verify(path, "float32", DEFAULT, reference, min_agreement=0.99, threads=1, **asked)


def test_every_client_has_what_a_client_has():
    for name in clients.CLIENTS:
        module = clients.client(name)
        assert callable(module.scores)
        assert module.unavailable() is None or isinstance(module.unavailable(), str)


def test_scores_are_compared_on_fifty_pictures(verified, put):
    fake = Fake(wrong=4e-6)
    put(mediapipe=fake)
    row = verified()
    assert "refused" not in row
    assert row["clients"]["mediapipe"]["max_difference"] == pytest.approx(4e-6, rel=0.1)
    assert row["clients"]["litert-web"] == {"reason": "it is not here"}
    assert fake.asked == 50


@pytest.mark.parametrize("asked", [{}, {"clients": ["mediapipe"]}])
def test_a_client_that_says_something_else_refuses_the_file(verified, put, asked):
    put(mediapipe=Fake(wrong=0.001))
    assert verified(**asked)["refused"] == "mediapipe's scores are up to 0.001 from the interpreter's, over 1e-05"


def test_scores_that_are_not_numbers_refuse_the_file():
    (problem,) = client_problems({"mediapipe": {"max_difference": float("nan")}}, 0.01, asked=False)
    assert problem.startswith("mediapipe's scores")


def test_what_a_client_does_not_take_is_refused_if_that_client_was_asked_for(verified, put):
    put(task_library=Fake(reason="ValueError: no such operation"))
    row = verified()
    assert "refused" not in row
    assert row["clients"]["task-library"] == {"reason": "ValueError: no such operation"}
    row = verified(clients=["task-library"])
    assert row["refused"] == "task-library does not take it: ValueError: no such operation"
    assert list(row["clients"]) == ["task-library"]


def test_the_card_shows_differences_and_what_was_not_taken(exported):
    report = files.read_json(exported[0] / "report.json")
    report["variants"]["int8"]["clients"] = {"task-library": {"max_difference": 0.0039}}
    report["variants"]["dynamic"]["clients"] = {"task-library": {"reason": "no such operation"}}
    report["variants"] = {variant: report["variants"][variant] for variant in ("int8", "dynamic")}
    about = metadata.About(name="x", version="1", description="", author="", license="")
    card = model_card(about, LABELS, DEFAULT, report, "keras-inception export")
    assert "| variant | task-library |\n|---|---|\n| int8 | 0.004 |\n| dynamic | not taken |\n" in card


def test_no_client_can_be_asked_for(verified, put):
    fake = Fake(wrong=0.5)
    put(mediapipe=fake)
    assert verified(clients=())["clients"] == {}
    assert fake.asked == 0


def test_a_client_that_is_asked_for_and_missing_is_an_error_before_any_work(run, tmp_path, put, monkeypatch):
    put()
    monkeypatch.setattr(exporter, "open_source", None)
    with pytest.raises(ValueError, match=r"`clients` must be installed\. Received: 'litert-web', but it is not here"):
        keras_inception.export(run, tmp_path / "new", clients=["litert-web"])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("variable", "named", "module", "says"),
    [
        (mediapipe.VARIABLE, "", mediapipe, "names no environment: python -m venv ENV"),
        (mediapipe.VARIABLE, "no/such/python", mediapipe, "must name an environment or its Python. Received: no/such"),
        (mediapipe.VARIABLE, sys.executable, mediapipe, "has no mediapipe: pip install mediapipe=="),
        (litert_web.VARIABLE, "", litert_web, "names no folder: set it to the one that this prints"),
        (litert_web.VARIABLE, "no/such/folder", litert_web, "that has @litertjs/core. Received: no/such/folder"),
    ],
)
def test_what_is_missing_says_how_to_get_it(monkeypatch, variable, named, module, says):
    monkeypatch.setenv(variable, named)
    monkeypatch.setattr("shutil.which", lambda program: program)
    assert says in module.unavailable()


def test_without_node_there_is_no_litert_web(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda program: None)
    assert "there is no `node`" in litert_web.unavailable()


def test_without_tflite_support_there_is_no_task_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite_support", None)
    assert "install keras-inception[task-library]" in task_library.unavailable()


@pytest.mark.tflite_support
def test_the_task_library_is_found_without_an_import():
    code = (
        "import sys\n"
        "from keras_inception.exporting.clients import task_library\n"
        "print(task_library.unavailable(), {'tensorflow', 'tflite_support', 'libusb_package'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8")
    assert done.stdout == "None set()\n"


def test_a_process_gets_variables_besides_ours(monkeypatch):
    monkeypatch.setenv("OURS", "1")
    program = [sys.executable, "-c", "import os, sys; sys.exit(os.environ['OURS'] + os.environ['ITS_OWN'])"]
    with pytest.raises(ChildError, match=r"ended with exit code 1: 12$"):
        run_program(program, {}, "It", {"ITS_OWN": "2"})


def test_the_script_does_not_take_our_module_beside_it_for_mediapipe(monkeypatch):
    monkeypatch.setenv(mediapipe.VARIABLE, sys.executable)
    with pytest.raises(ChildError, match="ModuleNotFoundError: No module named 'mediapipe'"):
        mediapipe.scores(Path("none.tflite"), np.zeros((1, 8, 8, 3), np.uint8), 3)


@pytest.mark.clients
@pytest.mark.parametrize("name", ["mediapipe", "litert-web"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_real_ones_give_the_interpreters_scores(exported, name, variant):
    assert clients.client(name).unavailable() is None
    path = exported[0] / f"colours_{variant}.tflite"
    pictures, _ = colour_pictures(17, seed=9)
    expected = TFLiteClassifier(path).predict(pictures[:50])
    scores = clients.client(name).scores(path, pictures[:50], len(LABELS))
    assert np.abs(scores - expected).max() <= CLIENT_TOLERANCE[variant]
    assert np.abs(scores[::-1] - expected).max() > CLIENT_TOLERANCE[variant], "of other pictures it is told apart"


@pytest.mark.clients
def test_mediapipe_refuses_a_float_file_whose_channels_are_normalised_differently(exported, tmp_path):
    folder, _ = exported
    path = tmp_path / "model.tflite"
    path.write_bytes(without_archive(folder / "colours_float32.tflite"))
    pictures, _ = colour_pictures(1, seed=9)
    about = metadata.About(name="x", version="1", description="", author="", license="")
    metadata.write(path, about, DEFAULT.replace(std=(58.0, 57.0, 57.5)), folder / "labels.txt")
    with pytest.raises(ChildError, match="Per-channel image normalization"):
        clients.client("mediapipe").scores(path, pictures, len(LABELS))
