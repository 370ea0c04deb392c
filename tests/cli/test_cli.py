"""The command line: what it prints, and how it reports mistakes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from google.protobuf.internal import api_implementation

import keras_inception
from keras_inception import demo
from keras_inception.cli import console, main
from keras_inception.cli.commands import app
from keras_inception.compression.compress import CompressionReport
from keras_inception.compression.job import Job
from keras_inception.evaluation.evaluator import evaluate
from keras_inception.evaluation.prediction import predict
from keras_inception.exporting import rewrites
from keras_inception.registry import NETWORKS
from keras_inception.runs import Run
from keras_inception.training import RECIPES, named_recipe


def run_in_new_process(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "keras_inception.cli", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def command(*arguments) -> None:
    """Run a command that must succeed."""
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, arguments)))
    assert not stop.value.code


def failure(capsys, *arguments) -> tuple[int, str]:
    """Run a command that must fail, and return its exit code and standard error."""
    code, output = failure_with_output(capsys, *arguments)
    return code, output.err


def failure_with_output(capsys, *arguments):
    """Run a command that must fail, and return its exit code and what it printed."""
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, arguments)))
    assert stop.value.code
    return stop.value.code, capsys.readouterr()


@pytest.mark.parametrize("arguments", [(), *((name,) for name in typer.main.get_command(app).commands)])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from keras_inception.cli import main\n"
        f"try: main({[*arguments, '--help']!r})\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'tensorflow', 'keras', 'PIL', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: keras-inception" in done.stdout


def test_wrong_usage_has_exit_code_2(capsys):
    code, message = failure(capsys, "train", "--epochs", "many")
    assert code == 2
    assert "--epochs" in message


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train"], "IMAGES is missing"),
        (["train", "--resume", "--network", "googlenet"], "give neither"),
        (["train", "no/such/folder", "--output", "{tmp}/run"], "no/such/folder"),
        (["train", "{tmp}", "--output", "{tmp}/run"], "class"),
        (["train", "{tmp}/labels.csv", "--output", "{tmp}/run"], "a column of paths, named path, file, "),
        (["train", "{tmp}", "--output", "{tmp}/run", "--pictures", "{tmp}"], "is for a table of labels"),
        (["train", "--resume", "--columns", "id,dx"], "give neither"),
        (["train", "{tmp}", "--output", "{tmp}"], "exists"),
        (["train", "{tmp}", "--output", "{tmp}/run", "--recipe", "smal"], "`recipe` must be one of default, small"),
        (["train", "{tmp}", "--output", "{tmp}/run", "--epochs", "0"], "`epochs` must be from 1"),
        (["train", "{tmp}", "--output", "{tmp}/run", "--set", "epoch=3"], "Did you mean epochs?"),
        (["train", "{tmp}", "--output", "{tmp}/run", "--set", "epochs"], "--set takes FIELD=VALUE. Received: epochs"),
        (["train", "{tmp}", "--output", "{tmp}/run", "--network", "googlenut"], "Did you mean GoogLeNet?"),
        (["train", "{tmp}", "--output", "{tmp}/run", "--distribute", "mirored"], "Did you mean mirrored?"),
        (["train", "{tmp}", "--output", "{tmp}/run", "--worker-id", "1"], "require `distribute='multiworker'`"),
        (["train", "--resume", "--set", "epochs=3"], "give neither"),
        (["train", "--resume", "--recipe", "small"], "give neither"),
        (["train", "{tmp}", "--output", "{tmp}/run", "--size", "64x"], "or HEIGHTxWIDTH: 64x192. Received: '64x'"),
        (["train", "{tmp}", "--output", "{tmp}/run", "--fitting", "padd"], "Did you mean pad?"),
        (["train", "{tmp}", "--output", "{tmp}/run", "--model", "googlenut"], "Did you mean GoogLeNet?"),
        (["train", "{tmp}", "--output", "{tmp}/run", "--lr", "-1"], "`learning_rate` must be from 0"),
        (["train", "{tmp}", "--output", "{tmp}/run", "--weights", "no/such/file"], "no/such/file"),
        (["train", "{tmp}", "--output", "{tmp}/run", "--set", "lr=1"], "Did you mean learning_rate?"),
        (["train", "--resume", "--validation", "0.2"], "give neither"),
        (["recipes", "googlenet2014"], "Did you mean googlenet-2014?"),
        (["train", "--resume", "--output", "{tmp}"], "is not a run directory"),
        (["evaluate", "no/such/run"], "no/such/run"),
        (["evaluate", "{tmp}"], "is not a run directory"),
        (
            ["evaluate", "{tmp}/text.tflite", "{tmp}"],
            "text.tflite is not a network that can be run: it is of an unknown",
        ),
        (["evaluate", "{tmp}/there.keras", "{tmp}"], "it is empty. Give a run directory, a .tflite file, a .keras"),
        (
            ["predict", "{tmp}/weights.pth", "{tmp}/own.py"],
            "holds weights alone, and the network is missing: give a run",
        ),
        (["page", "{tmp}/text.tflite"], "must be a folder that `export` wrote. To make one: keras-inception export"),
        (["evaluate", "{tmp}", "--crops", "5"], "`crops` must be one of 1, 10, 12, 144. Received: crops=5"),
        (["predict", "{tmp}/text.tflite", "{tmp}/text.tflite"], "Give a run directory, a .tflite file, a .keras"),
        (["predict", "no/such/run", "no-such.png"], "no/such/run"),
        (["export"], "name either a run directory"),
        (["export", "no/such/run"], "no/such/run"),
        (["export", "--model", "GoogLeNut"], "Did you mean GoogLeNet?"),
        (["export", "{tmp}", "--weights", "file"], "--weights requires --model"),
        (["export", "{tmp}", "--quantize", "int4"], "int4"),
        (["export", "{tmp}", "--client", "task-libary"], "Did you mean task-library?"),
        (["export", "{tmp}/there.keras", "--calibration", "{tmp}/text.tflite"], "text.tflite, which is neither"),
        (
            ["export", "{tmp}", "--not-sure", "60"],
            "`not_sure` must be a probability between 0 and 1. Received: not_sure=60",
        ),
        (["export", "{tmp}", "--rewrites", "stem"], "`rewrites` must be a list of some of space_to_depth_stem"),
        (["compress", "--prune", "0.5"], "RUN is missing"),
        (["compress", "{tmp}", "--output", "{tmp}/small"], "there is nothing to do"),
        (["compress", "{tmp}", "--output", "{tmp}/small", "--quantize"], "is not a run directory"),
        (["compress", "{tmp}/text.tflite", "--output", "{tmp}/small", "--quantize"], "is an exported file"),
        (["compress", "{tmp}", "--output", "{tmp}/small", "--prune", "half"], "--prune must be a number"),
        (["compress", "{tmp}", "--output", "{tmp}/small", "--macs", "0.5", "--mb", "2"], "give one of macs, latency"),
        (["compress", "{tmp}", "--resume", "--quantize"], "give neither"),
        (["compress", "--resume", "--output", "{tmp}", "--data", "{tmp}"], "was not made by `compress`"),
        (["compress", "{tmp}/there.keras", "--quantize"], "`data` must be given for a model"),
        (["compress", "{tmp}/there.keras", "--quantize", "--labels", "nowhere.txt"], "must be given with `data`"),
        (["compress", "--resume", "--output", "{tmp}"], "was not made by `compress`"),
        (["benchmark", "no-such.tflite", "--no-peak"], "no-such.tflite"),
        (
            ["benchmark", "{tmp}/text.tflite", "--no-peak"],
            "text.tflite is not a TFLite model that can be run: it is of",
        ),
        (["export", "{tmp}", "--quantize", "float16", "--keep-float", "conv1"], "`keep_float` requires int8"),
        (["export", "{tmp}", "--quantize", "float16", "--layer-errors"], "`layer_errors` requires int8"),
        (["export", "{tmp}/text.tflite"], "is of an unknown format, or damaged. Accepted: a run directory, a .keras"),
        (["export", "{tmp}/there.keras"], "there.keras is not a Keras file that can be opened: it is empty"),
        (["export", "no.h5"], "there is no run directory, .keras or .h5 file, or SavedModel folder at no.h5"),
        (["export", "{tmp}/weights.pth"], "holds weights alone, and the network is missing"),
        (["export", "{tmp}", "--custom-objects", "text.txt"], "`custom_objects` must be a Python file, FILE.py"),
        (["export", "--model", "GoogLeNet", "--custom-objects", "{tmp}/own.py"], "requires a model file as the source"),
        (["predict", "{tmp}/text.tflite", "{tmp}/text.tflite", "--custom-objects", "no.py"], "no.py, which does not"),
        (["evaluate", "{tmp}/text.tflite", "{tmp}", "--custom-objects", "no.py"], "no.py, which does not exist"),
        (["compress", "--resume", "--output", "{tmp}", "--custom-objects", "no.py"], "no.py, which does not exist"),
        (["cost", "googlenet", "--custom-objects", "no.py"], "--custom-objects requires a file"),
        (["cost", "{tmp}/there.keras", "--custom-objects", "no.py"], "no.py, which does not exist"),
        (["cost", "googlenut"], "Did you mean GoogLeNet?"),
        (
            ["cost", "no/such/run"],
            "there is no run directory, .keras or .h5 file, or SavedModel folder at no/such/run",
        ),
        (["cost", "no-such.keras"], "no-such.keras"),
        (["cost", "{tmp}"], "is not a run directory"),
        (["cost", "{tmp}/text.tflite"], "text.tflite is not a Keras file"),
        (["cost", "{tmp}", "--classes", "5"], "--classes requires the name of a network"),
        (["cost", "googlenet", "--size", "16"], "`input_shape` must be at least 32 on each side"),
        (["cost", "googlenet", "--size", "32", "--budget", "-1"], "`budget` must be a positive number"),
        (
            ["cost", "googlenet", "--size", "32", "--by", "module"],
            "Did you mean modules?",
        ),
        (["convert-weights", "no/such.pth", "{tmp}/out.keras"], "no/such.pth: No such file"),
        (["convert-weights", "{tmp}/text.tflite", "{tmp}/out.keras"], "text.tflite"),
        (["convert-weights", "{tmp}", "{tmp}/out.keras"], "is not a run directory"),
        (["convert-weights", "weights.pth", "out.h5"], "must end in .keras or .safetensors. Received: 'out.h5'"),
        (["convert-weights", "weights.pth", "{tmp}/there.keras"], "there.keras exists: replace it with"),
        (["convert-weights", "imagenet", "{tmp}/out.keras"], "`model` must name the network"),
        (["convert-weights", "imagenet", "{tmp}/out.keras", "--model", "plain34"], "no ImageNet weights of plain34"),
    ],
)
def test_a_mistake_prints_one_line(arguments, says, tmp_path, capfd):
    (tmp_path / "text.tflite").write_text("this is not a model")
    (tmp_path / "there.keras").touch()
    (tmp_path / "weights.pth").write_bytes(b"\x80\x02")
    (tmp_path / "own.py").touch()
    (tmp_path / "labels.csv").touch()
    code, message = failure(capfd, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert code == 1
    assert says in message
    assert message.startswith("error: ")
    assert message.count("\n") == 1, "nothing from TensorFlow"


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "nowhere"],
        ["train", "{tmp}/labels.csv", "--columns", "id,dx"],
        ["train", "{tmp}/labels.csv", "--group", "("],
        ["train", "{tmp}/labels.csv", "--exclude", "nowhere.csv"],
        ["train", "{tmp}/labels.csv", "--exclude", "{tmp}/text.tflite"],
        ["evaluate", "{tmp}/text.tflite", "{tmp}/labels.csv", "--columns", "id,dx"],
        ["train", "{tmp}", "--set", "weights=nowhere.pth"],
        ["train", "--resume", "--output", "nowhere"],
        ["evaluate", "nowhere"],
        ["evaluate", "{tmp}/text.tflite"],
        ["evaluate", "{tmp}/text.tflite", "nowhere"],
        ["evaluate", "{tmp}/text.tflite", "{tmp}", "--ensemble", "nowhere"],
        ["evaluate", "{tmp}/text.tflite", "{tmp}", "--confusion", "nowhere/confusion.png"],
        ["report", "nowhere"],
        ["report", "{tmp}"],
        ["predict", "nowhere", "{tmp}/picture.png"],
        ["evaluate", "{tmp}/text.tflite", "{tmp}", "--labels", "nowhere.txt"],
        ["predict", "{tmp}/text.tflite", "nowhere.png"],
        ["predict", "{tmp}/text.tflite", "{tmp}/picture.png", "--preprocessing", "nowhere.json"],
        ["export", "nowhere.keras"],
        ["export", "{tmp}/there.keras", "--calibration", "nowhere"],
        ["export", "{tmp}/there.keras", "--calibration", "{tmp}/text.tflite"],
        ["export", "{tmp}/there.keras", "--test", "nowhere"],
        ["export", "{tmp}/there.keras", "--labels", "nowhere.txt"],
        ["export", "{tmp}/there.keras", "--preprocessing", "nowhere.json"],
        ["export", "{tmp}/there.keras", "--quantize", "int4"],
        ["export", "{tmp}/there.keras", "--int8-input", "int16"],
        ["export", "{tmp}/there.keras", "--verify-pictures", "some"],
        ["export", "{tmp}/there.keras", "--verify-pictures", "0"],
        ["export", "{tmp}/there.keras", "--litert-sample", "--client", "task-libary"],
        ["export", "--model", "GoogLeNet", "--weights", "nowhere.pth"],
        ["compress", "nowhere", "--quantize"],
        ["compress", "{tmp}", "--prune", "2"],
        ["compress", "--resume", "--output", "nowhere"],
        ["compress", "{tmp}/there.keras", "--quantize"],
        ["compress", "{tmp}/there.keras", "--quantize", "--data", "nowhere"],
        ["compress", "{tmp}/there.keras", "--quantize", "--data", "{tmp}", "--labels", "nowhere.txt"],
        ["compress", "{tmp}/there.keras", "--quantize", "--data", "{tmp}", "--preprocessing", "nowhere.json"],
        ["compress", "{tmp}/there.keras", "--quantize", "--data", "{tmp}", "--validation", "2"],
        ["benchmark", "nowhere.tflite"],
        ["page", "nowhere"],
        ["cost", "nowhere.keras"],
        ["cost", "googlenet", "--by", "weeks"],
        ["cost", "googlenet", "--plot", "nowhere/plot.png"],
        ["shard", "nowhere", "{tmp}/shards"],
        ["shard", "{tmp}/labels.csv", "{tmp}/shards", "--columns", "id,dx"],
        ["shard", "{tmp}", "{tmp}/shards", "--shards", "0"],
        ["convert-weights", "nowhere.pth", "{tmp}/out.keras"],
        ["convert-weights", "imagenet", "{tmp}/out.keras", "--model", "googlenut"],
    ],
)
def test_a_mistake_is_reported_before_tensorflow_is_imported(arguments, tmp_path, pictures, capsys, monkeypatch):
    (tmp_path / "text.tflite").write_text("1234TFL3 this is not a model")
    (tmp_path / "there.keras").write_text("neither is this")
    (tmp_path / "labels.csv").write_text("path,label\n1.png,cat\n")
    shutil.copy(pictures / "test" / "red" / "0.png", tmp_path / "picture.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "import_tensorflow", lambda: pytest.fail("TensorFlow would be imported"))
    code, message = failure(capsys, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert code == 1
    assert message.startswith("error: ")


def test_without_modules_blocks_imports():
    code = """
