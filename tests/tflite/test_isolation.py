"""Files that crash LiteRT, hang it or fill the memory end in one line, and nothing is left running."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from children import ends
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import keras_inception
from keras_inception.cli import main
from keras_inception.preprocessing import DEFAULT
from keras_inception.tflite import children, isolation, session
from keras_inception.tflite.classifier import TFLiteClassifier, interpreter
from keras_inception.tflite.isolation import IsolatedSession

WRITTEN = Path(__file__).parents[1] / "version_0_1" / "exported"
WHOLE = WRITTEN / "googlenet_int8.tflite"
CRASHING = (18314, 162)  # with this byte in `WHOLE`, LiteRT 2.3 ends with SIGSEGV
WORDS = (b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\1\0\0\0", *(
    struct.pack("<f", number) for number in (float("nan"), float("inf"), -1.0, 1e-45, 3e38)
))  # fmt: skip


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("image") / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def crashing(tmp_path) -> Path:
    """A folder as `export` writes it, of a file that crashes LiteRT."""
    folder = Path(shutil.copytree(WRITTEN, tmp_path / "exported"))
    content = bytearray(WHOLE.read_bytes())
    content[CRASHING[0]] = CRASHING[1]
    (folder / WHOLE.name).write_bytes(content)
    return folder / WHOLE.name


def pixels(path: Path, count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *TFLiteClassifier(path).size, 3), dtype=np.uint8)


def test_a_child_gives_the_same_answers(own_litert):
    here, there = TFLiteClassifier(WHOLE, isolated=False), TFLiteClassifier(WHOLE)
    images = pixels(WHOLE, 11)
    done: list[int] = []
    np.testing.assert_array_equal(there.predict(images, done.append), here.predict(images))
    assert done == list(range(1, 12))
    assert there.described() == here.described()
    plain, alone = session.Session(interpreter(WHOLE)), IsolatedSession(WHOLE)
    assert alone.operations() == plain.operations()
    assert alone.tensors() == plain.tensors()
    assert len(alone.time(3)) == 3
    assert min(alone.time(3)) > 0


def test_the_child_imports_nothing_of_this_package(own_litert):
    modules = "{each.partition('.')[0] for each in sys.modules}"
    code = f"import sys; sys.path[0] = {str(Path(session.__file__).parent)!r}; import session; print({modules})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8")
    assert not {"keras_inception", "tensorflow", "PIL", "filelock"} & eval(done.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "{file}", "{image}"],
        ["evaluate", "{file}", "{images}"],
        ["benchmark", "{file}", "--no-peak"],
        ["benchmark", "{file}"],
        ["page", "{folder}", "--output", "{folder}/site"],
    ],
)
def test_a_crash_is_one_line_that_names_the_file(crashing, image, tmp_path, capfd, arguments):
    for name in ("blau – «Ä»", "red", "green"):
        (tmp_path / "images" / name).mkdir(parents=True)
        shutil.copy(image, tmp_path / "images" / name)
    places = {"file": crashing, "image": image, "images": tmp_path / "images", "folder": crashing.parent}
    with pytest.raises(SystemExit) as stop:
        main([argument.format(**places) for argument in arguments])
    output, errors = capfd.readouterr()
    assert stop.value.code == 1
    assert not output
    assert errors.startswith(f"error: {crashing} ")
    assert errors.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_child_that_dies_is_named_and_started_again(own_litert):
    classifier = TFLiteClassifier(WHOLE)
    images = pixels(WHOLE)
    expected = classifier.predict(images)
    os.kill(classifier._session._child._process.pid, signal.SIGSEGV)
    with pytest.raises(ValueError, match=r"googlenet_int8\.tflite cannot be run: LiteRT crashed on it \(SIGSEGV\)"):
        classifier.predict(images)
    np.testing.assert_array_equal(classifier.predict(images), expected)


def test_an_interrupted_answer_is_not_taken_for_the_next(monkeypatch):
    classifier = TFLiteClassifier(WHOLE)
    images = pixels(WHOLE)
    expected = classifier.predict(images)

    send = session.send

    def interrupted(*arguments):
        send(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(isolation.session, "send", interrupted)
        with pytest.raises(KeyboardInterrupt):
            classifier.predict(images[:1])
    np.testing.assert_array_equal(classifier.predict(images), expected)


def test_a_file_that_takes_too_long_is_stopped(monkeypatch):
    opened = IsolatedSession(WHOLE)
    monkeypatch.setattr(isolation, "SECONDS_AN_IMAGE", 0)
    opened._seconds = 0.5
    with pytest.raises(ValueError, match=r"int8\.tflite cannot be run: it took longer than 0 s"):
        opened.time(10**9)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the memory")
def test_a_file_that_fills_the_memory_is_stopped(monkeypatch):
    monkeypatch.setattr(isolation, "MEMORY", 0)
    monkeypatch.setattr(isolation, "MEMORY_A_BYTE", 0)
    with pytest.raises(
        ValueError, match=r"googlenet_int8\.tflite (cannot be run|is not a TFLite model that can be run)"
    ):
        IsolatedSession(WHOLE)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_child_ends_with_its_parent_even_in_an_inference(tmp_path):
    code = (
        "from keras_inception.tflite.isolation import IsolatedSession\n"
        f"opened = IsolatedSession({str(WHOLE)!r})\n"
        "print(opened._child._process.pid, flush=True)\n"
        "opened.time(10**9)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, encoding="utf-8") as parent:
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.kill()
    assert ends(pid)


def replaced(path: Path, old: bytes, new: bytes) -> Path:
    """Write a copy of `WHOLE` in which some bytes are replaced wherever they are."""
    content = WHOLE.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return path


@pytest.mark.parametrize("scale", ["nan", "inf", "-1", "0", "1e-45", "3e38"])
def test_a_scale_that_is_no_scale_is_refused(tmp_path, image, scale):
    known = IsolatedSession(WHOLE)
    for name, (tensor,) in {"input": known.inputs, "output": known.outputs}.items():
        new = struct.pack("<f", float(scale))
        path = replaced(tmp_path / f"{name}.tflite", struct.pack("<f", tensor["scale"]), new)
        answer_or_line(path, image)
        if scale in ("nan", "inf", "-1"):
            with pytest.raises(ValueError, match=rf"{name}\.tflite "):
                TFLiteClassifier(path, preprocessing=DEFAULT)


@pytest.mark.parametrize("size", [0, -1, 2**13 + 1, 2**20, 2**31 - 1])
def test_an_input_of_any_size_is_refused(tmp_path, image, size):
    shape = IsolatedSession(WHOLE).inputs[0]["shape"]
    new = struct.pack("<4i", shape[0], size, size, shape[3])
    answer_or_line(replaced(tmp_path / "sized.tflite", struct.pack("<4i", *shape), new), image)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "packed",
    [
        "[" * 100_000,
        '{"mean": ' + "9" * 5000 + "}",
        '{"mean": "' + "x" * 9999 + '"}',
        '{"mean": [1e308, 1e308, 1e308]}',
        '{"std": [1e-300, 1e-300, 1e-300]}',
        '{"size": [1000000000, 1000000000]}',
        '{"fitting": "\\n\\u001b[2J"}',
        "\0",
    ],
    ids=range(8),
)
def test_any_packed_preprocessing_gives_an_answer_or_a_line(tmp_path, image, packed):
    path = tmp_path / "packed.tflite"
    with zipfile.ZipFile(WHOLE) as archive:
        start = min(each.header_offset for each in archive.infolist())
    path.write_bytes(WHOLE.read_bytes()[:start])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("preprocessing.json", packed)
    answer_or_line(path, image)


def test_scores_that_are_no_numbers_are_refused():
    whole = WRITTEN / "googlenet_float32.tflite"
    classifier = TFLiteClassifier(whole, preprocessing=DEFAULT.replace(std=(1e-300,) * 3))
    with pytest.raises(ValueError, match=r"googlenet_float32\.tflite gives NaN or infinity in place of probabilities"):
        classifier.predict(pixels(WHOLE))


def answer_or_line(path: Path, image: Path) -> None:
    """Require an answer, or one line that names the file."""
    refused = ""
    try:
        (prediction,) = keras_inception.predict(path, [image])
    except ValueError as error:
        refused = str(error)
    if refused:
        assert str(path) in refused
        assert len(refused.splitlines()) == 1
        assert len(refused) < len(str(path)) + 1000
    else:
        assert all(-0.03 < guess.probability < 1.03 for guess in prediction.top)


edits = st.lists(
    st.tuples(st.integers(0, WHOLE.stat().st_size - 4), st.binary(min_size=1, max_size=1) | st.sampled_from(WORDS)),
    min_size=1,
    max_size=4,
)
many = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def check(folder: Path, image: Path, changes: list[tuple[int, bytes]]) -> None:
    content = bytearray(WHOLE.read_bytes())
    for position, new in changes:
        content[position : position + len(new)] = new
    path = folder / "changed.tflite"
    path.write_bytes(content)
    answer_or_line(path, image)


@given(changes=edits)
@settings(many, max_examples=200)
def test_changed_files_give_an_answer_or_a_line(tmp_path, image, changes):
    check(tmp_path, image, changes)


@pytest.mark.slow
@given(changes=edits)
@settings(many, max_examples=10_000)
def test_many_changed_files_give_an_answer_or_a_line(tmp_path, image, changes):
    check(tmp_path, image, changes)


AHEAD = """
import sys
from keras_inception.tflite import children, isolation
started = []
def start(*arguments, original=children.subprocesses.start, **options):
    started.append(original(*arguments, **options))
    return started[-1]
