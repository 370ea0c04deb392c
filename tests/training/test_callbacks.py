"""Tests of metrics.csv."""

from keras_inception.training.callbacks import read_rows
from keras_inception.utils.files import write_csv


def test_rows_with_different_columns_are_read_back(tmp_path):
    path = tmp_path / "metrics.csv"
    write_csv(path, [{"epoch": 1, "seconds": 2.5}, {"epoch": 2, "seconds": 2.0, "val_top1": 0.25}])
    assert path.read_text() == "epoch,seconds,val_top1\n1,2.5,\n2,2.0,0.25\n"
    assert read_rows(path, 1) == [{"epoch": "1", "seconds": "2.5", "val_top1": ""}]
    assert len(read_rows(path, 2)) == 2
