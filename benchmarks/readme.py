"""The README's tables are made from result files: each stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``."""

import json
import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
RESULTS = Path(__file__).with_name("results")


def keep(name: str, result: dict) -> None:
    """Write the result file of that name."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def kept(name: str) -> dict:
    """What the result file of that name holds; nothing if it is not there."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def insert(name: str, text: str) -> None:
    """Put a table in its place in the README."""
    before = README.read_text(encoding="utf-8")
    pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    after, count = re.subn(pattern, lambda match: match[1] + text + match[2], before, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{README.name} has no place <!-- {name} -->")
    README.write_text(after, encoding="utf-8")
