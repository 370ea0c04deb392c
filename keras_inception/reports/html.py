"""The parts of a report: an HTML page in one file, for light and dark screens and for phones.

Each function returns HTML. Text that it is given is escaped, so names of files and classes can be anything:

    parts = html.section("Mistakes", html.paragraph("2 of 40 images"), html.gallery(cells))
    html.write("report.html", html.page("flowers", parts))

All rules of the style begin with the class of the outermost element, so that a `fragment` changes nothing else in the
page that it is put into, such as a notebook.
"""

import base64
import io
import os
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keras_inception.utils import files

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

STYLE_CLASS = "keras-inception-report"
# Colors of lines, on light and on dark ground.
COLORS = (
    *(("#2458c6", "#86aaff"), ("#c2570c", "#ffb073"), ("#1f7a4c", "#6fd29f")),
    *(("#7b3fb5", "#c9a2f5"), ("#b3261e", "#ff9a9a"), ("#0f7a8a", "#6fd0de")),
)
LIGHT, DARK = (" ".join(f"--color{place}: {pair[side]};" for place, pair in enumerate(COLORS)) for side in (0, 1))
STYLE = (
    """
.@ { --paper: #fbfbfa; --ink: #1c1d1f; --faint: #5d6168; --line: #d9dadd; --code: #f0f0ee; LIGHT
  color-scheme: light dark; box-sizing: border-box; max-width: 60rem; margin: 0 auto; padding: 1rem;
  background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { .@ { --paper: #17181a; --ink: #ececee; --faint: #a5a9b1; --line: #3a3c41;
  --code: #222427; DARK } }
.@ h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.3; }
.@ h2 { margin: 2rem 0 .5rem; font-size: 1.15rem; }
.@ p, .@ figure { margin: 0 0 .75rem; }
.@ figcaption, .@ .faint, .@ th { color: var(--faint); }
.@ img { max-width: 100%; height: auto; border-radius: .35rem; }
.@ .wide { overflow-x: auto; margin: 0 0 .75rem; }
.@ table { width: auto; margin: 0; border-collapse: collapse; background: none; color: inherit; font-size: .9rem;
  font-variant-numeric: tabular-nums; overflow-wrap: break-word; }
.@ tr { background: none; }
.@ th, .@ td { padding: .2rem .8rem .2rem 0; border: 0; text-align: left; vertical-align: top; font-weight: normal;
  max-width: 18rem; }
.@ th { border-bottom: 1px solid var(--line); }
.@ .end { text-align: right; white-space: nowrap; }
.@ .matrix td, .@ .matrix th { padding: .15rem .3rem; border: 0; text-align: center; vertical-align: bottom;
  min-width: 1.3rem; }
.@ .matrix th[scope=row] { text-align: right; white-space: nowrap; }
.@ .matrix th[scope=col] { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; }
.@ .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); gap: 1rem;
  margin: 0 0 .75rem; }
.@ svg { display: block; width: 100%; max-width: 30rem; height: auto; }
.@ svg text { fill: currentColor; font: 11px system-ui, sans-serif; }
.@ svg .title { font-weight: bold; }
.@ .gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem;
  margin: 0 0 .75rem; padding: 0; list-style: none; font-size: .85rem; line-height: 1.35; }
.@ .gallery li { margin: 0; padding: 0 0 0 .6rem; border-left: 3px solid var(--line); min-width: 0; }
.@ .gallery .right { border-color: var(--color2); }
.@ .gallery .wrong { border-color: var(--color4); }
.@ .gallery img { display: block; width: 6rem; margin: 0 0 .3rem; }
.@ pre { margin: 0 0 .75rem; padding: .6rem .8rem; overflow-x: auto; border-radius: .35rem; background: var(--code);
  color: inherit; font-size: .85rem; }
""".replace(".@", f".{STYLE_CLASS}")
    .replace("LIGHT", LIGHT)
    .replace("DARK", DARK)
)


class Cell(NamedTuple):
    """One image of a `gallery`.

    Attributes:
        image: HTML of the image, from `thumbnail`.
        lines: lines of text below it.
        kind: "right", "wrong" or "", which chooses the color beside it.
    """

    image: str
    lines: Sequence[str]
    kind: str = ""


