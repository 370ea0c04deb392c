"""Ctrl-C and SIGTERM end a command with one line, without children and with nothing half-written."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from children import ends

from keras_inception.cli import main
from keras_inception.runs import Run
from keras_inception.training import train
from keras_inception.utils import files

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals between processes")

SIGNALS = [
    pytest.param(signal.SIGINT, 130, "interrupted", id="SIGINT"),
    pytest.param(signal.SIGTERM, 143, "terminated", id="SIGTERM"),
]
ENTRY = "from keras_inception.cli import main; main()"  # as pyproject.toml has it
# Run a command whose work is the code that is inserted.
COMMAND = """
import signal, subprocess, sys, threading, time
signal.signal(signal.SIGINT, signal.{handler})
from pathlib import Path
from keras_inception.cli import commands, console, main, stopping
from keras_inception.runs import Run
from keras_inception.utils import files, subprocesses
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
def app(arguments, prog_name):
{work}
console.app = app
main()
"""
# Run a command, and raise a signal in one of the package's functions, after `count` calls.
PATCHED = """
import signal, sys
from keras_inception.cli import commands, console, main
console.import_tensorflow()
{module}
count, function = {count}, {place}
def patched(*arguments, **options):
    global count
    count -= 1
    if not count:
        signal.raise_signal(signal.{signum})
    return function(*arguments, **options)
{place} = patched
main()
"""


def run(code, *arguments, folder=None) -> subprocess.CompletedProcess:
    """Run code in a new process, in a folder and with temporary files below it."""
    temporary = {"TMPDIR": str(folder / "temporary")} if folder else {}
    if folder:
        (folder / "temporary").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(sys.path), **temporary},
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def command(work, handler="default_int_handler", **options) -> subprocess.CompletedProcess:
    """Run a command whose work is given as lines of code."""
    indented = "".join(f"    {line}\n" for line in work.strip().splitlines())
    return run(COMMAND.format(work=indented, handler=handler), **options)


@pytest.mark.parametrize(("signum", "code", "word"), SIGNALS)
def test_any_command_ends_with_one_line(signum, code, word):
    done = command(f"print('begun', end='')\nsignal.raise_signal({int(signum)})\nprint('went on')")
    assert done.returncode == code
    assert (done.stdout, done.stderr) == ("begun", f"{word}: the command has not finished; run it again\n")


def test_an_ignored_signal_stays_ignored():
    done = command("signal.raise_signal(signal.SIGINT)\nprint('went on')", handler="SIG_IGN")
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


@pytest.mark.parametrize(
    "disturbed",
    [
        pytest.param("import slow", id="an import, which would abort or fail"),
        pytest.param("try: slow()\nexcept BaseException: time.sleep(600)", id="a library that swallows exceptions"),
        pytest.param("stopping.PATIENCE = 0.3\nlock.acquire()", id="a library that does not return"),
    ],
)
def test_what_a_library_is_doing_does_not_matter(disturbed, tmp_path):
    (tmp_path / "slow.py").write_text("import signal\nsignal.raise_signal(signal.SIGTERM)\nprint('went on')")
    work = f"""
sys.path.insert(0, {str(tmp_path)!r})
lock = threading.Lock()
lock.acquire()
def slow(): signal.raise_signal(signal.SIGTERM)
if {"lock" in disturbed}:
    import _thread, os
    subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(0.5); os.kill({{os.getpid()}}, 15)"])
{disturbed}
"""
    done = command(work, folder=tmp_path)
    assert done.returncode == 143
    assert (done.stdout, done.stderr) == ("", "terminated: the command has not finished; run it again\n")


def test_children_and_temporary_files_go_with_the_command(tmp_path):
    work = """
for _ in range(2):
    threading.Thread(target=subprocesses.run_program, args=(SLEEP, {}, "a child"), daemon=True).start()
started = [subprocesses.start(SLEEP)]
while len(started) < 3:
    started = subprocesses.children()
