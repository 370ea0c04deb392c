"""The command line: what it prints, and what it says of a user's mistakes."""

import subprocess
import sys

import pytest

from keras_inception.cli import main


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "keras_inception.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def failure(capsys, *arguments: str) -> tuple[int, str]:
    """Exit code and standard error of a command that must fail."""
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, arguments)))
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize("command", [(), ("train",), ("evaluate",), ("predict",), ("export",), ("demo",)])
def test_help_imports_nothing_heavy(command):
    code = (
        "import sys\n"
        "from keras_inception.cli import main\n"
        f"try: main({[*command, '--help']!r})\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'tensorflow', 'keras', 'PIL', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: keras-inception" in done.stdout


def test_wrong_usage_is_exit_code_2(capsys):
    code, message = failure(capsys, "train", "--epochs", "many")
    assert code == 2
    assert "many" in message


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train"], "PICTURES is missing"),
        (["train", "--resume", "pictures"], "give neither"),
        (["train", "no/such/folder", "--output", "{tmp}/run"], "no/such/folder"),
        (["train", "{tmp}", "--output", "{tmp}/run"], "class"),
        (["train", "{tmp}", "--output", "{tmp}"], "exists"),
        (["train", "{tmp}", "--output", "{tmp}/run", "--recipe", "smal"], "`recipe` must be one of default, small"),
        (["train", "{tmp}", "--output", "{tmp}/run", "--epochs", "0"], "`epochs` must be from 1"),
        (["train", "--resume", "--output", "{tmp}"], "is not a run directory"),
        (["evaluate", "no/such/run"], "no/such/run"),
        (["evaluate", "{tmp}"], "is not a run directory"),
        (["evaluate", "{tmp}/text.tflite", "{tmp}"], "text.tflite"),
        (["predict", "{tmp}/text.tflite", "{tmp}/text.tflite"], "text.tflite"),
        (["predict", "no/such/run", "no-such.png"], "no-such.png"),
        (["export"], "name either a run directory"),
        (["export", "no/such/run"], "no/such/run"),
        (["export", "--model", "GoogLeNut"], "Did you mean GoogLeNet?"),
        (["export", "{tmp}", "--weights", "file"], "--weights goes with --model"),
        (["export", "{tmp}", "--quantize", "int4"], "int4"),
    ],
)
def test_a_mistake_is_one_clear_line(arguments, says, tmp_path, capfd):
    (tmp_path / "text.tflite").write_text("this is not a model")
    code, message = failure(capfd, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert code == 1
    assert says in message
    assert message.startswith("error: ")
    assert message.count("\n") == 1, "one line, without TensorFlow's noise"


def test_a_mistake_in_a_process_of_its_own_shows_no_traceback(tmp_path):
    done = run("evaluate", str(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
