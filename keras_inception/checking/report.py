"""Write what `check` found: a page with the images side by side, and tables to go on with."""

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_inception.checking.images import Images
from keras_inception.checking.pairs import COLUMNS
from keras_inception.checking.results import Check, Finding, Group, findings, table_of_counts
from keras_inception.datasets.splits import SPLITS
from keras_inception.reports import html
from keras_inception.utils import files
from keras_inception.utils.progress import Progress, counted

REPORT, PAIRS, SUGGESTED = "report.html", "pairs.csv", "suggested.csv"
GROUPS, MEMBERS, IMAGES, LINES = 60, 8, 48, 200  # to show of each finding: groups, images of a group, images, lines


def check_output(output: str | os.PathLike) -> None:
    """Raise FileExistsError if there is something else than an earlier check at `output`."""
    folder = Path(output)
    if folder.exists() and not (folder / PAIRS).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{output} exists and is no folder of an earlier check: choose another --output")


def write(
    found: Check, images: Images, output: str | os.PathLike, dataset: Mapping[str, Any], progress: Progress
) -> None:
    """Write the page, the pairs and the suggestions to a folder.

    `dataset` has the arguments of `check` that say more of the images.
    """
    folder = Path(output)
    pairs = [row for group in found.groups for row in _pairs(group)]
    files.write_csv(folder / PAIRS, pairs, (*COLUMNS, "kind", "across_classes", "across_splits"))
    rows = [{"path": path, "reason": reason} for path, reason in suggestions(found).items()]
    files.write_csv(folder / SUGGESTED, rows, ("path", "reason"))
    html.write(folder / REPORT, _page(found, images, folder, dataset, progress))


def _pairs(group: Group) -> list[dict]:
    """Return the first image of a group with each of the others."""
    first, *others = zip(group.paths, group.labels, group.splits, strict=True)
    equal = next((set(copies) for copies in group.copies if first[0] in copies), set())
    return [
        {
            **dict(zip(COLUMNS, (first[0], path), strict=True)),
            "kind": "same" if path in equal else "near",
            "across_classes": label != first[1],
            "across_splits": split != first[2],
        }
        for path, label, split in others
    ]


def suggestions(found: Check) -> dict[str, str]:
    """Return the images that a training may better leave out, with the reason.

    Of a group in several splits, test images stay, or else validation's, so that results stay comparable. Of one in
    several classes none stays, since a person has to say which label is right. Copies with equal pixels go but for the
    first. Nearly equal images of one class and split stay.
    """
    reasons = {path: f"cannot be read: {reason}" for path, reason in found.reasons.items()}
    for group in found.groups:
        if not group.accepted:
            for path, reason in _of_group(group):
                reasons.setdefault(path, reason)
    for path in found.single_color:
        reasons.setdefault(path, "is of a single color")
    return reasons


def _of_group(group: Group) -> Iterator[tuple[str, str]]:
    what = "the same as" if group.kind == "same" else "nearly the same as"
    dropped = set()
    if group.across_classes:
        for path, label in zip(group.paths, group.labels, strict=True):
            at = next(at for at, other in enumerate(group.labels) if other != label)
            yield path, f"is {what} {group.paths[at]} of another class, {group.labels[at]}"
            dropped.add(path)
    elif group.across_splits:
        kept = max(group.splits, key=SPLITS.index)
        held_out = group.paths[group.splits.index(kept)]
        for path, split in zip(group.paths, group.splits, strict=True):
            if split != kept:
                yield path, f"is {what} {held_out} in {kept}"
                dropped.add(path)
    for copies in group.copies:
        first, *others = [path for path in copies if path not in dropped] or [""]
        yield from ((path, f"is the same as {first}") for path in others)


def _page(found: Check, images: Images, folder: Path, dataset: Mapping[str, Any], progress: Progress) -> str:
    every = findings(found)
    shown = [path for finding in every for path in _shown(finding)]
    indices = images.find(shown)
    thumbnails = {}
    for path in counted(dict.fromkeys(shown), "Writing the report", len(set(shown)), progress):
        try:
            thumbnails[path] = html.thumbnail(images.read(indices[path]))
        except ValueError:  # removed since
            thumbnails[path] = ""
    titles, rows = table_of_counts(found)
    given = _as_given(found.source, dataset)
    suggested, pairs = (shlex.quote(str(folder / name)) for name in (SUGGESTED, PAIRS))
    return html.page(
        f"Check of {found.source}",
        html.paragraph(found.summary()),
        *(html.section(finding.title, *_parts(finding, thumbnails)) for finding in every),
        *([] if every else [html.paragraph("Nothing was found.")]),
        html.section("Images by class", html.table(titles, rows, "l" + "r" * len(rows))),
        html.section(
            "Go on",
            html.paragraph(f"{SUGGESTED} lists the images that a training may better leave out: read it first."),
            html.commands(
                f"keras-inception train {given} --exclude {suggested}",
                f"keras-inception check {given} --exclude {suggested}",
                f"keras-inception check {given} --strict --accept {pairs}",
            ),
            html.paragraph(
                f"{PAIRS} lists all pairs. With the lines of those that are wanted, it is a file for --accept."
            ),
        ),
    )


def _as_given(source: str, dataset: Mapping[str, Any]) -> str:
    """Return the images as a command takes them."""
    options = {"--pictures": dataset["root"], "--columns": dataset["columns"], "--group": dataset["group"]}
    words = [source]
    for option, value in options.items():
        if value is not None:
            words += [option, os.fspath(value) if isinstance(value, (str, os.PathLike)) else ",".join(value)]
    return shlex.join(words)


def _shown(finding: Finding) -> list[str]:
    """Return the images of a finding that have a thumbnail."""
    of_groups = [path for group in finding.groups[:GROUPS] for path in group.paths[:MEMBERS]]
    return of_groups if finding.groups else [] if finding.lines else list(finding.paths[:IMAGES])


def _parts(finding: Finding, thumbnails: Mapping[str, str]) -> Iterator[str]:
    for group in finding.groups[:GROUPS]:
        members = list(zip(group.paths, group.labels, group.splits, strict=True))[:MEMBERS]
        kind = "equal" if group.kind == "same" else "nearly equal"
        yield html.paragraph(f"{len(group.paths)} {kind} images{group.remarks}", faint=True)
        yield html.gallery(
            html.Cell(thumbnails[path], [path, f"{label}, {split}"], "wrong" * (label != group.labels[0]))
            for path, label, split in members
        )
    if finding.lines:
        yield html.table([], [[line] for line in finding.lines[:LINES]])
    elif finding.paths:
        yield html.gallery(html.Cell(thumbnails[path], [path]) for path in finding.paths[:IMAGES])
    hidden = len(finding.groups[GROUPS:]) or len(finding.lines[LINES:]) or len(finding.paths[IMAGES:])
    if hidden:
        yield html.paragraph(f"and {hidden} more", faint=True)