children.subprocesses.start = start
from keras_inception.cli import main
sys.argv[1:] = {arguments}
try: main()
except SystemExit: pass
finally: print([each.pid for each in started])
"""


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["predict", str(WHOLE), "{image}"], 1),
        (["predict", str(WHOLE)], 1),  # wrong usage
        (["predict", "nowhere.tflite", "{image}"], 0),
        (["predict", str(WRITTEN), "{image}"], 1),
        (["recipes", str(WHOLE)], 0),
    ],
)
def test_a_command_starts_one_child_and_leaves_none(image, arguments, count):
    words = [each.format(image=image) for each in arguments]
    code = AHEAD.format(arguments=words)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    started = eval(done.stdout.splitlines()[-1])
    assert len(started) == count
    assert all(map(ends, started))
    assert ("noise.png: " in done.stdout) == (bool(count) and len(arguments) > 2)


def test_a_child_is_started_before_anything_heavy_is_imported():
    code = (
        "import sys\n"
        "from keras_inception.tflite import children\n"
        "children.start_ahead()\n"
        "print({'numpy', 'typer', 'PIL'} & set(sys.modules))\n"
        "process, = children._ahead\n"
        "assert children.start() is process\n"
        "assert not children._ahead\n"
        "process.kill()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8")
    assert done.stdout == "set()\n"


def test_a_child_that_was_started_ahead_has_the_limits_of_any_other(monkeypatch, own_litert):
    children.start_ahead()
    (process,) = children._ahead
    monkeypatch.setattr(isolation, "MEMORY", 0)
    monkeypatch.setattr(isolation, "MEMORY_A_BYTE", 0)
    if sys.platform != "linux":
        process.kill()
    with pytest.raises(ValueError, match=r"cannot be run|is not a TFLite model that can be run"):
        IsolatedSession(WHOLE)
    assert process.poll() is not None
