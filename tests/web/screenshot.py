"""Draw docs/images/page.png: python tests/web/screenshot.py SITE OUT.png IMAGE..."""

import shutil
import sys
import threading

from playwright.sync_api import expect, sync_playwright

from keras_inception.page import site as page

expect.set_options(timeout=60_000)


def main(site: str, out: str, *pictures: str) -> None:
    with page.server(site) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 760, "height": 800})
        tab.goto(f"http://localhost:{server.server_port}")
        tab.set_input_files("#choose", pictures)
        expect(tab.locator(".bars li")).to_have_count(5 * len(pictures))
        tab.click("#compare")
        expect(tab.locator("#compare")).to_be_enabled()
        tab.screenshot(path=out, full_page=True)
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
