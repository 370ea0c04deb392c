"""What a report says of a training."""

import json
import shlex
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_inception.reports import comparison
from keras_inception.reports import run as reports
from keras_inception.runs import Run
from keras_inception.utils import files

OLD = Path(__file__).parents[1] / "version_0_1" / "run"


@pytest.fixture
def run(tmp_path) -> Run:
    """A copy of a run of version 0.1, in a folder whose name has to be quoted."""
    return Run(shutil.copytree(OLD, tmp_path / "a run", ignore=shutil.ignore_patterns("checkpoints")))


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ({"label_smoothing": 0.1}, "label smoothing of 0.1, with which it cannot fall below 0.47"),
        ({"augmentation.mixup": 0.2, "augmentation.cutmix": 1.0}, "mixed (mixup and cutmix)"),
        ({"class_weights": True}, "rare classes weigh more"),
        ({"weight_decay": 0.05}, "Weight decay of 0.05 acts on the weights and is not part of the loss"),
        ({"network": None}, "Penalties of the network's own layers"),
        ({"ema": 0.999}, "moving average of the weights"),
    ],
)
def test_it_says_what_the_training_loss_includes(recipe, says):
    plain = {"network": "googlenet", "label_smoothing": 0, "weight_decay": 0.0, "class_weights": False, "ema": 0}
    assert says in reports.loss_explained(plain | recipe, [], 8, "train")
    assert says not in reports.loss_explained(plain, [], 8, "train")


def test_the_smallest_loss_is_that_of_perfect_predictions():
    smoothed = np.full((1, 8), 0.1 / 8) + 0.9 * np.eye(8)[:1]
    assert reports._smallest_loss(0.1, 8) == pytest.approx(
        float(keras.losses.categorical_crossentropy(smoothed, smoothed)[0])
    )


def test_commands_go_on_from_where_the_run_is(run):
    commands = [shlex.split(line) for line in reports.next_commands(run)]
    assert all(str(run.path) in words for words in commands)
    assert commands[3] == ["keras-inception", "train", "--resume", "--output", str(run.path), "--epochs", "6"]
    lines = (run.path / "metrics.csv").read_text().splitlines()
    (run.path / "metrics.csv").write_text("\n".join(lines[:2]))
    assert shlex.split(reports.next_commands(run)[3])[2:] == ["--resume", "--output", str(run.path)]


def test_mixed_labels_are_shown_with_their_shares():
    assert reports._target(np.array([0.0, 1.0]), ("cat", "dog")) == "dog"
    assert reports._target(np.array([0.3, 0.7]), ("cat", "dog")) == "70% dog + 30% cat"


def test_images_that_were_left_out_are_listed(run):
    rows = [{"path": f"{name}.png", "reason": "empty file"} for name in ("a&b", "\udcff", *range(120))]
    files.write_csv(run.path / "left_out.csv", rows)
    reports.write_page(run, reports.Results(notes=["A note."], planned=9))
    page = (run.path / reports.REPORT).read_text(encoding="utf-8")
    assert "Left out: 122" in page
    assert "<td>a&amp;b.png</td><td>empty file</td>" in page
    assert "<td>\ufffd.png</td>" in page
    assert page.count("<td>empty file</td>") == 100
    assert "A note." in page
    assert "Written during the training, after 3 of 9 epochs." in page


def test_a_notebook_shows_a_run_without_figures_and_without_epochs(run):
    assert run._repr_html_().count("<svg") == 3
    assert "<img" not in run._repr_html_()
    (run.path / "metrics.csv").unlink()
    assert "<svg" not in run._repr_html_()
    assert "0 epochs" in run._repr_html_()


def test_a_picture_that_is_too_large_is_left_out_of_a_notebook(run):
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), np.uint8)
    Image.fromarray(noise).save(run.path / reports.MISTAKES)
    shown = run._repr_html_()
    assert len(shown.encode()) < 200_000
    assert "<svg" in shown


def test_nested_fields_are_compared_one_by_one(run, tmp_path):
    other = Run(shutil.copytree(run.path, tmp_path / "other"))
    recipe = json.loads((run.path / "recipe.json").read_text())
    recipe["augmentation"]["hue"] = 0.5
    (other.path / "recipe.json").write_text(json.dumps(recipe))
    page = comparison.page([run, other])
    differing = page.partition("What differs")[2]
    assert "<td>augmentation.hue</td><td>0.02</td><td>0.5</td>" in differing
    assert differing.count("<tr>") == 2
    assert "recipes are the same" in comparison.page([run, run])


def test_runs_of_other_validation_images_are_not_compared_without_a_word(run, tmp_path):
    other = Run(shutil.copytree(run.path, tmp_path / "other"))
    data = json.loads((run.path / "data.json").read_text())
    data["fingerprint"]["validation"] = "0"
    (other.path / "data.json").write_text(json.dumps(data))
    assert "validation images of these runs differ" in comparison.page([run, other])
    assert "validation images of these runs differ" not in comparison.page([run, run])