def page(title: str, *parts: str) -> str:
    """Return a whole page."""
    ground, dark = (f"html {{ background: {color} }}" for color in ("#fbfbfa", "#17181a"))
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{text(title)}</title>",
        f"<style>{ground} body {{ margin: 0 }} @media (prefers-color-scheme: dark) {{ {dark} }}</style>",
    ]
    body = fragment(f"<h1>{text(title)}</h1>", *parts)
    return f'<!doctype html>\n<html lang="en">\n<head>\n{_lines(head)}</head>\n<body>\n{body}</body>\n</html>\n'


def fragment(*parts: str) -> str:
    """Return parts with their style as one element, to stand in another page."""
    return f'<div class="{STYLE_CLASS}">\n<style>{STYLE}</style>\n{_lines(parts)}</div>\n'


def section(title: str, *parts: str) -> str:
    """Return a section with a heading."""
    return f"<section>\n<h2>{text(title)}</h2>\n{_lines(parts)}</section>"


def paragraph(content: str, *, faint: bool = False) -> str:
    """Return a paragraph of text."""
    mark = ' class="faint"' if faint else ""
    return f"<p{mark}>{text(content)}</p>"


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]], align: str = "") -> str:
    """Return a table, which scrolls on its own if the screen is narrower.

    Args:
        headers: titles of the columns; if there are none, the table has no head.
        rows: the cells of each row. None is shown as a dash.
        align: "l" or "r" for each column; further columns are aligned left.
    """

    def line(tag: str, cells: Sequence[Any]) -> str:
        ends = [' class="end"' if align[place : place + 1] == "r" else "" for place in range(len(cells))]
        shown = ["–" if cell is None else text(cell) for cell in cells]
        return "<tr>" + "".join(f"<{tag}{end}>{cell}</{tag}>" for end, cell in zip(ends, shown, strict=True)) + "</tr>"

    head = f"<thead>{line('th', headers)}</thead>\n" if headers else ""
    body = "\n".join(line("td", row) for row in rows)
    return f'<div class="wide"><table>\n{head}<tbody>\n{body}\n</tbody></table></div>'


def picture(png: bytes | str | os.PathLike, alt: str, caption: str = "") -> str:
    """Return a PNG image, given as its bytes or its file, that is kept in the page."""
    content = png if isinstance(png, bytes) else Path(png).read_bytes()
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return f"<figure>{_image(content, 'png', alt)}{below}</figure>"


def thumbnail(image: "np.ndarray | Image.Image", size: int = 96) -> str:
    """Return a small version of an image, at most `size` pixels wide and high on paper and twice as sharp.

    Args:
        image: uint8 (height, width, 3), or a Pillow image.
        size: the longer side in pixels.
    """
    from PIL import Image

    shown = image if isinstance(image, Image.Image) else Image.fromarray(image)
    shown = shown.convert("RGB")
    shown.thumbnail((2 * size, 2 * size))
    content = io.BytesIO()
    shown.save(content, "JPEG", quality=80)
    return _image(content.getvalue(), "jpeg", "")


def gallery(cells: Iterable[Cell | tuple[str, Sequence[str], str]]) -> str:
    """Return images side by side, each with its lines of text."""
    items = []
    for image, lines, kind in cells:
        mark = f' class="{text(kind)}"' if kind else ""
        items.append(f"<li{mark}>{image}{'<br>'.join(map(text, lines))}</li>")
    return '<ul class="gallery">\n' + "\n".join(items) + "\n</ul>"


def commands(*lines: str) -> str:
    """Return lines to type into a terminal."""
    return f"<pre><code>{text(chr(10).join(lines))}</code></pre>"


def text(content: Any) -> str:
    """Return text escaped for HTML. Bytes of a name that are not UTF-8 become replacement characters."""
    return escape(re.sub("[\ud800-\udfff]", "\ufffd", str(content)))


def write(path: str | os.PathLike, html: str) -> None:
    """Write a page, completely or not at all."""
    files.write_text(path, html)


def _image(content: bytes, kind: str, alt: str) -> str:
    return f'<img src="data:image/{kind};base64,{base64.b64encode(content).decode()}" alt="{text(alt)}">'


def _lines(parts: Iterable[str]) -> str:
    return "".join(f"{part}\n" for part in parts)
