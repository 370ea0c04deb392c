"""Reports in Chromium: legible on light and dark screens and on phones, and whole without a network connection."""

import re

import numpy as np
import pytest

from keras_inception.evaluation.abstention import abstentions, accuracy_by_answered
from keras_inception.evaluation.metrics import evaluate_batches
from keras_inception.figures import curves
from keras_inception.reports import charts, evaluated, html

pytestmark = pytest.mark.web

NAMES = tuple(f"class number {index}" for index in range(12))
CONTRAST = """() => {
    const linear = (x) => (x / 255 <= .04045 ? x / 255 / 12.92 : ((x / 255 + .055) / 1.055) ** 2.4);
    const light = (color) => {
        const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((x) => linear(Number(x)));
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const styles = (selector) => [...document.querySelectorAll(selector)].map((each) => getComputedStyle(each));
    const paper = light(styles('.keras-inception-report')[0].backgroundColor);
    const texts = styles('p, td, th, code, li').map((style) => style.color);
    const labels = styles('svg text').map((style) => style.fill);
    const lines = styles('polyline').map((style) => style.stroke);
    const ratio = (ink) => (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05);
    return Math.min(...[...texts, ...labels, ...lines].map((color) => ratio(light(color))));
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report with every kind of part."""
    chance = np.random.default_rng(0)
    truth = chance.integers(0, len(NAMES), 60)
    probabilities = chance.dirichlet([0.2] * len(NAMES), 60)
    evaluation = evaluate_batches(lambda x: probabilities[x], [(np.arange(60), truth)], NAMES, keep=True)
    confidence, right = evaluation.images.confidence, evaluation.images.predicted == evaluation.images.truth
    rows = [
        {"epoch": n, "loss": 3 / n, "top1": 1 - 1 / n, "aux_4a_loss": 4 / n, "predictions_loss": 2.0}
        for n in range(1, 30)
    ]
    lines = [charts.Line(name, points, place) for place, (name, points) in enumerate(curves(rows)["loss"].items())]
    path = tmp_path_factory.mktemp("report") / "report.html"
    parts = [
        html.paragraph("a" * 300),
        f'<div class="charts">{charts.line_chart("loss", lines) * 3}</div>',
        evaluated.confusion(evaluation, path),
        evaluated.calibration(evaluation),
        charts.abstention_chart(*accuracy_by_answered(confidence, right), abstentions(confidence, right, [0.5, 0.8])),
        evaluated.by_class(evaluation),
        evaluated.gallery(evaluation.images, NAMES, range(8), lambda index: np.full((60, 90, 3), index, np.uint8)),
        html.commands("keras-inception evaluate " + "long" * 100),
    ]
    html.write(path, html.page("Every part", html.section("All", *parts)))
    return path


@pytest.mark.parametrize("width", [390, 1000])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_is_legible(chromium, report, scheme, width):
    with chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}, offline=True) as context:
        page = context.new_page()
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "only tables and commands scroll"
        assert page.evaluate(CONTRAST) >= 3
        sizes = page.evaluate("[...document.querySelectorAll('svg text')].map((e) => e.getBoundingClientRect().height)")
        assert min(sizes) >= 9
        assert all(page.evaluate("[...document.images].map((image) => image.naturalWidth > 0)"))
    assert [url for url in asked if not re.match("data:", url)] == [report.as_uri()]
