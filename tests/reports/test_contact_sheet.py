import csv
import os
import re

import numpy as np
import pytest

from keras_inception.evaluation.prediction import Answer
from keras_inception.reports import contact_sheet as module
from keras_inception.reports.contact_sheet import contact_sheet
from keras_inception.reports.output import check_output

CLASSES = ("cat", "<dog>")
PICTURE = np.zeros((8, 8, 3), np.uint8)


def answers(*probabilities):
    """Yield an answer for each probability of the first class, and an error for None."""
    for number, probability in enumerate(probabilities):
        path = f"photo {number}.png"
        if probability is None:
            yield Answer(path, error="<empty> file")
        else:
            yield Answer(path, PICTURE, np.array([probability, 1 - probability]))


def sheet(folder, *probabilities, **options):
    passed = list(contact_sheet(answers(*probabilities), folder, "net.tflite", CLASSES, **options))
    assert [answer.path for answer in passed] == [f"photo {number}.png" for number in range(len(probabilities))]
    return (folder / "report.html").read_text(encoding="utf-8")


def shown(html):
    return re.findall(r'alt="">(photo \d+\.png)', html)


def test_the_least_certain_come_first(tmp_path):
    html = sheet(tmp_path / "sheet", 0.9, 0.4, None, 0.75, 0.05)
    assert shown(html) == ["photo 1.png", "photo 3.png", "photo 0.png", "photo 4.png"]
    assert "4 images, classified by net.tflite. 1 could not be read." in html
    assert "photo 1.png<br>&lt;dog&gt; 60.0%<br>cat 40.0%</li>" in html
    assert '<td>&lt;dog&gt;</td><td class="end">2</td><td class="end">77.5%</td>' in html
    assert "<td>photo 2.png</td><td>&lt;empty&gt; file</td>" in html
    assert sorted(os.listdir(tmp_path / "sheet")) == ["predictions.csv", "report.html"]
    with open(tmp_path / "sheet" / "predictions.csv", encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["path"] for row in rows] == ["photo 0.png", "photo 1.png", "photo 3.png", "photo 4.png"]
    assert rows[1] == {
        "path": "photo 1.png",
        "predicted": "<dog>",
        "probability": "0.6",
        "p:cat": "0.4",
        "p:<dog>": "0.6",
    }


def test_only_so_many_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHOWN", 2)
    html = sheet(tmp_path / "sheet", 0.9, 0.6, None, 0.8, 0.7, None, None, 0.6)
    assert shown(html) == ["photo 1.png", "photo 7.png"], "of equals the first"
    assert "The 2 images of the lowest probability, as the network sees them." in html
    assert html.count("&lt;empty&gt;") == 2
    assert "and 1 more" in html


def test_there_may_be_no_image_at_all(tmp_path):
    assert "0 images, classified by net.tflite. 2 could not be read." in sheet(tmp_path / "sheet", None, None)


def test_an_interrupted_report_leaves_nothing(tmp_path):
    begun = contact_sheet(answers(0.5, 0.5), tmp_path / "sheet", "net.tflite", CLASSES)
    next(begun)
    begun.close()
    assert not any(tmp_path.iterdir())


def test_only_a_report_is_overwritten(tmp_path):
    (tmp_path / "empty").mkdir()
    sheet(tmp_path / "empty", 0.9)
    with pytest.raises(FileExistsError, match=r"empty exists: choose another folder, or overwrite it \(--overwrite\)"):
        check_output(tmp_path / "empty", overwrite=False)
    (tmp_path / "empty" / "mistakes.png").touch()
    assert shown(sheet(tmp_path / "empty", 0.9, 0.8, overwrite=True)) == ["photo 1.png", "photo 0.png"]
    assert not (tmp_path / "empty" / "mistakes.png").exists()
    (tmp_path / "empty" / "model.keras").touch()
    with pytest.raises(FileExistsError, match=r"will not be overwritten: it also has model\.keras"):
        check_output(tmp_path / "empty", overwrite=True)
    with pytest.raises(FileExistsError, match=r"is not a report and will not be overwritten: it has no report\.html"):
        check_output(tmp_path, overwrite=True)
