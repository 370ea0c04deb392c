"""Reports as HTML: one file that loads nothing, whatever the names in it are."""

import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from keras_inception.reports import html

AWKWARD = ("<script>alert('1')</script>", '" onload="x', "a & b", "日本語", "\udcff.png")
VOID = {"br", "img", "link", "meta"}


class Reader(HTMLParser):
    """Collect the elements and the text of a page, and check that each element is closed."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.elements, self.words = [], [], ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def example() -> str:
    image = np.zeros((300, 400, 3), np.uint8)
    return html.page(
        AWKWARD[0],
        html.section(
            AWKWARD[1],
            html.paragraph(AWKWARD[2]),
            html.table(["class", "top-1"], [(AWKWARD[0], 0.5), (AWKWARD[3], None)], align="lr"),
            html.gallery([(html.thumbnail(image), AWKWARD, "wrong"), html.Cell(html.thumbnail(image), ["x"])]),
            html.picture(b"\x89PNG", AWKWARD[1], caption=AWKWARD[0]),
            html.commands("keras-inception evaluate 'a & b'", "second"),
        ),
    )


def test_whatever_stands_in_a_page_is_text():
    reader = Reader(example())
    assert "script" not in {tag for tag, _ in reader.elements}
    assert not any("onload" in attributes for _, attributes in reader.elements)
    for part in (*AWKWARD[:4], "\ufffd.png", "keras-inception evaluate 'a & b'\nsecond"):
        assert part in reader.words
    assert "–" in reader.words


def test_a_page_loads_nothing():
    sources = [
        attributes[key] for _, attributes in Reader(example()).elements for key in ("src", "href") if key in attributes
    ]
    assert len(sources) == 3
    assert all(source.startswith("data:image/") for source in sources)
    assert "url(" not in example()


def test_a_page_is_for_phones_and_for_light_and_dark():
    page = example()
    assert '<meta name="viewport" content="width=device-width">' in page
    assert page.count("prefers-color-scheme: dark") == 2
    colors = re.findall(r"(--\w+): #", html.STYLE)
    assert colors == colors[: len(colors) // 2] * 2
    assert set(re.findall(r"var\((--\w+)\)", html.STYLE)) <= set(colors)


def test_the_style_of_a_fragment_stays_in_it():
    rules = re.sub(r"@media [^{]*", "", html.STYLE).replace("{", "}").split("}")
    selectors = [part.strip() for part in rules if part.strip() and ": " not in part]
    assert len(selectors) > 10
    assert all(each.strip().startswith(f".{html.STYLE_CLASS}") for line in selectors for each in line.split(","))


def test_a_thumbnail_is_small():
    noise = np.random.default_rng(0).integers(0, 256, (3000, 1500, 3), np.uint8)
    assert len(html.thumbnail(noise, size=48)) < 8_000
    transparent = Image.new("LA", (10, 10))
    assert html.thumbnail(transparent).startswith('<img src="data:image/jpeg')


def test_a_page_is_written(tmp_path):
    html.write(tmp_path / "report.html", html.page("\udcff"))
    assert "<h1>\ufffd</h1>" in (tmp_path / "report.html").read_text(encoding="utf-8")
