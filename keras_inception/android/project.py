"""`android`: write an Android project that runs the files of an export."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from keras_inception.exporting.model_card import ANSWERS, SAMPLES
from keras_inception.exporting.variants import VARIANTS
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.tflite.exported import REPORT, folder_of
from keras_inception.utils import files
from keras_inception.utils.checks import check_some_of

TEMPLATE = Path(__file__).with_name("project")
PACKAGE = "com.example.classifier"  # of the template
ASSETS = Path("app/src/main/assets")
EXPORT = "export.json"
WRITTEN = ".keras-inception.json"  # the SHA-256 of each file, as it was written
TESTS = ("pom.xml", "src/test/")  # parts of paths
KEYWORDS = """
    abstract as assert boolean break byte case catch char class const continue default do double else enum extends false
    final finally float for fun goto if implements import in instanceof int interface is long native new null object
    package private protected public return short static strictfp super switch synchronized this throw throws transient
    true try typealias typeof val var void volatile when while
"""


def android(
    exported: str | os.PathLike,
    output: str | os.PathLike,
    *,
    package: str = PACKAGE,
    name: str | None = None,
    variants: Sequence[str] | None = None,
    with_tests: bool = False,
    overwrite: bool = False,
) -> dict:
    """Write a Gradle project whose app classifies with the files of an export.

    The project is the user's. If it exists, files that were changed since they were written are kept as they are.

    Args:
        exported: a folder that `export` wrote, or a file in it.
        output: the folder of the project.
        package: package of the app's code, and its application ID.
        name: name of the app; by default, that of the files.
        variants: files to put into the app, the one that it starts with first. By default all, int8 first.
        with_tests: write the tests too, which need Maven.
        overwrite: replace files that were changed.

    Returns:
        The content of the app's ``export.json`` (``name``; ``not_sure``, the probability below which the app says that
        it is not sure, or None; ``default``, the variant that it starts with; and ``variants``, each with its ``file``
        and whether processors may compute it in ``half_precision``), and ``kept``, the files that were changed.

    Raises:
        FileNotFoundError: a file of the export is missing in `exported`.
        FileExistsError: `output` exists and is not such a project.
        ValueError: an argument is invalid, or the content of `exported` is not what `export` writes.
    """
    exported, output = folder_of(exported), Path(output)
    if not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", package) or {*KEYWORDS.split()} & {*package.split(".")}:
        raise ValueError(f"`package` must be a package such as com.example.flowers. Received: {package!r}")
    if name is not None and not (name.strip() and name.isprintable()):
        raise ValueError(f"`name` must be the app's name, on one line. Received: {name!r}")
    if os.path.lexists(output) and not (output / WRITTEN).is_file() and not _is_empty(output):
        raise FileExistsError(f"{output} is not an app of `android` and will not be overwritten: it has no {WRITTEN}")
    described = _described(exported, name, variants)
    contents = dict(_files(exported, described, package, with_tests))
    if not (output / WRITTEN).is_file():
        with files.new_folder(output) as new:
            for path, content in contents.items():
                (new / path).parent.mkdir(parents=True, exist_ok=True)
                (new / path).write_bytes(content)
            _record(new, contents)
        return {**described, "kept": []}
    return {**described, "kept": _updated(output, contents, overwrite)}


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _described(exported: Path, name: str | None, variants: Sequence[str] | None) -> dict:
    """Return the content of ``export.json`` after opening every file."""
    report = files.read_json(exported / REPORT)
    try:
        rows = {key: row for key, row in report["variants"].items() if key in VARIANTS and "refused" not in row}
        paths = {variant: row["path"] for variant, row in rows.items()}
        half = {variant: bool((row.get("half_precision") or {}).get("allowed")) for variant, row in rows.items()}
        not_sure = report.get("not_sure")
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{exported / REPORT} is not a report of `export`: {error!r}") from None
    if not_sure is not None and not (isinstance(not_sure, float) and 0 < not_sure < 1):
        received = f"Received: {not_sure!r}"
        raise ValueError(f"`not_sure` in {exported / REPORT} must be null or a number between 0 and 1. {received}")
    if not paths:
        raise ValueError(f"{exported / REPORT} must list at least one exported file. Received: none")
    check_some_of("variants", variants or (), tuple(paths))
    chosen = list(dict.fromkeys(variants or sorted(paths, key=lambda variant: variant != "int8")))
    for variant in chosen:
        if Path(paths[variant]).name != paths[variant]:
            raise ValueError(f"{exported / REPORT} must name files in its own folder. Received: {paths[variant]!r}")
        TFLiteClassifier(exported / paths[variant])
    stem = Path(paths[chosen[0]]).stem.removesuffix(f"_{chosen[0]}")
    return {
        "name": name or stem.replace("_", " ").strip().capitalize(),
        "not_sure": not_sure,
        "default": chosen[0],
        "variants": {variant: {"file": paths[variant], "half_precision": half[variant]} for variant in chosen},
    }


def _files(exported: Path, described: dict, package: str, with_tests: bool) -> Iterator[tuple[str, bytes]]:
    """Yield each file of the project with its content."""
    for path in sorted(TEMPLATE.rglob("*")):
        place = path.relative_to(TEMPLATE).as_posix()
        if path.is_file() and (with_tests or not any(part in place for part in TESTS)):
            yield _renamed(place, package), _adapted(path, described["name"], package)
    samples = [name for name in SAMPLES if (exported / name).is_file()]
    for name in (*(row["file"] for row in described["variants"].values()), ANSWERS, *samples):
        if not (exported / name).is_file():
            raise FileNotFoundError(f"{exported} must be a folder that `export` wrote: it has no {name}")
        yield (ASSETS / name).as_posix(), (exported / name).read_bytes()
    yield (ASSETS / EXPORT).as_posix(), (json.dumps(described, indent=2, ensure_ascii=False) + "\n").encode()


def _renamed(place: str, package: str) -> str:
    return place.replace(PACKAGE.replace(".", "/"), package.replace(".", "/"))


def _adapted(path: Path, name: str, package: str) -> bytes:
    """Return a file of the template with the app's package and name in place of the template's."""
    content = path.read_bytes()
    if b"\0" in content:
        return content
    text = content.decode().replace(PACKAGE, package)
    if path.name == "strings.xml":
        quoted = re.sub(r"([\\'\"])", r"\\\1", escape(name))
        quoted = f"\\{quoted}" if quoted.startswith(("@", "?")) else quoted
        text = re.sub(r'(<string name="app_name"[^>]*>)[^<]*', lambda found: found[1] + quoted, text)
    if path.name == "settings.gradle.kts":
        quoted = re.sub(r"([\\\"$])", r"\\\1", name)
        text = re.sub(r'(rootProject\.name = )"[^"]*"', lambda found: f'{found[1]}"{quoted}"', text)
    return text.encode()


def _updated(output: Path, contents: dict[str, bytes], overwrite: bool) -> list[str]:
    """Write what has not been changed since it was written, and return the files that were."""
    before = _written(output)
    kept = []
    for place, content in contents.items():
        path = output / place
        changed = path.is_file() and path.read_bytes() != content and before.get(place) != files.sha256(path)
        if changed and not overwrite:
            kept.append(place)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing(path) as beside:
                beside.write_bytes(content)
    for place in before.keys() - contents.keys():  # of an earlier export or version
        path = output / place
        if path.is_file() and files.sha256(path) == before[place]:
            path.unlink()
    _record(output, contents)
    return kept


def _written(output: Path) -> dict[str, str]:
    found = files.read_json(output / WRITTEN)
    if not isinstance(found, dict) or not all(_is_inside(output, place) for place in found):
        raise ValueError(f"{output / WRITTEN} must list files of the project. Received: {str(found)[:100]!r}")
    return found


def _is_inside(folder: Path, place: str) -> bool:
    return (folder / place).resolve().is_relative_to(folder.resolve())


def _record(output: Path, contents: dict[str, bytes]) -> None:
    """Write the SHA-256 of the files as they came from here, so that changes can be told."""
    files.write_json(output / WRITTEN, {place: hashlib.sha256(each).hexdigest() for place, each in contents.items()})
