"""The report of `evaluate`: its files, labels that are probably wrong, and what it never overwrites."""

import csv
import re
import shutil

import numpy as np
import pytest
from colours import LABELS, save_images
from PIL import Image

import keras_inception
from keras_inception import datasets
from keras_inception.cli import main
from keras_inception.preprocessing import Preprocessing
from keras_inception.reports import evaluation, html
from keras_inception.utils import files

FILES = {"report.html", "predictions.csv", "confusion.png", "mistakes.png"}
EXTERNAL = re.compile(r"<script|<link|(?:src|href)=\"(?!data:)|@import|url\(", re.IGNORECASE)


class ByColor:
    """Classify images by their brightest channel, more surely the purer the color is."""

    labels = LABELS
    preprocessing = Preprocessing(size=(8, 8))

    def predict(self, pictures):
        means = pictures.mean(axis=(1, 2), dtype=np.float32)[:, ::-1] / 12
        return np.exp(means) / np.exp(means).sum(axis=1, keepdims=True)

    def __str__(self):
        return "by <b>color</b>"


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def mislabel(folder, count):
    """Move the first `count` images of "red" to "green", and return their paths relative to the folder."""
    moved = []
    for path in sorted((folder / "red").iterdir())[:count]:
        path.rename(folder / "green" / f"red_{path.name}")
        moved.append(f"green/red_{path.name}")
    return moved


def test_the_report_of_a_run(run, tmp_path):
    result = keras_inception.evaluate(run, output=tmp_path / "new" / "report")
    folder = tmp_path / "new" / "report"
    assert FILES <= {path.name for path in folder.iterdir()} <= FILES | {"label_errors.csv"}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert not EXTERNAL.search(page)
    assert f"<title>Evaluation of {run.name}</title>" in page
    for row in result.not_sure:
        assert f'{row.answered:.1%}</td><td class="end">{row.top1:.1%}' in page
    assert "Thresholds were chosen on validation images" in page
    assert f"None of these is a training image of {run}: they were held out." in page
    (pair, *_) = result.confused_pairs
    assert f'<td>{pair.first}</td><td>{pair.second}</td><td class="end">{pair.pictures}</td>' in page
    assert f"keras-inception export {run} --not-sure {result.not_sure[1].threshold - 5e-5:.4f}"[:-1] in page
    listed = rows(folder / "predictions.csv")
    assert list(listed[0]) == ["path", "label", "predicted", "probability", *(f"p:{label}" for label in LABELS)]
    assert len(listed) == 90
    assert sum(row["label"] == row["predicted"] for row in listed) == round(result.top1 * 90)
    assert all(row["path"] in page for row in listed if row["label"] != row["predicted"])
    for name in ("confusion.png", "mistakes.png"):
        assert Image.open(folder / name).width >= 400


