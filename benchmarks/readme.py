"""Generated tables: each stands between ``<!-- NAME -->`` and ``<!-- /NAME -->`` in the README or in a page of docs."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")


def keep(name: str, result: dict) -> None:
    """Write the result file of that name."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def kept(name: str) -> dict:
    """Return the contents of a result file, empty if there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def not_measured(names: Iterable[str]) -> str:
    """Return a line that lists what a table lacks, or an empty string."""
    missing = "; ".join(names)
    return f"\nNot measured yet: {missing}.\n" if missing else ""


def pages() -> list[Path]:
    """Return the README and the pages of the documentation."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def insert(name: str, text: str) -> None:
    """Replace the text between the markers of that name, in the one page that has them.

    Raises:
        SystemExit: No page or more than one has the markers.
    """
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    contents = {page: page.read_text(encoding="utf-8") for page in pages()}
    places = [page for page, content in contents.items() for _ in pattern.finditer(content)]
    if len(places) != 1:
        found = ", ".join(page.name for page in places) or "none"
        raise SystemExit(f"exactly one page must have the markers of <!-- {name} -->. Found: {found}")
    changed = pattern.sub(lambda match: match[1] + text + match[2], contents[places[0]])
    places[0].write_text(changed, encoding="utf-8")
