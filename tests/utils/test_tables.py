"""Tables of results as plain text and as Markdown."""

import pytest

from keras_inception.utils import tables

ROWS = [
    {"variant": "float32", "mb": 22.486, "top1": 0.5232, "top1_interval": [0.4949, 0.5513], "outside_delegate": []},
    {"variant": "int8", "mb": 5.854, "top1": None, "top1_interval": None, "outside_delegate": ["QUANTIZE", "SOFTMAX"]},
]


def test_markdown():
    found = tables.markdown(tables.columns("variant", "mb", "top1_interval", "outside_delegate"), ROWS)
    assert found == (
        "| variant | MB | top-1 | outside the delegate |\n"
        "| --- | --- | --- | --- |\n"
        "| float32 | 22.49 | 52.3% (49.5–55.1) | none |\n"
        "| int8 | 5.85 | – | QUANTIZE, SOFTMAX |\n"
    )


def test_text_aligns_figures_to_the_right(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    title, rule, *lines = tables.text(tables.columns("variant", "mb", "top1"), ROWS).strip("\n").splitlines()
    assert title.split() == ["variant", "MB", "top-1"]
    assert set(rule) == {" ", "─"}
    assert [line.split() for line in lines] == [["float32", "22.49", "52.3%"], ["int8", "5.85", "–"]]
    assert lines[0].index("22.49") + 1 == lines[1].index("5.85")


def test_text_shows_brackets_and_colons_as_they_are():
    found = tables.text(tables.columns("label"), [{"label": "[red] :smile:"}])
    assert "[red] :smile:" in found


def test_long_text_wraps_and_figures_do_not(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    rows = [{"variant": "int8", "latency_ms": 3.12, "outside_delegate": ["QUANTIZE"] * 8}]
    found = tables.text(tables.columns("variant", "latency_ms", "outside_delegate"), rows)
    assert max(map(len, found.splitlines())) <= 40
    assert found.count("QUANTIZE") == 8
    assert "3.12" in found


def test_names_in_the_first_column_are_not_cut(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    name = "average_pool_as_convolution"
    rows = [{"rewrite": name, "variants": ["float32", "float16", "dynamic"], "about": "A long explanation. " * 5}]
    shown = tables.text(tables.columns("rewrite", "variants", "about"), rows)
    assert name in shown
    assert max(map(len, shown.splitlines())) <= 60


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("macs", 1_582_671_872, "1583 M"),
        ("parameters", 6_998_552, "7.00 M"),
        ("sparsity", 0.503, "50%"),
        ("latency_ms", 3.118, "3.12"),
        ("size", 224, "224"),
        ("macs", "not run yet", "not run yet"),
        ("macs", None, "–"),
    ],
)
def test_cells(key, value, expected):
    assert tables.cell({key: value}, key, tables.COLUMNS[key]) == expected


def test_a_column_can_be_changed():
    billions = tables.COLUMNS["macs"]._replace(show=tables.fixed(2, " G", per=1e9))
    found = tables.columns("network", "macs", macs=billions)
    assert list(found) == ["network", "macs"]
    assert tables.cell({"macs": 1_582_671_872}, "macs", found["macs"]) == "1.58 G"
