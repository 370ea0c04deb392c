"""Charts in SVG."""

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from keras_inception.evaluation.abstention import abstentions, accuracy_by_answered
from keras_inception.evaluation.metrics import ConfidenceBin
from keras_inception.reports.charts import MAX_POINTS, Line, abstention_chart, line_chart, reliability_chart
from keras_inception.reports.html import STYLE


def elements(chart, tag):
    return list(ET.fromstring(chart).iter(tag))


def texts(chart):
    return ["".join(each.itertext()) for each in elements(chart, "text")]


def test_lines_have_axes_and_a_legend():
    chart = line_chart("loss", [Line("training", [(1, 3.0), (2, 1.0)]), Line("<b>", [(1, 2.0), (2, 1.5)], 1, True)])
    assert [*texts(chart)[:3], *texts(chart)[-1:]] == ["loss", "training", "<b>", "epoch"]
    assert {"0", "1", "2", "3"} <= set(texts(chart))
    first, second = elements(chart, "polyline")
    assert (first.get("stroke"), second.get("stroke")) == ("var(--color0)", "var(--color1)")
    assert second.get("stroke-dasharray")
    heights = [float(point.split(",")[1]) for point in first.get("points").split()]
    assert heights[0] < heights[1], "up is less"


def test_every_color_is_of_the_style():
    lines = [Line(str(color), [(1, 1), (2, 2)], color) for color in range(8)]
    for variable in re.findall(r"var\((--\w+)\)", line_chart("many", lines)):
        assert STYLE.count(f"{variable}:") == 2


@pytest.mark.parametrize(
    "points", [[], [(1, math.nan)], [(1, 0.0)], [(1, 0.5)], [(1, 0.0), (2, 0.0)], [(3, 1e9), (4, math.inf)]]
)
def test_few_points_and_large_and_missing_ones(points):
    chart = line_chart("x", [Line("a", points)])
    assert "nan" not in chart
    assert "inf" not in chart
    assert len(elements(chart, "polyline")) + len(elements(chart, "circle")) == any(math.isfinite(y) for _, y in points)


def test_small_numbers_fit_beside_the_axis():
    labels = texts(line_chart("learning rate", [Line("learning rate", [(1, 0.002), (2, 1e-5)])]))
    assert labels[:6] == ["learning rate", "0", "5e-4", "1e-3", "1.5e-3", "2e-3"]
    assert labels.count("learning rate") == 1


def test_fractions_are_percentages_up_to_100():
    labels = texts(line_chart("top-1", [Line("a", [(1, 0.2), (2, 0.99)])], percent=True))
    assert "100%" in labels
    assert "120%" not in labels


def test_a_long_training_stays_small():
    chart = line_chart("loss", [Line("training", [(epoch, 1 / epoch) for epoch in range(1, 20_001)])])
    (line,) = elements(chart, "polyline")
    assert MAX_POINTS / 2 < len(line.get("points").split()) <= MAX_POINTS + 1
    assert len(chart) < 12_000
    assert {"5000", "20000"} <= set(texts(chart))


def test_a_reliability_diagram_shows_the_bins_that_have_images():
    bins = [ConfidenceBin(0.0, 0.5, 0, None, None), ConfidenceBin(0.5, 1.0, 4, 0.75, 0.5)]
    chart = reliability_chart(bins)
    (bar,) = elements(chart, "rect")
    assert "".join(bar.itertext()) == "50% to 100%: 4 images, mean confidence 75.0%, top-1 50.0%"
    assert bar.get("height") == f"{(float(bar.get('y')) - 28):.1f}", "half of the height, below the middle"


def test_the_chart_of_abstention_has_a_dot_at_each_threshold_with_answers():
    confidence, right = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, False])
    rows = abstentions(confidence, right, [0.8, 0.6, 0.95])
    chart = abstention_chart(*accuracy_by_answered(confidence, right), rows)
    dots = elements(chart, "circle")
    assert [dot[0].text for dot in dots] == ["50.0% answered, top-1 100.0%", "100.0% answered, top-1 50.0%"]
    (line,) = elements(chart, "polyline")
    points = [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
    assert [(float(dot.get("cx")), float(dot.get("cy"))) for dot in dots] == [points[1], points[3]]
    assert "50%" in texts(chart), "the axis begins at the lowest accuracy"
