"""The schedule's shape and plans, and the rows of metrics.csv."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_inception.training.callbacks import CosineSchedule, read_rows, write_rows
from keras_inception.training.recipe import Recipe


def test_the_rate_rises_in_the_warmup_and_falls_to_zero():
    schedule = CosineSchedule(Recipe(epochs=10, warmup_epochs=2), steps=4)
    assert schedule.factor(0) == pytest.approx(1 / 8)
    assert schedule.factor(2 - 1 / 4) == pytest.approx(1)
    assert schedule.factor(2) == 1
    assert schedule.factor(6) == pytest.approx(0.5)
    assert schedule.factor(10) == pytest.approx(0)


@given(
    epochs=st.integers(1, 50),
    warmup=st.floats(0, 1),
    steps=st.integers(1, 100),
    done=st.floats(0, 1),
)
def test_the_rate_is_a_share_of_the_highest(epochs, warmup, steps, done):
    schedule = CosineSchedule(Recipe(epochs=epochs, warmup_epochs=warmup * epochs), steps)
    assert 0 <= schedule.factor(done * (epochs - 1 / steps)) <= 1 + 1e-9


@pytest.mark.parametrize(
    ("minutes", "seconds", "epochs"),
    [
        (None, [1000.0], 20),
        (2, [], 20),  # nothing measured yet
        (2, [60.0], 3),  # half of the first was the graph
        (2, [60.0, 10.0], 7),
        (2, [60.0, 10.0, 20.0], 5),
        (2, [60.0, 10.0, 45.0], 3),  # no more fits: this was the last
        (2, [150.0], 1),
        (60, [60.0, 10.0], 20),
    ],
)
def test_the_plan_fits_into_the_minutes(minutes, seconds, epochs):
    schedule = CosineSchedule(Recipe(epochs=20, minutes=minutes), steps=4)
    schedule.plan(seconds)
    assert schedule.epochs == epochs


def test_rows_with_different_columns_come_back(tmp_path):
    path = tmp_path / "metrics.csv"
    write_rows(path, [{"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 2.0, "val_top1": 0.25}])
    assert path.read_text() == "epoch,loss,val_top1\n1,2.5,\n2,2.0,0.25\n"
    assert read_rows(path, 1) == [{"epoch": "1", "loss": "2.5", "val_top1": ""}]
    assert len(read_rows(path, 2)) == 2
    assert read_rows(tmp_path / "none.csv", 0) == []
