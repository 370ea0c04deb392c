"""Draw a part of a report on a light screen and on a dark phone.

python tests/web/report_screenshot.py REPORT OUT.png HEADING draws what follows a heading. docs/images/report.png and
report_mistakes.png are of `keras-inception report` on the run ``base`` of benchmarks/finetune_table.py, a GoogLeNet
trained on ten classes of the pictograms; evaluation.png and evaluation_labels.png are of `keras-inception evaluate` on
it, from "If it may say" and "Classes that are taken".
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

HEIGHT, GAP, COLORS = 1500, 24, 128


def main(report: str, out: str, heading: str = "") -> None:
    shots = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme, width in (("light", 820), ("dark", 390)):
            page = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": HEIGHT}).new_page()
            page.goto(Path(report).resolve().as_uri())
            if heading:
                page.get_by_role("heading", name=heading).evaluate("(each) => each.scrollIntoView()")
            shots.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        browser.close()
    both = Image.new("RGB", (sum(shot.width for shot in shots) + GAP, HEIGHT), "white")
    both.paste(shots[0], (0, 0))
    both.paste(shots[1], (shots[0].width + GAP, 0))
    both.quantize(COLORS).save(out, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
