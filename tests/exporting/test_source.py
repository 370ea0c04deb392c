import shutil

import numpy as np
import pytest
from colours import LABELS, SIDE, save_pictures

from keras_inception.exporting.source import open_source
from keras_inception.preprocessing import DEFAULT, NAMED
from keras_inception.utils import files


def opened(source, **arguments):
    said: list[str] = []
    nothing = dict.fromkeys(("labels", "preprocessing", "calibration", "test", "size", "limit"))
    return open_source(source, **{**nothing, **arguments}, say=said.append, progress=lambda *_: None), said


def test_a_run_knows_everything(run):
    found, _ = opened(run)
    assert found.labels == LABELS
    assert found.preprocessing == DEFAULT.replace(size=(SIDE, SIDE))
    assert found.calibration.shape == (60, SIDE, SIDE, 3)
    assert np.bincount(found.truth).tolist() == [30, 30, 30]


def test_some_of_the_pictures_are_drawn_from_the_classes_in_proportion(run, tmp_path):
    test = save_pictures(tmp_path / "test", 30, seed=8)
    for path in sorted((test / LABELS[0]).iterdir())[:20]:
        path.unlink()
    found, _ = opened(run, test=test, limit=14)
    assert np.bincount(found.truth).tolist() == [2, 6, 6]
    again, _ = opened(run, test=test, limit=14)
    np.testing.assert_array_equal(found.test, again.test)
    assert len(opened(run, test=test, limit=500)[0].test) == 70


def test_what_is_given_goes_before_what_a_run_knows(run, tmp_path):
    other = save_pictures(tmp_path / "other", 2, seed=8)
    found, _ = opened(run, labels=["a", "b", "c"], preprocessing="inception", calibration=other)
    assert found.labels == ("a", "b", "c")
    assert found.preprocessing == NAMED["inception"].replace(size=(SIDE, SIDE))
    assert len(found.calibration) == 6
    assert len(found.test) == 90


def test_calibration_takes_the_folders_in_turn_and_leaves_a_part_to_verify_on(tiny_model, tmp_path):
    save_pictures(tmp_path / "nested" / "deeper", 10, seed=8)
    found, _ = opened(tiny_model, calibration=tmp_path)
    assert len(found.calibration) == 24
    assert len(found.test) == 6
    assert found.truth is None
    assert found.labels == ("class 0", "class 1", "class 2")
    kept = {picture.tobytes() for picture in found.calibration}
    assert not kept & {picture.tobytes() for picture in found.test}
    again, _ = opened(tiny_model, calibration=tmp_path)
    np.testing.assert_array_equal(found.calibration, again.calibration)
    colour = found.calibration.mean(axis=(1, 2)).argmax(axis=1)
    assert np.bincount(colour, minlength=3).min() >= 4


def test_pictures_that_cannot_be_read_are_named(tiny_model, tmp_path):
    save_pictures(tmp_path, 3, seed=8)
    (tmp_path / "broken.jpg").write_bytes(b"text")
    found, said = opened(tiny_model, calibration=tmp_path)
    assert len(found.calibration) + len(found.test) == 9
    assert any("broken.jpg" in line for line in said)


def test_pictures_of_one_class_are_none_to_calibrate_with(run, tmp_path):
    save_pictures(tmp_path, 2, seed=8)
    for folder in (tmp_path / LABELS[0], tmp_path):
        with pytest.raises(ValueError, match=rf"pictures of all classes\. Received: .*, of '{LABELS[0]}' alone"):
            opened(run, calibration=folder)
        for other in LABELS[1:]:
            shutil.rmtree(tmp_path / other, ignore_errors=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has no images"):
        opened(run, calibration=tmp_path / "empty")


def test_labelled_pictures_of_other_classes_are_refused(run, tmp_path):
    (tmp_path / "test" / "purple").mkdir(parents=True)
    save_pictures(tmp_path / "test", 1, seed=8)
    with pytest.raises(ValueError, match="purple"):
        opened(run, test=tmp_path / "test")


def test_a_keras_file_with_a_file_of_labels(run, tmp_path):
    files.write_labels(tmp_path / "labels.txt", ["x", "y", "z"])
    found, _ = opened(run / "model.keras", labels=tmp_path / "labels.txt")
    assert found.labels == ("x", "y", "z")
    assert found.noise
    assert found.truth is None
    with pytest.raises(FileNotFoundError, match="at nowhere"):
        opened("nowhere.keras")
