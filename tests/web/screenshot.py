"""The README's picture of the page: python tests/web/screenshot.py SITE OUT.png PICTURE..."""

import shutil
import sys
import threading

from playwright.sync_api import sync_playwright

from keras_inception.mobile import page


def main(site: str, out: str, *pictures: str) -> None:
    with page.server(site) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 760, "height": 800})
        tab.goto(f"http://localhost:{server.server_port}")
        tab.set_input_files("#choose", pictures)
        tab.wait_for_function(f"document.querySelectorAll('.bars li').length === {5 * len(pictures)}")
        tab.click("#compare")
        tab.wait_for_function("document.querySelectorAll('.others tbody tr').length === 4")
        tab.wait_for_function("!document.getElementById('compare').disabled")
        tab.screenshot(path=out, full_page=True)
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
