"""The command line: what it prints, and what it says of a user's mistakes."""

import json
import subprocess
import sys
from pathlib import Path

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
    assert "--epochs" in message


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


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):
    """A run directory made by the command, of a GoogLeNet for pictures of 32 px."""
    folder = tmp_path_factory.mktemp("commands")
    recipe = {"size": 32, "crop": 1.0, "auxiliary": False, "batch_size": 8, "warmup_epochs": 1.0, "ema": 0.5}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    options = ["--recipe", folder / "recipe.json", "--epochs", 6, "--learning-rate", 3e-3, "--precision", "float32"]
    command("train", pictures, "--output", folder / "run", *options)
    return folder / "run"


def command(*arguments) -> None:
    """Run a command that must succeed."""
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, arguments)))
    assert not stop.value.code


def test_evaluate_reads_the_held_out_pictures_of_a_run(trained, pictures, tmp_path, capsys):
    command("evaluate", trained, "--json", "--confusion", tmp_path / "confusion.png")
    result = json.loads(capsys.readouterr().out)
    assert result["count"] == 12
    assert result["top5"] == 1.0
    assert (tmp_path / "confusion.png").stat().st_size > 1000

    command("evaluate", trained, pictures / "test")
    table = capsys.readouterr().out
    assert f"12 pictures: top-1 {result['top1']:.1%}" in table
    assert all(label in table for label in ("blue", "green", "red"))


def test_predict_names_the_likeliest_classes(trained, pictures, capsys):
    image = pictures / "test" / "red" / "0.png"
    command("predict", trained, image, "--json")
    (result,) = json.loads(capsys.readouterr().out)
    assert result["path"] == str(image)
    assert {guess["label"] for guess in result["top"]} == {"blue", "green", "red"}
    assert sum(guess["probability"] for guess in result["top"]) == pytest.approx(1, abs=1e-3)

    command("predict", trained, image, "--top", 1)
    assert capsys.readouterr().out.startswith(f"{image}: {result['top'][0]['label']} ")


def test_export_then_the_file_in_place_of_the_run(trained, pictures, tmp_path, capsys):
    folder = tmp_path / "exported"
    command("export", trained, "--output", folder, "--quantize", "float32", "--name", "colours", "--json")
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((folder / "report.json").read_text())
    assert report["variants"]["float32"]["agreement"] == 1.0
    assert report["variants"]["float32"]["outside_delegate"] == []

    file = folder / "colours_float32.tflite"
    command("evaluate", file, pictures / "test", "--json")
    assert json.loads(capsys.readouterr().out)["top1"] == report["variants"]["float32"]["top1"]
    command("predict", file, folder / "sample.png", "--json")
    (result,) = json.loads(capsys.readouterr().out)
    expected = json.loads((folder / "sample.json").read_text())["top5"]["float32"]
    assert [guess["label"] for guess in result["top"]] == [guess["label"] for guess in expected]


def test_a_refused_variant_is_exit_code_1(trained, tmp_path, capsys):
    folder = tmp_path / "exported"
    code, message = failure(
        capsys, "export", trained, "--output", folder, "--quantize", "float32", "--min-agreement", 1.01
    )
    assert code == 1
    assert "error: float32 was not exported: it agrees with Keras on 100.0%" in message
    assert not list(folder.glob("*.tflite"))


def test_the_script_is_the_same_command(trained, tmp_path):
    script = Path(__file__).parents[1] / "export" / "to_tflite.py"
    done = subprocess.run(
        [sys.executable, script, trained, "--quantize", "float33"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: `quantize` must be some of float32, float16, dynamic, int8.")