import sys
from keras_inception.utils.quiet import without_modules
with without_modules(["json", "colorsys"]):
    import json
    try:
        import colorsys
    except ImportError:
        print("not imported")
import colorsys
"""
    done = subprocess.run(
        [sys.executable, "-c", "import json" + code], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout == "not imported\n"


def test_warning_about_a_pure_python_protobuf(capsys, monkeypatch):
    monkeypatch.setattr(api_implementation, "Type", lambda: "upb")
    console.warn_of_slow_protobuf()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(api_implementation, "Type", lambda: "python")
    console.warn_of_slow_protobuf()
    assert "pip install" in capsys.readouterr().err


def test_a_mistake_in_a_new_process_prints_no_traceback(tmp_path):
    done = run_in_new_process("evaluate", str(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):
    """Run directory of a small network for images of 32 px, made by the command."""
    folder = tmp_path_factory.mktemp("commands")
    network = {"network": "network_in_network", "options": {"form": "cifar"}}
    recipe = {**network, "size": 32, "crop": 1.0, "batch_size": 8, "warmup_epochs": 1.0, "ema": 0.5}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    options = ["--recipe", folder / "recipe.json", "--epochs", 6, "--learning-rate", 1e-3, "--precision", "float32"]
    command("train", pictures, "--output", folder / "run", *options)
    return folder / "run"


def test_patience_ends_a_training_and_says_so(trained, pictures, tmp_path, capsys):
    unchanging = ["--learning-rate", 0, "--set", "weight_decay=0", "--set", "ema=0", "--precision", "float32"]
    options = ["--recipe", trained.parent / "recipe.json", *unchanging, "--epochs", 9]
    command("train", pictures, "--output", tmp_path / "run", *options, "--patience", 1)
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["early_stopping"] == 1
    said = capsys.readouterr().out.splitlines()
    at = said.index(f"Run: {tmp_path / 'run'}")
    assert said[at - 1] == "Stopped after epoch 2 of 9: no better validation top-1 since epoch 1."


def test_evaluate_uses_the_held_out_images_of_a_run(trained, pictures, tmp_path, capsys):
    command("evaluate", trained, "--json", "--confusion", tmp_path / "confusion.png")
    result = json.loads(capsys.readouterr().out)
    assert result["count"] == 12
    assert result["top5"] == 1.0
    assert (tmp_path / "confusion.png").stat().st_size > 1000

    assert result == evaluate(Run(trained)).to_dict()
    assert (result["models"], result["crops"]) == ([str(trained)], 1)
    assert sum(each["pictures"] for each in result["calibration"]) == 12

    command("evaluate", trained, pictures / "test")
    table = capsys.readouterr().out
    lines = [f"{color}/{index},{color}" for color in ("blue", "green", "red") for index in range(4)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,color", *lines]))
    command("evaluate", trained, tmp_path / "labels.csv", "--pictures", pictures / "test", "--columns", "image,color")
    assert capsys.readouterr().out == table
    assert str(evaluate(trained, pictures / "test")) == table.removesuffix("\n")
    low, high = result["top1_interval"]
    assert f"12 images: top-1 {result['top1']:.1%} (95 % interval {low:.1%} to {high:.1%}), top-5 100.0%" in table
    assert table.rstrip().endswith(f"calibration error {result['calibration_error']:.1%}")
    assert all(label in table for label in ("blue", "green", "red", "precision", "F1"))


def test_a_run_whose_images_were_moved_says_what_can_be_given(trained, pictures, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    data = json.loads((run / "data.json").read_text())
    (run / "data.json").write_text(json.dumps({**data, "source": str(tmp_path / "gone")}))
    again = f"keras-inception train IMAGES --resume --output {run}"
    _, told = failure(capsys, "evaluate", run)
    assert f"keras-inception evaluate {run} IMAGES" in told
    assert again in told
    _, told = failure(capsys, "export", run, "--output", tmp_path / "exported")
    assert "--test" in told
    assert "--calibration" in told
    _, told = failure(capsys, "export", run, "--output", tmp_path / "exported", "--test", pictures / "test")
    assert "--test" not in told
    assert "for int8 --calibration" in told
    assert again in failure(capsys, "compress", run, "--output", tmp_path / "compressed", "--prune", "0.5")[1]
    assert again in failure(capsys, "train", "--resume", "--output", run)[1]

    command("evaluate", run, pictures / "test")
    float_alone = ["--quantize", "float32", "--test", pictures / "test", "--client", "none"]
    command("export", run, "--output", tmp_path / "exported", *float_alone)
    command("train", pictures, "--resume", "--output", run)
    capsys.readouterr()
    command("evaluate", run)
    assert "12 images" in capsys.readouterr().out


def test_report_says_where_it_is(trained, tmp_path, capsys):
    copies = [shutil.copytree(trained, tmp_path / name) for name in ("one", "two")]
    command("report", copies[0])
    assert capsys.readouterr().out == f"Report: {copies[0] / 'report.html'}\n"
    command("report", *copies, "--output", tmp_path / "both.html")
    assert capsys.readouterr().out == f"Report: {tmp_path / 'both.html'}\n"
    assert "<td>two</td>" in (tmp_path / "both.html").read_text(encoding="utf-8")


def test_evaluate_summarizes_what_it_left_out(trained, pictures, tmp_path, caplog):
    shutil.copytree(pictures / "test", tmp_path / "test")
    for index in range(200):
        (tmp_path / "test" / f"loose_{index:03}.png").write_bytes(b"")
    with caplog.at_level("WARNING"):
        command("evaluate", trained, tmp_path)
    told = [record.getMessage() for record in caplog.records if record.name.startswith("keras_inception")]
    assert len(told) == 6
    assert told[0].startswith(f"left out {tmp_path / 'test' / 'loose_000.png'}: ")
    assert told[-1] == "and 195 more"


@pytest.mark.full
def test_evaluate_averages_over_crops_and_networks(trained, capsys):
    reports = []
    for options in ((), ("--ensemble", trained), ("--crops", 10, "--ensemble", trained), ("--crops", 144)):
        command("evaluate", trained, *options, "--json")
        reports.append(json.loads(capsys.readouterr().out))
    alone, twice, ten, many = reports
    assert [report["count"] for report in reports] == [12, 12, 12, 12]
    assert twice["loss"] == pytest.approx(alone["loss"], rel=1e-5), "averaging a network with itself changes nothing"
    assert (ten["models"], ten["crops"], many["crops"]) == ([str(trained), str(trained)], 10, 144)
    assert len({alone["loss"], ten["loss"], many["loss"]}) == 3

    command("evaluate", trained, "--crops", 12)
    assert capsys.readouterr().out.endswith("Averaged over 12 crops of each image and 1 network.\n")


def test_networks_with_other_classes_are_not_averaged(trained, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    (other / "labels.txt").write_text("blue\ngreen\nyellow\n")
    code, message = failure(capsys, "evaluate", trained, "--ensemble", other)
    assert code == 1
    assert f"Received: {other}, which lacks red and which alone has yellow" in message


def test_predict_prints_the_most_probable_classes(trained, pictures, capsys):
    image = pictures / "test" / "red" / "0.png"
    command("predict", trained, image, "--json")
    (result,) = json.loads(capsys.readouterr().out)
    assert result["path"] == str(image)
    assert {guess["label"] for guess in result["top"]} == {"blue", "green", "red"}
    assert sum(guess["probability"] for guess in result["top"]) == pytest.approx(1, abs=1e-3)

    assert predict(trained, image).to_dict() == [result]

    command("predict", trained, image, "--top", 1)
    assert capsys.readouterr().out.startswith(f"{image}: {result['top'][0]['label']} ")


def test_an_exported_file_can_replace_the_run(trained, pictures, tmp_path, capsys):
    folder = tmp_path / "exported"
    command("export", trained, "--output", folder, "--quantize", "float32", "--name", "colors", "--json")
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((folder / "report.json").read_text())
    assert report["variants"]["float32"]["agreement"] == 1.0
    assert report["variants"]["float32"]["outside_delegate"] == []

    file = folder / "colors_float32.tflite"
    command("evaluate", file, pictures / "test", "--json")
    alone = json.loads(capsys.readouterr().out)
    assert alone["top1"] == report["variants"]["float32"]["top1"]
    command("evaluate", file, pictures / "test", "--ensemble", trained, "--crops", 10, "--json")
    averaged = json.loads(capsys.readouterr().out)
    command("evaluate", trained, pictures / "test", "--crops", 10, "--json")
    assert averaged["loss"] == pytest.approx(json.loads(capsys.readouterr().out)["loss"], rel=1e-3)
    assert averaged["loss"] != alone["loss"]
    command("predict", file, folder / "sample.png", "--json")
    (result,) = json.loads(capsys.readouterr().out)
    expected = json.loads((folder / "sample.json").read_text())["pictures"][0]["top5"]["float32"]
    assert [guess["label"] for guess in result["top"]] == [guess["label"] for guess in expected]


def test_benchmark_is_relative_to_the_first_file(capsys):
    folder = Path(__file__).parents[1] / "version_0_1" / "exported"
    files = [folder / "googlenet_float32.tflite", folder / "googlenet_int8.tflite"]
    command("benchmark", *files, "--runs", 10, "--no-peak", "--json")
    first, second = json.loads(capsys.readouterr().out)
    assert [first["path"], second["path"]] == list(map(str, files))
    assert first["ratio"] == 1
    assert second["ratio"] == pytest.approx(second["median_ms"] / first["median_ms"])
    assert first["macs"] == second["macs"] == 419_904
    assert second["mb"] < first["mb"]
    for row in (first, second):
        assert 0 < row["p10_ms"] <= row["median_ms"] <= row["p90_ms"]
        assert row["load_ms"] > 0
    command("benchmark", files[1], "--runs", 5)
    assert "of peak" in capsys.readouterr().out


def test_compress_passes_its_options_on_and_prints_the_report(trained, tmp_path, capsys, monkeypatch):
    def compress(source, output, job, **options):
        assert (source, job) == (trained, Job(prune=0.5, quantize=True))
        assert (options["settings"], options["distillation"]) == ({"epochs": "1"}, 0.25)
        return CompressionReport(output, ())

    monkeypatch.setattr("keras_inception.compression.compress.compress", compress)
    steps = ["--prune", 0.5, "--quantize", "--distillation", 0.25, "--set", "epochs=1"]
    command("compress", trained, "--output", tmp_path / "small", *steps)
    printed = capsys.readouterr().out
    assert printed.split()[:2] == ["step", "MACs"]
    assert printed.endswith(f"those of the int8 files. Run: {tmp_path / 'small'}\n")


def test_demo_prints_its_report(tmp_path, capsys, monkeypatch):
    def run(output, *, minutes, say, progress):
        say(f"training for {minutes} minutes")
        return SimpleNamespace(table="a table", refused={"int8": "too inexact"})

    monkeypatch.setattr(demo, "run", run)
    code, output = failure_with_output(capsys, "demo", "--output", tmp_path, "--minutes", 2)
    assert code == 1
    assert output.out == "training for 2.0 minutes\na table\n"
    assert output.err == "error: int8 was not exported: too inexact\n"


def test_rewrites_are_listed(capsys):
    command("rewrites")
    printed = capsys.readouterr().out
    assert all(name in printed for name in rewrites.REWRITES)


def test_list_shows_every_network_with_its_published_weights(capsys):
    command("list")
    table = capsys.readouterr().out
    command("list", "--json")
    networks = {network["name"]: network for network in json.loads(capsys.readouterr().out)}
    assert list(networks) == list(NETWORKS)
    for name, network in networks.items():
        (row,) = (line for line in table.splitlines() if line.split()[:1] == [name])
        assert f"{network['parameters'] / 1e6:.2f} M" in row
        assert f"{network['macs'] / 1e9:.2f} G" in row
        assert all(f"{entry['publisher']} {entry['top1']:.1f} / " in table for entry in network["weights"])
    assert networks["googlenet"]["parameters"] == 6_998_552
    assert [entry["top1"] for entry in networks["googlenet"]["weights"]] == [69.778, 68.7, 69.8]
    assert networks["plain34"]["weights"] == []
    assert "caffe 68.7 / 88.9 *" in table  # unverified


def test_list_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from keras_inception.cli import main\n"
        "try: main(['list'])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'tensorflow', 'keras', 'PIL', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_cost_of_a_run_its_file_and_a_network_by_name(trained, tmp_path, capsys):
    googlenet = keras_inception.GoogLeNet(normalization="batch_norm", classes=3, input_shape=(32, 32, 3))
    googlenet.save(tmp_path / "googlenet.keras")
    sources = (
        [trained],
        [trained / "model.keras"],
        [tmp_path / "googlenet.keras"],
        ["GoogLeNet", "--size", 32, "--classes", 3],
        [tmp_path / "googlenet.keras", "--size", 64],
    )
    reports = []
    for source in sources:
        command("cost", *source, "--json")
        reports.append(json.loads(capsys.readouterr().out))
    run, file, own, network, bigger = reports
    assert run == file
    assert run["budget"] is None
    assert own["input_shape"] == network["input_shape"] == [32, 32, 3]
    assert own["output_shape"] == network["output_shape"] == [3]
    assert network["lrn_macs"] > own["lrn_macs"] == 0
    assert "inception_4e" in [module["name"] for module in own["modules"]]
    assert bigger["parameters"] == own["parameters"]
    classifier = 1024 * 3
    assert bigger["macs"] - classifier == 4 * (own["macs"] - classifier)


def test_cost_compares_with_a_budget(capsys, tmp_path):
    googlenet = ("cost", "googlenet", "--size", 32, "--classes", 3)
    command(*googlenet, "--budget", "1e9", "--plot", tmp_path / "cost.png")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "googlenet, input 32×32×3"
    assert printed[-3].startswith("Within the budget: ")
    assert printed[-2].startswith("by stage: ")
    assert printed[-1] == f"Plot: {tmp_path / 'cost.png'}"
    assert (tmp_path / "cost.png").stat().st_size > 1000

    code, output = failure_with_output(capsys, *googlenet, "--budget", "1e6", "--by", "stages")
    assert code == 1
    assert "Over the budget: " in output.out
    assert output.err == "", "exceeding the budget is not an error"
    code, output = failure_with_output(capsys, *googlenet, "--budget", "1e6", "--json")
    assert code == 1
    assert json.loads(output.out)["budget"]["holds"] is False


def test_cost_in_a_new_process_prints_nothing_from_tensorflow():
    done = run_in_new_process("cost", "googlenet", "--budget", "1.5e9")
    assert done.stderr == ""
    assert "Over the budget: 1,582,671,872 of 1,500,000,000 MACs, 105.5% of it" in done.stdout
    assert done.returncode == 1


def test_weights_of_a_run_are_converted_and_loaded(trained, tmp_path, capsys):
    out = tmp_path / "out.safetensors"
    command("convert-weights", trained, out, "--json")
    result = json.loads(capsys.readouterr().out)
    assert result["path"] == str(out)
    assert (result["network"], result["publisher"], result["classes"]) == ("network_in_network", "keras_inception", 3)
    assert result["preprocessing"] == json.loads((trained / "preprocessing.json").read_text())
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    expected = keras_inception.load(trained)(x)
    network = keras_inception.NetworkInNetwork(weights=out, classes=3)
    np.testing.assert_allclose(network(x), expected, atol=1e-6)

    code, message = failure(capsys, "convert-weights", trained, out)
    assert code == 1
    assert "out.safetensors exists: replace it with overwrite=True (--overwrite" in message
    command("convert-weights", trained, tmp_path / "out.keras", "--model", "NetworkInNetwork")
    assert f"network_in_network of keras_inception: {result['tensors']} tensors, 3 classes\n" in capsys.readouterr().out
    np.testing.assert_allclose(keras_inception.load(tmp_path / "out.keras")(x), expected, atol=1e-6)


def test_a_refused_variant_has_exit_code_1(trained, tmp_path, capsys):
    folder = tmp_path / "exported"
    code, message = failure(
        capsys, "export", trained, "--output", folder, "--quantize", "float32", "--min-agreement", 1.01
    )
    assert code == 1
    assert "error: float32 was not exported: it agrees with Keras on 100.0%" in message
    assert not list(folder.glob("*.tflite"))


def test_the_script_runs_the_export_command(trained, tmp_path):
    script = Path(__file__).parents[2] / "export" / "to_tflite.py"
    done = subprocess.run(
        [sys.executable, script, trained, "--quantize", "float33"], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: `quantize` must be a list of some of float32, float16, dynamic, int8.")


def test_a_printed_recipe_can_be_loaded(capsys, tmp_path):
    command("recipes", "inception-v3-2015")
    (tmp_path / "mine.json").write_text(capsys.readouterr().out)
    assert named_recipe(str(tmp_path / "mine.json")) == RECIPES["inception-v3-2015"]
    command("recipes")
    table = capsys.readouterr().out
    assert all(name in table for name in RECIPES)
