"""Table 1 of arXiv 1409.4842, next to what is counted."""

import pytest

from keras_inception.analysis import table1
from keras_inception.models.googlenet import MODULES
from keras_inception.utils.names import bare


@pytest.fixture(scope="module")
def table():
    return table1()


@pytest.fixture(scope="module")
def rows(table):
    return {row.published.name: row for row in table.rows}


def test_every_weighted_layer_of_the_network_is_in_the_table(table):
    assert sum(row.counted.parameters for row in table.rows) == table.whole.parameters == 6_998_552
    assert sum(row.counted.macs for row in table.rows) == table.whole.macs == 1_582_671_872
    assert [row.published.name for row in table.rows] == [bare(module.name) for module in table.whole.modules]


def test_outputs_and_depths_are_the_published_ones(table):
    for row in table.rows:
        published = row.published.output
        assert row.counted.output_shape in (published, published[2:])
        assert row.depth == row.published.depth
    assert sum(row.depth for row in table.rows) == 22


def test_filters_of_the_built_layers_are_the_published_ones(rows):
    for key, filters in MODULES.items():
        assert rows[f"inception_{key}"].filters == tuple(filters)
    assert rows["conv2"].filters == (None, 64, 192, None, None, None)
    assert set(rows["conv1"].filters) == set(rows["pool1"].filters) == {None}


def test_rows_that_do_not_follow_from_their_columns_are_named(table):
    assert {row.published.name: row.deviating for row in table.deviating} == {
        "conv1": ("params", "ops"),
        "inception_4c": ("params",),
        "inception_5a": ("params", "ops"),
    }


def test_the_first_convolution_differs_from_the_published_figures(rows):
    assert (rows["conv1"].published.params, rows["conv1"].published.ops) == (2.7, 34)
    assert (rows["conv1"].counted.parameters, rows["conv1"].counted.macs) == (9_472, 118_013_952)


def test_the_published_sums(table):
    assert sum(row.published.ops or 0 for row in table.rows) == 1502
    assert sum(row.published.params or 0 for row in table.rows) == pytest.approx(6797.7)


def test_it_prints_published_and_counted_side_by_side(table):
    lines = str(table).splitlines()
    assert len(lines) == 2 + 17 + 1 + 3
    assert " ".join(lines[2].split()) == "convolution 7×7/2 112×112×64 1 *2.7 K 9.2 K *34 M 118.0 M"
    filters = " ".join(map(str, MODULES["3a"]))
    assert " ".join(lines[6].split()) == f"inception (3a) 28×28×256 2 {filters} 159 K 159.5 K 128 M 128.0 M"
    assert " ".join(lines[19].split()) == "sum 6,797.7 K 6,826.4 K 1,502 M 1,582.7 M"
    assert lines[20].startswith("* convolution: published 2.7 K and 34 M; its columns come to 9,472 parameters")
