"""Pairs of images: which are known and wanted, and which a check found."""

import csv
import io
import os
from collections.abc import Iterable, Sequence

from keras_inception.utils import files

Pair = tuple[str, str]
COLUMNS = ("path", "other")


def read_pairs(path: str | os.PathLike) -> list[Pair]:
    """Read pairs of paths from the columns ``path`` and ``other`` of a CSV or TSV file, or without these the first two.

    Raises:
        ValueError: the file is no text, or a line has fewer than two cells. The message names it.
    """
    content = files.read_text(path)
    separator = "\t" if "\t" in content.partition("\n")[0] else ","
    rows = list(csv.reader(io.StringIO(content, newline=""), delimiter=separator, skipinitialspace=True))
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    named = set(COLUMNS) <= set(header)
    one, other = map(header.index, COLUMNS) if named else (0, 1)
    pairs = []
    for line, row in enumerate(rows[named:], start=1 + named):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (line == 1 and cells[0].startswith("#")):
            continue
        if len(cells) <= max(one, other) or not cells[one] or not cells[other]:
            raise ValueError(
                f"{path}, line {line} must have two paths, separated by a comma. Received: {','.join(row)}"
            )
        pairs.append((cells[one], cells[other]))
    return pairs


def connected(members: Sequence[str], pairs: Iterable[Pair]) -> bool:
    """Return whether pairs connect all members, directly or through each other."""
    parts = {member: {member} for member in members}
    for one, other in pairs:
        if one in parts and other in parts and parts[one] is not parts[other]:
            merged = parts[one] | parts[other]
            parts |= dict.fromkeys(merged, merged)
    return len({id(part) for part in parts.values()}) == 1