print(*(process.pid for process in started), flush=True)
with files.temporary_folder() as folder, files.new_folder("new") as new, files.replacing("file.txt") as beside:
    (new / "half").write_text("half")
    beside.write_text("half")
    signal.raise_signal(signal.SIGTERM)
"""
    done = command(work, folder=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (143, 1), done.stderr
    assert all(ends(int(pid)) for pid in done.stdout.split())
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]


def test_what_has_not_begun_is_not_said_to_be_kept():
    work = "stopping.when_resumable(lambda: str(Run(Path('no run'))), 'train')\nsignal.raise_signal(signal.SIGTERM)"
    assert command(work).stderr == "terminated: nothing has been written yet; run the command again\n"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    """A recipe of two epochs of a small network."""
    path = tmp_path_factory.mktemp("recipe") / "recipe.json"
    path.write_text(
        '{"network": "network_in_network", "options": {"form": "cifar"}, "size": 32, "epochs": 2, "batch_size": 8, '
        '"precision": "float32"}'
    )
    return path


def test_a_training_says_what_it_keeps_and_what_goes_on(recipe, pictures, tmp_path):
    module, place = "from keras_inception.training import epoch_checkpoints", "epoch_checkpoints.files.sha256"
    code = PATCHED.format(module=module, place=place, count=2, signum="SIGTERM")  # in the middle of a checkpoint
    done = run(code, "train", pictures, "--output", "a run", "--recipe", recipe, folder=tmp_path)
    again = "keras-inception train --resume --output 'a run'"
    assert done.returncode == 143
    assert done.stderr == f"terminated: a run keeps the weights of epoch 1. Go on with: {again}\n"
    assert not list(tmp_path.rglob(f"{files.WRITING}*"))
    resumed = run(ENTRY, *shlex.split(again)[1:], folder=tmp_path)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert [row["epoch"] for row in Run(tmp_path / "a run").metrics] == [1, 2]


def test_an_export_leaves_nothing(recipe, pictures, tmp_path):
    run_path = train(pictures, tmp_path / "run", recipe=recipe, epochs=1, verbose=0).path
    module, place = "from keras_inception.exporting import exporter", "exporter._reference"
    code = PATCHED.format(module=module, place=place, count=1, signum="SIGTERM")  # while children convert
    done = run(code, "export", run_path, "--output", "exported", folder=tmp_path)
    assert (done.returncode, done.stderr) == (143, "terminated: the export is not complete; run it again\n")
    assert not list((tmp_path / "temporary").iterdir())
    assert not (tmp_path / "exported").exists()


def test_training_in_python_installs_no_handlers(recipe, pictures, tmp_path):
    before, seen = signal.getsignal(signal.SIGINT), []
    train(
        pictures,
        tmp_path / "run",
        recipe=recipe,
        epochs=1,
        verbose=0,
        on_scan=lambda done, total: seen.append(signal.getsignal(signal.SIGINT)),
    )
    assert set(seen) == {before}
    assert signal.getsignal(signal.SIGINT) == before


def test_a_command_in_this_process_installs_no_handlers(capsys):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit):
        main(["list"])
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(("signum", "code", "word"), SIGNALS)
@pytest.mark.parametrize("start", [("-m", "keras_inception.cli"), ("-c", ENTRY)], ids=["module", "entry point"])
def test_a_signal_while_the_commands_are_imported_is_one_line(tmp_path, start, signum, code, word):
    (tmp_path / "typer.py").write_text(f"import signal\nsignal.raise_signal({int(signum)})\nprint('went on')")
    before = signal.signal(signum, signal.SIG_DFL)  # a child ignores what these tests were started to ignore
    try:
        done = subprocess.run(
            [sys.executable, *start, "predict", "model.tflite", "cat.jpg"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
    finally:
        signal.signal(signum, before)
    assert done.returncode == code
    assert (done.stdout, done.stderr) == ("", f"{word}: the command has not finished; run it again\n")
