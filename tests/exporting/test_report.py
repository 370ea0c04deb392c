"""The report of an export: keys, a printed table, and plain values."""

import dataclasses

import pytest

from keras_inception.exporting.report import ExportReport
from keras_inception.utils import files

ROW = {
    "mb": 1.234,
    "top1": 0.9,
    "top1_interval": [0.85, 0.95],
    "agreement": 1.0,
    "agreement_interval": [0.99, 1.0],
    "latency_ms": 12.34,
    "outside_delegate": [],
    "path": "net_float32.tflite",
}


@pytest.fixture
def report():
    rows = {"float32": dict(ROW), "int8": {"refused": "it gives NaN"}}
    return ExportReport(0.91, [0.86, 0.96], 1.0, 2.5, 100, False, rows)


def test_it_reads_like_the_dict_that_it_was(report):
    assert report["variants"]["float32"]["agreement"] == 1.0
    assert "top1" in report
    assert "to_dict" not in report
    assert report.get("nothing", 7) == 7
    with pytest.raises(KeyError):
        report["nothing"]
    assert list(report) == [field.name for field in dataclasses.fields(report)]
    assert dict(report.items()) == report.to_dict() == report
    assert len(report) == 9


def test_it_prints_as_a_table(report):
    lines = str(report).splitlines()
    assert any(
        line.split() == ["float32", "1.23", "90.0%", "(85.0–95.0)", "100.0%", "(99.0–100.0)", "12.34", "none"]
        for line in lines
    )
    assert lines[-3:] == [
        "Keras itself: top-1 91.0%, top-5 100.0%",
        "Measured on 100 held-out images; 95 % intervals in parentheses.",
        "int8 was refused: it gives NaN",
    ]


def test_noise_and_unknown_accuracy_print_too(report):
    row = {**ROW, "top1": None, "top1_interval": None}
    unknown = dataclasses.replace(report, top1=None, pictures=0, variants={"float32": row})
    assert "–" in str(unknown)
    assert "Keras itself" not in str(unknown)
    assert str(unknown).endswith("Measured on noise, for lack of images; 95 % intervals in parentheses.")


def test_it_says_which_steps_took_long(report):
    timed = dataclasses.replace(report, steps={"open": 1.04, "half_precision": 3.0})
    assert timed.table.splitlines()[-1] == "Took 2.5 s. Steps, some at the same time: half precision 3.0 s, open 1.0 s."


def test_each_variant_is_timed_by_step(exported):
    values = files.read_json(exported[0] / "report.json")
    rows = {name: row["steps"] for name, row in values["variants"].items()}
    for name, steps in rows.items():
        half_precision = {"half_precision"} if name == "float16" else set()
        assert steps.keys() == {"convert", "verify", "clients", "latency"} | half_precision
        assert 0 < steps["convert"] < values["seconds"]
    shared = {"open", "prepare", "keras"}
    assert values["steps"].keys() == shared.union(*rows.values())
    for step in values["steps"].keys() - shared:
        in_all = sum(steps.get(step, 0) for steps in rows.values())
        assert values["steps"][step] == pytest.approx(in_all, abs=0.03)


def test_it_is_what_the_file_holds(exported):
    values = files.read_json(exported[0] / "report.json")
    assert ExportReport(**values).to_dict() == values
    assert list(values) == [
        *("top1", "top1_interval", "top5", "seconds", "pictures", "litert_sample", "variants", "not_sure", "steps")
    ]
    assert values["not_sure"] is None
