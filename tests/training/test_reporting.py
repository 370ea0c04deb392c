"""The reports that a training leaves."""

import csv
import logging
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import keras_inception
from keras_inception import figures
from keras_inception.datasets import Augmentation
from keras_inception.reports import html
from keras_inception.reports import run as reports
from keras_inception.reports.reporting import write
from keras_inception.runs import Run
from keras_inception.training import reporting, train

DRAWN = (reports.CURVES, reports.BATCH, reports.CONFUSION, reports.MISTAKES)


@pytest.fixture(scope="module")
def watched(own_reports, pictures, quick, tmp_path_factory):
    """A run, and the files of it that were there when each epoch began."""
    seen, begins = [], reporting.ReportRun.on_epoch_begin

    def on_epoch_begin(self, epoch, logs=None):
        begins(self, epoch, logs)
        seen.append({path.name for path in self.run.path.iterdir()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reporting.ReportRun, "on_epoch_begin", on_epoch_begin)
        mixing = quick.replace(epochs=3, augmentation=Augmentation(mixup=0.5))
        run = train(pictures, tmp_path_factory.mktemp("watched") / "run", recipe=mixing, verbose=0)
    return run, seen


@pytest.fixture
def copy(watched, tmp_path) -> Run:
    return Run(shutil.copytree(watched[0].path, tmp_path / "run"))


def test_files_appear_while_a_run_trains(watched):
    run, seen = watched
    assert reports.BATCH in seen[0]
    assert reports.CURVES not in seen[1]
    assert {reports.CURVES, reports.REPORT} <= seen[2]
    for name in DRAWN:
        with Image.open(run.path / name) as image:
            assert image.format == "PNG"
            assert image.width >= 400
    assert not list(run.path.rglob(".writing-*"))


def test_the_report_shows_all_of_the_run(watched):
    run, _ = watched
    page = (run.path / reports.REPORT).read_text(encoding="utf-8")
    titles = re.findall(r"<h2>(.*)</h2>", page)
    assert [title for title in titles if title != "Worst mistakes"] == [
        "Curves", "A batch", "Validation", "Calibration", "Least certain", "By class", "Recipe", "Data", "How to go on",
    ]  # fmt: skip
    assert "mixup" in page
    assert f"keras-inception export {run.path} --output exported" in page
    assert "Written during the training" not in page


def test_predictions_are_those_of_the_network_that_is_kept(watched):
    run, _ = watched
    with open(run.path / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    best, _ = reports.best(run.metrics)
    assert np.mean([row["label"] == row["predicted"] for row in rows]) == pytest.approx(best)
    assert len(rows) == 3
    assert rows[0]["path"].startswith("train/blue/")
    network = keras_inception.inference_model(run.model())
    pixels = np.asarray(Image.open(f"{run.data['source']}/{rows[0]['path']}"))
    probabilities = network.predict(run.preprocessing(pixels)[None], verbose=0)[0]
    for name, probability in zip(run.labels, probabilities, strict=True):
        assert float(rows[0][f"p:{name}"]) == pytest.approx(probability, abs=1e-4)


def test_drawing_changes_no_weights(watched, pictures, tmp_path, monkeypatch):
    for name in ("on_epoch_begin", "on_epoch_end", "finish"):
        monkeypatch.setattr(reporting.ReportRun, name, lambda *arguments, **others: None)
    run = watched[0]
    recipe = keras_inception.Recipe.load(run.path / "recipe.json")
    plain = train(pictures, tmp_path / "run", recipe=recipe, verbose=0)
    for ours, theirs in zip(run.model().weights, plain.model().weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_drawing_that_fails_ends_no_training(own_reports, pictures, tiny, tmp_path, monkeypatch, caplog):
    def fail(*arguments):
        raise RuntimeError("no\nfonts")

    monkeypatch.setattr(figures, "batch_picture", fail)
    monkeypatch.setattr(figures, "curves_picture", fail)
    with caplog.at_level(logging.WARNING):
        run = train(pictures, tmp_path / "run", recipe=tiny, verbose=0)
    assert len(run.metrics) == tiny.epochs
    said = [message for message in caplog.messages if "was not written" in message]
    names = (reports.BATCH, reports.CURVES, reports.CURVES)  # not anew in each epoch, and once more at the end
    assert said == [f"{run.path / name} was not written: no fonts" for name in names]
    assert (run.path / reports.REPORT).is_file()


def test_a_run_that_was_killed_before_its_report_gets_it_by_resuming(copy):
    """No epoch is left to train, so the network is evaluated anew."""
    before = _numbers((copy.path / "predictions.csv").read_text())
    for name in (reports.REPORT, "predictions.csv", *DRAWN[2:]):
        (copy.path / name).unlink()
    train(None, copy.path, resume=True, verbose=0)
    assert before == pytest.approx(_numbers((copy.path / "predictions.csv").read_text()), abs=1e-4)
    assert {reports.REPORT, *DRAWN} <= {path.name for path in copy.path.iterdir()}


def _numbers(table: str) -> list[float]:
    return [float(cell) for row in csv.reader(table.splitlines()[1:]) for cell in row[3:]]


def test_a_report_is_made_anew_with_the_same_batch(copy):
    batch = (copy.path / reports.BATCH).read_bytes()
    for name in (reports.REPORT, "predictions.csv", *DRAWN):
        (copy.path / name).unlink()
    assert keras_inception.report(copy) == copy.path / reports.REPORT
    assert (copy.path / reports.BATCH).read_bytes() == batch, "the same images as in training"
    assert {"predictions.csv", *DRAWN} <= {path.name for path in copy.path.iterdir()}


def test_a_run_whose_images_are_gone_is_reported_from_its_own_files(copy, tmp_path):
    data = (copy.path / "data.json").read_text().replace(str(Run(copy.path).data["source"]), str(tmp_path / "gone"))
    (copy.path / "data.json").write_text(data)
    (copy.path / "metrics.csv").write_text("")
    write(copy)
    page = (copy.path / reports.REPORT).read_text(encoding="utf-8")
    assert "The images of this run cannot be opened" in page
    assert re.findall(r"<h2>(.*)</h2>", page) == ["A batch", "Recipe", "Data", "How to go on"]


def test_a_run_without_a_finished_epoch_is_reported(copy):
    for name in ("model.keras", "metrics.csv", reports.BATCH):
        (copy.path / name).unlink()
    page = keras_inception.report(copy).read_text(encoding="utf-8")
    assert "The training has not finished an epoch yet." in page
    assert re.findall(r"<h2>(.*)</h2>", page) == ["A batch", "Recipe", "Data"]


def test_runs_are_laid_side_by_side(copy, watched, tmp_path):
    recipe = (copy.path / "recipe.json").read_text().replace('"momentum": 0.9', '"momentum": 0.5')
    (copy.path / "recipe.json").write_text(recipe)
    (copy.path / "predictions.csv").unlink()
    page = keras_inception.report([watched[0], copy], tmp_path / "both.html")
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"<td>momentum</td><td>(.*?)</td><td>(.*?)</td>", text) == [("0.9", "0.5")]
    assert "<td>epochs</td>" not in text
    assert text.count("%</td>") == 4, "an accuracy and its interval for each"
    assert text.count("<svg") == 5
    assert (copy.path / "predictions.csv").is_file()
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(FileExistsError, match=r"mine\.html exists and is no report of several runs"):
        keras_inception.report([watched[0], copy], tmp_path / "mine.html")
    with pytest.raises(ValueError, match="`output` is for several runs"):
        keras_inception.report(copy, tmp_path / "both.html")


def test_a_notebook_shows_a_short_form(watched, copy):
    shown = watched[0]._repr_html_()
    assert len(shown.encode()) < 200_000
    assert shown.startswith(f'<div class="{html.STYLE_CLASS}">')
    assert shown.count("<svg") == 3
    assert shown.count("<img") == 1
    (copy.path / "metrics.csv").write_text("epoch\nno number\n")
    assert copy._repr_html_() is None
