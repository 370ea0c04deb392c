"""The source of an export: settings of a run, and arguments that override them."""

import shutil

import numpy as np
import pytest
from colours import LABELS, SIDE, save_images

from keras_inception.exporting.options import ExportOptions
from keras_inception.exporting.source import open_source
from keras_inception.preprocessing import DEFAULT, NAMED
from keras_inception.utils import files
from keras_inception.utils.progress import silent


def opened(source, **arguments):
    """Return the opened source and the lines that it reported."""
    said: list[str] = []
    return open_source(source, ExportOptions(**arguments), said.append, silent), said


def test_a_run_knows_everything(run):
    found, _ = opened(run)
    assert found.class_names == LABELS
    assert found.preprocessing == DEFAULT.replace(size=(SIDE, SIDE))
    assert found.calibration.shape == (60, SIDE, SIDE, 3)
    assert np.bincount(found.test_labels).tolist() == [30, 30, 30]


def test_a_limited_number_of_images_is_drawn_from_the_classes_in_proportion(run, tmp_path):
    test = save_images(tmp_path / "test", 30, seed=8)
    for path in sorted((test / LABELS[0]).iterdir())[:20]:
        path.unlink()
    found, _ = opened(run, test=test, verify_pictures=14)
    assert np.bincount(found.test_labels).tolist() == [2, 6, 6]
    again, _ = opened(run, test=test, verify_pictures=14)
    np.testing.assert_array_equal(found.test, again.test)
    assert len(opened(run, test=test, verify_pictures=500)[0].test) == 70


def test_arguments_take_precedence_over_the_run(run, tmp_path):
    other = save_images(tmp_path / "other", 2, seed=8)
    found, _ = opened(run, labels=["a", "b", "c"], preprocessing="inception", calibration=other)
    assert found.class_names == ("a", "b", "c")
    assert found.preprocessing == NAMED["inception"].replace(size=(SIDE, SIDE))
    assert len(found.calibration) == 6
    assert len(found.test) == 90


def test_calibration_alternates_between_folders_and_leaves_images_to_verify_on(tiny_model, tmp_path):
    save_images(tmp_path / "nested" / "deeper", 10, seed=8)
    found, _ = opened(tiny_model, preprocessing="unit", calibration=tmp_path)
    assert len(found.calibration) == 24
    assert len(found.test) == 6
    assert found.test_labels is None
    assert found.class_names == ("class 0", "class 1", "class 2")
    kept = {image.tobytes() for image in found.calibration}
    assert not kept & {image.tobytes() for image in found.test}
    again, _ = opened(tiny_model, preprocessing="unit", calibration=tmp_path)
    np.testing.assert_array_equal(found.calibration, again.calibration)
    color = found.calibration.mean(axis=(1, 2)).argmax(axis=1)
    assert np.bincount(color, minlength=3).min() >= 4


def test_unreadable_images_are_named(tiny_model, tmp_path):
    save_images(tmp_path, 3, seed=8)
    (tmp_path / "broken.jpg").write_bytes(b"text")
    found, said = opened(tiny_model, preprocessing="unit", calibration=tmp_path)
    assert len(found.calibration) + len(found.test) == 9
    assert any("broken.jpg" in line for line in said)


def test_images_of_one_class_cannot_calibrate(run, tmp_path):
    save_images(tmp_path, 2, seed=8)
    for folder in (tmp_path / LABELS[0], tmp_path):
        with pytest.raises(ValueError, match=rf"images of all classes\. Received: .*, with '{LABELS[0]}' only"):
            opened(run, calibration=folder)
        for other in LABELS[1:]:
            shutil.rmtree(tmp_path / other, ignore_errors=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has no images"):
        opened(run, calibration=tmp_path / "empty")


def test_labeled_images_of_other_classes_are_refused(run, tmp_path):
    (tmp_path / "test" / "purple").mkdir(parents=True)
    save_images(tmp_path / "test", 1, seed=8)
    with pytest.raises(ValueError, match="purple"):
        opened(run, test=tmp_path / "test")


def test_a_keras_file_with_a_file_of_class_names(run, tmp_path):
    files.write_labels(tmp_path / "labels.txt", ["x", "y", "z"])
    found, _ = opened(run / "model.keras", preprocessing="unit", labels=tmp_path / "labels.txt")
    assert found.class_names == ("x", "y", "z")
    assert found.noise
    assert found.test_labels is None
    with pytest.raises(FileNotFoundError, match="at nowhere"):
        opened("nowhere.keras")
