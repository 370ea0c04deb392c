"""Training survives kills, a full disk, changed data, damaged files, a second process and a diverging loss."""

import json
import os
import random
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_inception.datasets.examples import Files
from keras_inception.runs import Run
from keras_inception.training import train, trainer

TRAIN = """
import os, sys
from keras_inception.training import Recipe, train
pictures, output, recipe = sys.argv[1:]
if os.path.exists(output):
    train(None, output, resume=True, verbose=0)
else:
    train(pictures, output, recipe=Recipe.load(recipe), verbose=0)
"""
LOCK = """
import filelock, sys, time
with filelock.FileLock(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(600)
"""


def same_weights(ours: Run, theirs: Run) -> None:
    for mine, other in zip(ours.model().get_weights(), theirs.model().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.fixture(scope="module")
def whole(pictures, quick, tmp_path_factory) -> Run:
    """Return an uninterrupted run."""
    return train(pictures, tmp_path_factory.mktemp("whole") / "run", recipe=quick, verbose=0)


@pytest.fixture
def begun(pictures, whole, tmp_path) -> Run:
    """Return a copy of that run without its last epoch."""
    shutil.copytree(whole.path, tmp_path / "begun")
    for path in (tmp_path / "begun" / "checkpoints").glob("epoch-4.*"):
        path.unlink()
    return Run(tmp_path / "begun")


def test_a_resumed_run_ends_like_an_uninterrupted_one(begun, whole, rows):
    half_written = [
        begun.path / ".writing-abcmodel.keras",
        begun.path / "checkpoints" / ".writing-abcepoch-4.weights.h5",
    ]
    for path in half_written:
        path.write_bytes(b"left by a killed process")
    resumed = train(None, begun.path, resume=True, verbose=0)
    assert [row["loss"] for row in rows(resumed)] == [row["loss"] for row in rows(whole)]
    same_weights(resumed, whole)
    assert not any(path.exists() for path in half_written)


@pytest.mark.parametrize("kills", [pytest.param(3, marks=pytest.mark.full), pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_the_same(kills, whole, pictures, quick, rows, tmp_path):
    quick.save(tmp_path / "recipe.json")
    chance = random.Random(kills)
    output, took = tmp_path / "run", 20.0

    def start() -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", TRAIN, pictures, output, tmp_path / "recipe.json"])

    done = 0
    while done < kills:
        began, victim = time.monotonic(), start()
        try:
            code = victim.wait(chance.uniform(0, took))
        except subprocess.TimeoutExpired:
            victim.kill()
            victim.wait()
            done += 1
        else:
            assert code == 0
            took = time.monotonic() - began
            same_weights(Run(output), whole)
            shutil.rmtree(output)
    assert start().wait(600) == 0
    assert [row["loss"] for row in rows(Run(output))] == [row["loss"] for row in rows(whole)]
    same_weights(Run(output), whole)
    assert not [path for path in output.rglob("*") if path.name.startswith(".writing")], (
        "half-written files should be gone"
    )


@pytest.mark.full
@pytest.mark.parametrize("megabytes", [1, 6])
def test_a_run_stopped_by_a_full_disk_can_be_resumed(megabytes, small_disk, begun, whole, rows):
    kept = sorted(path.name for path in begun.path.rglob("*"))
    refused = pytest.raises(OSError, match=r"(model\.keras|epoch-4\.weights\.h5).*cannot be written")
    with refused as error, small_disk(megabytes * 2**20):
        train(None, begun.path, resume=True, verbose=0)
    assert "resume" in str(error.value)
    assert sorted(path.name for path in begun.path.rglob("*")) == kept, "nothing should be half-written"
    resumed = train(None, begun.path, resume=True, verbose=0)
    assert [row["loss"] for row in rows(resumed)] == [row["loss"] for row in rows(whole)]
    same_weights(resumed, whole)


@pytest.mark.parametrize("change", ["one more", "one less", "another", "a class"])
def test_changed_images_are_refused(change, begun, pictures, tmp_path):
    copy = tmp_path / "pictures"
    shutil.copytree(pictures, copy)
    data = json.loads((begun.path / "data.json").read_text())
    (begun.path / "data.json").write_text(json.dumps({**data, "source": str(copy)}))
    one, other = copy / "train" / "red" / "0.png", copy / "train" / "red" / "new.png"
    if change == "one more":
        shutil.copy(one, other)
    elif change == "one less":
        one.unlink()
    elif change == "another":
        shutil.copy(copy / "train" / "blue" / "0.png", one)
    else:
        (copy / "train" / "white").mkdir()
        shutil.copy(one, copy / "train" / "white")
    with pytest.raises(ValueError, match=rf"{copy} has changed"):
        train(None, begun.path, resume=True)


@pytest.fixture
def moved(begun, pictures, tmp_path):
    """Return that run, and where its images are now: not where it records them."""
    shutil.copytree(pictures, tmp_path / "elsewhere")
    data = json.loads((begun.path / "data.json").read_text())
    (begun.path / "data.json").write_text(json.dumps({**data, "source": str(tmp_path / "gone")}))
    return begun, tmp_path / "elsewhere"


def test_images_that_were_moved_are_resumed_with_and_recorded(moved, whole, rows, times):
    run, place = moved
    before = json.loads((run.path / "data.json").read_text())
    again = f"keras-inception train IMAGES --resume --output {run.path}"
    with pytest.raises(ValueError, match=rf"are not at .*gone any more\. If they were moved.* {again}$"):
        train(None, run.path, resume=True, verbose=0)
    train(place, run.path, resume=True, verbose=0)
    assert [row["loss"] for row in rows(run)] == [row["loss"] for row in rows(whole)]
    same_weights(run, whole)
    assert json.loads((run.path / "data.json").read_text()) == {**before, "source": str(place)}
    before = times(run)
    train(place, run.path, resume=True, verbose=0)
    assert times(run) == before, "a complete run should be left unchanged"


def test_other_images_at_a_new_place_are_refused(moved, times):
    run, place = moved
    shutil.copy(place / "train" / "blue" / "0.png", place / "train" / "red" / "0.png")
    before = times(run)
    with pytest.raises(
        ValueError, match=rf"{place} must have the images that .* began with\. Received: .* not the same"
    ):
        train(place, run.path, resume=True, verbose=0)
    assert times(run) == before


def test_images_of_which_a_run_has_no_fingerprint_are_refused_at_a_new_place(moved):
    run, place = moved
    data = json.loads((run.path / "data.json").read_text())
    del data["fingerprint"]
    (run.path / "data.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match="must have the images that"):
        train(place, run.path, resume=True, verbose=0)


def test_an_image_that_becomes_unreadable_is_named(begun, pictures, tmp_path, monkeypatch):
    copy = tmp_path / "pictures"
    shutil.copytree(pictures, copy)
    data = json.loads((begun.path / "data.json").read_text())
    (begun.path / "data.json").write_text(json.dumps({**data, "source": str(copy)}))
    looked = Files.decodable

    def look_and_remove(examples):
        found = looked(examples)
        (copy / "train" / "red" / "0.png").unlink(missing_ok=True)
        (copy / "train" / "red" / "1.png").write_bytes(b"no picture")
        return found

    monkeypatch.setattr(Files, "decodable", look_and_remove)
    with pytest.raises(ValueError, match=rf"{begun.path} keeps the weights of epoch 3") as error:
        train(None, begun.path, resume=True, verbose=0)
    assert "\n" not in str(error.value)
    assert begun.checkpoints == [3]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda lines: ["a,b", "1,2", "1,2", "1,2"],
            "metrics.csv must have the columns epoch and seconds. Received: a, b",
        ),
        (lambda lines: None, "metrics.csv"),
    ],
)
def test_damaged_metrics_are_named(change, says, begun):
    path = begun.path / "metrics.csv"
    lines = change(path.read_text().splitlines())
    path.unlink() if lines is None else path.write_text("\n".join(lines))
    with pytest.raises((ValueError, OSError), match=says):
        train(None, begun.path, resume=True, verbose=0)


def test_an_epoch_without_metrics_is_repeated(whole, rows, tmp_path, caplog):
    shutil.copytree(whole.path, tmp_path / "run")
    path = tmp_path / "run" / "metrics.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    resumed = train(None, tmp_path / "run", resume=True, verbose=0)
    assert "metrics.csv has 3 epochs, not 4" in caplog.text
    assert [row["loss"] for row in rows(resumed)] == [row["loss"] for row in rows(whole)]
    same_weights(resumed, whole)


def test_a_second_training_started_at_the_same_time_is_told_what_to_do(pictures, tiny, tmp_path, monkeypatch):
    started, create = [], trainer._Training._create

    def late(training, path, data):
        if not started:
            started.append(True)
            train(pictures, path, recipe=tiny.replace(epochs=1), verbose=0)
        create(training, path, data)

    monkeypatch.setattr(trainer._Training, "_create", late)
    told = (
        rf"^{tmp_path / 'run'} exists: another training .* Resume it once that one has ended, or choose another folder"
    )
    with pytest.raises(FileExistsError, match=told):
        train(pictures, tmp_path / "run", recipe=tiny.replace(epochs=1), verbose=0)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert Run(tmp_path / "run").checkpoints == [1]


def test_a_second_process_is_refused(begun, times):
    holder = subprocess.Popen(
        [sys.executable, "-c", LOCK, begun.path / ".lock"], stdout=subprocess.PIPE, encoding="utf-8"
    )
    try:
        assert holder.stdout.readline() == "locked\n"
        before = times(begun)
        with pytest.raises(BlockingIOError, match=r"begun is being trained by another process"):
            train(None, begun.path, resume=True)
        assert times(begun) == before
    finally:
        holder.kill()
        holder.wait()


def test_a_loss_that_is_not_finite_ends_the_training(pictures, quick, tmp_path):
    recipe = quick.replace(optimizer="sgd", schedule="exponential", learning_rate=1e-4, weight_decay=0.0, ema=0.0)
    run = train(pictures, tmp_path / "run", recipe=recipe.replace(epochs=2), verbose=0)
    good = run.model().get_weights()
    recipe.replace(learning_rate=100.0).save(run.path / "recipe.json")
    with pytest.raises(FloatingPointError, match=r"(loss is|not finite).* epoch [34]; .*keeps the weights"):
        train(None, run.path, resume=True, verbose=0)
    for mine, other in zip(run.model().get_weights(), good, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.full
@pytest.mark.parametrize("damage", ["cut short", "a byte", "no hash", "all"])
def test_a_damaged_checkpoint_falls_back_to_the_previous_one(damage, whole, rows, tmp_path, caplog):
    shutil.copytree(whole.path, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    last = folder / "epoch-4.weights.h5"
    if damage == "a byte":
        content = bytearray(last.read_bytes())
        content[len(content) // 2] ^= 1
        last.write_bytes(content)
    elif damage == "no hash":
        (folder / "epoch-4.weights.h5.sha256").unlink()
    else:
        for path in folder.glob("*.h5") if damage == "all" else [last]:
            os.truncate(path, path.stat().st_size // 2)
    resumed = train(None, tmp_path / "run", resume=True, verbose=0)
    assert "epoch-4.weights.h5 cannot be used: " in caplog.text
    assert "Falling back to the previous checkpoint" in caplog.text
    assert [row["loss"] for row in rows(resumed)] == [row["loss"] for row in rows(whole)]
    same_weights(resumed, whole)
    assert resumed.checkpoints == [3, 4]
