"""The command predict: what it prints for images, good and bad, of any origin."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from images import photograph
from test_cli import command, failure, failure_with_output

from keras_inception.datasets.reading import examine
from keras_inception.evaluation import predictions
from keras_inception.evaluation.prediction import predict

FILE = Path(__file__).parents[1] / "version_0_1" / "exported" / "googlenet_int8.tflite"
CLASSES = ["blau – «Ä»", "green", "red"]


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """The current folder, with a good image, a bad one and, in another folder, one more good one."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("more")
    photograph(1).save("a.png")
    photograph(2).save("more/c.png")
    Path("b.png").write_bytes(Path("a.png").read_bytes()[:300])
    return tmp_path


def in_new_process(*arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", "keras_inception.cli", "predict", FILE, *arguments],
        capture_output=True,
        env={**os.environ, **variables},
        timeout=120,
        check=False,
    )


def test_a_tflite_file_needs_little(photographs):
    done = in_new_process("a.png", PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition(b"|")[2].strip().decode() for line in done.stderr.splitlines()}
    assert done.returncode == 0
    assert "numpy" in imported
    few = {"tensorflow", "keras", "h5py", "ai_edge_litert", "filelock", "asyncio", "rich", "safetensors", "ml_dtypes"}
    ours = {"training", "weights.readers", "datasets.batches", "evaluation.evaluator", "reports.contact_sheet"}
    assert not imported & (few | {f"keras_inception.{name}" for name in ours})


def test_the_good_ones_are_classified_and_the_bad_one_is_named(photographs, capfd):
    code, output = failure_with_output(capfd, "predict", FILE, "a.png", "b.png", "more", "missing.png")
    assert code == 1
    expected = predict(FILE, ["a.png", "more/c.png"])
    assert output.out == f"{expected[0]}\n{expected[1]}\n"
    first, second = output.err.splitlines()
    assert first.startswith("error: b.png: ")
    assert second == "error: missing.png: No such file or directory"


def test_json_has_an_error_for_the_bad_one(photographs, capfd):
    reason = examine("b.png")
    _, output = failure_with_output(capfd, "predict", FILE, ".", "--json")
    listed = json.loads(output.out)
    assert listed == predict(FILE, ".").to_dict()
    assert listed[1] == {"path": "b.png", "error": reason}
    assert output.err == f"error: b.png: {reason}\n"
    _, output = failure_with_output(capfd, "predict", FILE, ".", "--jsonl")
    assert [json.loads(line) for line in output.out.splitlines()] == listed

    command("predict", FILE, "a.png", "--json", "--top", 1)
    (only,) = json.loads(capfd.readouterr().out)
    assert only["top"] == listed[0]["top"][:1]


def test_csv_has_the_columns_of_predictions(photographs, capfd):
    _, output = failure_with_output(capfd, "predict", FILE, "**/*.png", "--csv")
    rows = list(csv.DictReader(io.StringIO(output.out)))
    assert list(rows[0]) == predictions.columns(CLASSES, labeled=False)
    assert [row["path"] for row in rows] == ["a.png", "more/c.png"]
    best = predict(FILE, "a.png", top=1)[0].top[0]
    assert rows[0]["predicted"] == best.label
    assert float(rows[0]["probability"]) == float(rows[0][f"p:{best.label}"]) == pytest.approx(best.probability)


def test_two_formats_are_refused(photographs, capfd):
    code, message = failure(capfd, "predict", FILE, "a.png", "--json", "--csv")
    assert (code, message) == (1, "error: give one of --json, --jsonl and --csv\n")


def test_paths_on_standard_input_are_answered_line_by_line(photographs):
    arguments = [sys.executable, "-m", "keras_inception.cli", "predict", FILE, "-", "--top", "1"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") as process:
        for line in ("a.png", "more", "more/*.png"):
            process.stdin.write(f"{line}\n\n")
            process.stdin.flush()
            assert process.stdout.readline().startswith(("a.png: ", "more/c.png: "))
        process.stdin.close()
        assert (process.stdout.read(), process.wait()) == ("", 0)


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are text there")
@pytest.mark.parametrize(
    ("locale", "form"), [("C", "--top=3"), ("C.UTF-8", "--csv"), (None, "--top=3"), ("C", "--json"), (None, "--jsonl")]
)
def test_names_that_are_not_utf_8(photographs, locale, form):
    name = b"caf\xe9.png"
    os.rename("a.png", name)
    os.rename("b.png", b"b\xe9.png")
    # Without a locale, an encoding in which not even the names of the classes can be printed.
    variables = {"LC_ALL": locale} if locale else {"PYTHONIOENCODING": "ascii"}
    done = in_new_process(name, b"b\xe9.png", form, **variables)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: b\xe9.png: ")
    if form in ("--json", "--jsonl"):
        values = json.loads(done.stdout.splitlines()[0].decode("utf-8"))
        first = values[0] if form == "--json" else values
        assert os.fsencode(first["path"]) == name
    else:
        assert done.stdout.splitlines()[form == "--csv"].startswith(name)


@pytest.mark.skipif(os.name == "nt", reason="names have no such characters there")
def test_a_line_break_in_a_name_does_not_break_the_line(photographs, capfd):
    os.rename("a.png", "a\n\x1b[31m.png")
    os.rename("b.png", "b\n.png")
    _, output = failure_with_output(capfd, "predict", FILE, "a\n\x1b[31m.png", "b\n.png")
    assert output.out.startswith(r"a\x0a\x1b[31m.png: ")
    assert output.err.startswith(r"error: b\x0a.png: ")
    assert (output.out.count("\n"), output.err.count("\n")) == (1, 1)


def test_a_file_is_run_without_tensorflow(photographs):
    code = f"""
import sys
from keras_inception.cli import main
try:
    main(["predict", {str(FILE)!r}, "a.png", "b.png", "more", "--csv"])
except SystemExit as stop:
    assert stop.code == 1
assert not {{"tensorflow", "keras", "matplotlib"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, stdout=subprocess.DEVNULL)


def test_a_contact_sheet(photographs, capfd):
    code, output = failure_with_output(capfd, "predict", FILE, ".", "--output", "sheet", "--csv")
    assert code == 1
    assert Path("sheet", "predictions.csv").read_text(encoding="utf-8") == output.out
    assert "2 images, classified by" in Path("sheet", "report.html").read_text(encoding="utf-8")
    assert output.err.endswith(f"Report: {Path('sheet', 'report.html')}\n")
    code, message = failure(capfd, "predict", FILE, "a.png", "--output", "sheet")
    assert (code, message) == (1, "error: sheet exists: choose another folder, or overwrite it (--overwrite)\n")
    command("predict", FILE, "a.png", "--output", "sheet", "--overwrite")
    assert "1 image, classified by" in Path("sheet", "report.html").read_text(encoding="utf-8")