def test_of_a_file_it_is_unknown_what_it_was_trained_on(exported, pictures, tmp_path):
    path = exported[0] / "colours_int8.tflite"
    result = keras_inception.evaluate(path, pictures, output=tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert result.not_sure_chosen_on == "validation"
    assert f"It is unknown which images {path} was trained on: they may be among these." in page
    assert "keras-inception export" not in page
    assert rows(tmp_path / "report" / "predictions.csv")[0]["path"].startswith("test/")


def test_labels_that_are_wrong_are_found(tmp_path):
    save_images(tmp_path / "images", 40, seed=5)
    wrong = mislabel(tmp_path / "images", 4)
    keras_inception.evaluate(ByColor(), tmp_path / "images", output=tmp_path / "report")
    listed = rows(tmp_path / "report" / "label_errors.csv")
    assert len({row["path"] for row in listed} & set(wrong)) >= 3
    assert next(row for row in listed if row["path"] == wrong[0])["label"] == "green"
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    section = page.split("Labels that are probably wrong")[1].split("</section>")[0]
    assert f"{len(listed)} labels of 120, found by confident learning" in section
    assert all(row["path"] in section for row in listed)
    assert "--exclude" in page


def test_training_images_of_a_run_are_recognized_by_their_content_and_not_judged(run, pictures, tmp_path):
    shutil.copytree(pictures / "test", tmp_path / "images")
    wrong = set(mislabel(tmp_path / "images", 3))
    for path in sorted((pictures / "train" / "red").iterdir()):
        shutil.copyfile(path, tmp_path / "images" / "green" / f"known_{path.name}")
    result = keras_inception.evaluate(run, tmp_path / "images", output=tmp_path / "report")
    assert result.count == 110
    found = {row["path"] for row in rows(tmp_path / "report" / "label_errors.csv")}
    assert not any("known_" in path for path in found)
    assert found & wrong
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert f"Training images of {run} are not judged: 20 training images of these." in page
    assert "of 90, found by confident learning" in page


def test_training_images_that_were_moved_are_recognized_in_the_images(run, pictures, tmp_path):
    images, copied = shutil.copytree(pictures / "train", tmp_path / "images"), shutil.copytree(run, tmp_path / "run")
    splits = datasets.open_data(images)
    recorded = {"source": str(tmp_path / "gone"), "validation": 0.15, "seed": 0, "fingerprint": splits.fingerprints()}
    files.write_json(copied / "data.json", recorded)
    keras_inception.evaluate(copied, images, output=tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    known = len(splits.train)
    assert 0 < known < 60
    assert f"Training images of {copied} are not judged: {known} training images of these." in page
    assert f"of {60 - known}, found by confident learning" in page


def test_training_images_that_are_not_there_are_named(run, pictures, tmp_path):
    copied = shutil.copytree(run, tmp_path / "run")
    files.write_json(copied / "data.json", {"source": str(tmp_path / "gone"), "validation": 0.15, "seed": 0})
    keras_inception.evaluate(copied, pictures / "test", output=tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert f"The training images of {copied} may be among these, since they cannot be opened: " in page


def test_names_are_text_and_never_markup(tmp_path, monkeypatch):
    names = ("<script>1</script>", "green", "red")
    monkeypatch.setattr(ByColor, "labels", names)
    save_images(tmp_path / "images", 12, seed=1)
    (tmp_path / "names.csv").write_text("path,label\n", encoding="utf-8")
    listed = [f"{label}/{index}.png,{names[LABELS.index(label)]}" for label in LABELS for index in range(12)]
    kept = [line for line in listed if (tmp_path / "images" / line.split(",")[0]).exists()]
    (tmp_path / "images" / "names.csv").write_text("path,label\n" + "\n".join(kept), encoding="utf-8")
    result = keras_inception.evaluate(ByColor(), tmp_path / "images" / "names.csv", output=tmp_path / "report")
    assert result.class_names == names
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert not EXTERNAL.search(page)
    assert "&lt;script&gt;1&lt;/script&gt;" in page
    assert "<title>Evaluation of " in page
    assert "<b>" not in page


def test_only_a_report_can_be_overwritten(run, pictures, tmp_path):
    output = tmp_path / "report"
    save_images(tmp_path / "images", 4, seed=1)
    evaluate = lambda **options: keras_inception.evaluate(ByColor(), tmp_path / "images", output=output, **options)  # noqa: E731
    evaluate()
    before = (output / "report.html").read_text(encoding="utf-8")
    (output / "label_errors.csv").write_text("path,reason\n")
    with pytest.raises(FileExistsError, match=r"report exists: choose another folder, or overwrite it \(--overwrite\)"):
        evaluate()
    evaluate(overwrite=True)
    assert (output / "report.html").read_text(encoding="utf-8") == before
    assert {path.name for path in output.iterdir()} == FILES, "nothing is left of the earlier report"
    (output / "notes.txt").touch()
    with pytest.raises(FileExistsError, match=r"will not be overwritten: it also has notes\.txt"):
        evaluate(overwrite=True)
    copied = shutil.copytree(run, tmp_path / "run")
    with pytest.raises(FileExistsError, match=r"will not be overwritten: it has no report\.html"):
        keras_inception.evaluate(copied, pictures, output=copied, overwrite=True)
    with pytest.raises(FileExistsError, match=r"model\.keras is not a report and will not be overwritten"):
        keras_inception.evaluate(copied, pictures, output=copied / "model.keras", overwrite=True)


def test_a_report_that_fails_leaves_nothing_and_keeps_the_earlier_one(tmp_path, monkeypatch):
    save_images(tmp_path / "images", 4, seed=1)
    keras_inception.evaluate(ByColor(), tmp_path / "images", output=tmp_path / "report")

    def fail(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(html, "write", fail)
    for output, overwrite in (("report", True), ("other", False)):
        with pytest.raises(OSError, match="No space left"):
            keras_inception.evaluate(ByColor(), tmp_path / "images", output=tmp_path / output, overwrite=overwrite)
    assert {path.name for path in (tmp_path / "report").iterdir()} >= FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "report"]


def test_the_command_writes_a_report_and_names_it(exported, pictures, tmp_path, capsys):
    arguments = [str(exported[0] / "colours_float32.tflite"), str(pictures / "test")]
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *arguments, "--output", str(tmp_path / "report")])
    assert not stop.value.code
    assert capsys.readouterr().out.splitlines()[-1] == f"Report: {tmp_path / 'report' / 'report.html'}"
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *arguments, "--output", str(tmp_path / "report")])
    assert stop.value.code == 1
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path / 'report'} exists: choose another folder, or overwrite it (--overwrite)\n"
    )


def test_without_mistakes_the_least_certain_are_drawn(tmp_path):
    for label, color in zip(LABELS, ((0, 0, 255), (0, 255, 0), (255, 0, 0)), strict=True):
        (tmp_path / "images" / label).mkdir(parents=True)
        Image.new("RGB", (300, 40), color).save(tmp_path / "images" / label / "one.png")
    result = keras_inception.evaluate(ByColor(), tmp_path / "images", output=tmp_path / "report")
    assert result.top1 == 1
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Worst mistakes" not in page
    assert "Classes that are taken for each other" not in page
    assert "0 labels of 3" in page
    assert not (tmp_path / "report" / evaluation.LABEL_ERRORS).exists()
    assert Image.open(tmp_path / "report" / "mistakes.png").width >= 400
