"""File names are valid on Windows and unique on case-insensitive file systems."""

import subprocess
from collections import Counter
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
RESERVED = {"aux", "con", "nul", "prn", *(f"{name}{number}" for name in ("com", "lpt") for number in range(1, 10))}
FORBIDDEN = set('<>:"\\|?*')


def files() -> list[PurePosixPath]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    ).stdout
    names = listed.split("\0")[:-1] or [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py")]
    return [PurePosixPath(name) for name in names]


def test_no_name_is_reserved_on_windows():
    for path in files():
        for part in path.parts:
            assert part.partition(".")[0].lower() not in RESERVED, path
            assert not FORBIDDEN & set(part), path
            assert part == part.rstrip(". "), path


def test_no_two_names_differ_in_case_only():
    places = {place for path in files() for place in (path, *path.parents)}
    counts = Counter(str(place).casefold() for place in places)
    assert [place for place, count in counts.items() if count > 1] == []
