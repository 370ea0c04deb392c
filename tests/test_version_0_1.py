"""Files of version 0.1 can still be read: a run, its export, and a run that was pruned and trained for int8."""

import json
import shutil
from pathlib import Path

import pytest
from colours import save_images

import keras_inception
from keras_inception.runs import Run

WRITTEN = Path(__file__).parent / "version_0_1"


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """The images that the runs were trained on."""
    root = tmp_path_factory.mktemp("images")
    for seed, (split, count) in enumerate({"train": 16, "validation": 6, "test": 10}.items()):
        save_images(root / split, count, seed)
    return root


@pytest.fixture
def copied(tmp_path, images):
    """Return a function that copies a run and points the copy to its images."""

    def copy(name: str) -> Path:
        path = Path(shutil.copytree(WRITTEN / name, tmp_path / name))
        data = read(path / "data.json")
        (path / "data.json").write_text(json.dumps({**data, "source": str(images)}), encoding="utf-8")
        return path

    return copy


@pytest.mark.parametrize("name", ["run", pytest.param("compressed", marks=pytest.mark.full)])
def test_a_run_opens_and_its_network_is_as_accurate_as_it_was(name, images):
    run = Run(WRITTEN / name)
    assert run.command == {"run": "train", "compressed": "compress"}[name]
    best = max(row["val_top1"] for row in run.metrics)
    assert keras_inception.evaluate(run, images / "validation").top1 == pytest.approx(best)


@pytest.mark.full
def test_a_run_that_was_killed_resumes(copied):
    run = copied("run")
    rows = Run(run).metrics
    (run / "metrics.csv").write_text("".join((run / "metrics.csv").read_text().splitlines(True)[:3]))
    resumed = keras_inception.train(None, run, resume=True, verbose=0)
    assert [row.keys() for row in resumed.metrics] == [row.keys() for row in rows]
    trained = [name for name in rows[2] if name != "seconds" and not name.startswith("val_")]
    for name in trained:
        assert resumed.metrics[2][name] == pytest.approx(rows[2][name], rel=1e-3), name
    assert resumed.metrics[2]["val_top1"] >= rows[2]["val_top1"], "now with recomputed statistics of batch norms"


def test_a_recipe_means_what_it_meant():
    recipe = keras_inception.Recipe.load(WRITTEN / "run" / "recipe.json")
    new = {"channels": "RGB", "fitting": None, "extended_at": 0, "freeze_batch_norm": False}
    assert json.loads(json.dumps(recipe.to_dict())) == {**read(WRITTEN / "run" / "recipe.json"), **new}


@pytest.mark.full
@pytest.mark.parametrize("name", ["run", "compressed"])
def test_a_run_is_exported_with_the_keys_of_old(name, copied, tmp_path):
    report = keras_inception.export(copied(name), tmp_path / "exported", quantize=["int8"], min_agreement=0, clients=())
    old = read(WRITTEN / "exported" / "report.json")
    assert old.keys() <= report.keys()
    renamed = {"outside_gpu": "gpu"}
    assert {renamed.get(key, key) for key in old["variants"]["int8"]} <= report["variants"]["int8"].keys()
    assert read(tmp_path / "exported" / "report.json").keys() == report.keys()


def test_a_run_gets_a_report(copied):
    run = copied("run")
    page = keras_inception.report(run).read_text(encoding="utf-8")
    assert "aux_4a" in page
    assert "adds 0.3 times the loss of each auxiliary head" in page
    for name in ("batch.png", "curves.png", "confusion.png", "mistakes.png", "predictions.csv"):
        assert (run / name).is_file()


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_an_exported_file_classifies_as_it_did(variant, images):
    exported = WRITTEN / "exported"
    file = exported / f"googlenet_{variant}.tflite"
    top1 = read(exported / "report.json")["variants"][variant]["top1"]
    assert keras_inception.evaluate(file, images / "test").top1 == top1
    (prediction,) = keras_inception.predict(file, [exported / "sample.png"])
    expected = {entry["label"]: entry["probability"] for entry in read(exported / "sample.json")["top5"][variant]}
    assert dict(prediction.top) == pytest.approx(expected, abs=1e-3)


def test_the_names_of_old_work_with_a_warning():
    from keras_inception import mobile

    with pytest.warns(DeprecationWarning, match="keras_inception.tflite.classifier.TFLiteClassifier"):
        classifier = mobile.TFLiteClassifier(WRITTEN / "exported" / "googlenet_int8.tflite")
    assert classifier.labels == Run(WRITTEN / "run").labels
