"""Writing that leaves nothing half done: beside, then renamed."""

import csv
import errno
import glob
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

WRITING = ".writing-"  # what the name of anything that is not whole yet begins with


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A path beside `path` to write to; on leaving without an error it takes the name `path`, else it is removed.

    The temporary name ends like `path`, for writers that go by the ending.

    Raises:
        OSError: it cannot be written, on a full disk, say; `filename` is `path`, which is as it was. A ConnectionError
            is about something else, and passes as it is.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=WRITING, suffix=path.name, dir=path.parent)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        with open(beside, "r+b") as written:  # Windows flushes no file that is open for reading alone
            os.fsync(written.fileno())
        beside.chmod(0o666 & ~_umask())
        os.replace(beside, path)
    except ConnectionError:
        raise
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise OSError(error.errno or errno.EIO, f"cannot be written: {reason}", str(path)) from error
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[Path]:
    """A folder beside `path` to fill; on leaving without an error it takes the name `path`, else it is removed.

    What one that was killed has left of the same is removed too.

    Raises:
        OSError: it cannot be written, or `path` is a folder that is not empty.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{WRITING}{path.name}-"
    for left in path.parent.glob(f"{glob.escape(prefix)}{'[a-z0-9_]' * 8}"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent) as beside:
        new = Path(beside) / path.name
        new.mkdir()
        yield new
        os.rename(new, path)


def cache() -> Path:
    """The folder for what can be had again: ``keras-inception`` in ``XDG_CACHE_HOME``, by default ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keras-inception"


def remove_unfinished(folder: str | os.PathLike) -> None:
    """Remove what one that was killed was writing by `replacing`, in a folder that no other process writes into."""
    for left in Path(folder).rglob(f"{WRITING}*"):
        if left.is_file():
            left.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256(path: str | os.PathLike) -> str:
    """The hash of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text under `path`, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")  # on Windows too: phones read some of these files


def write_json(path: str | os.PathLike, value) -> None:
    """Write `value` as indented JSON under `path`, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_csv(path: str | os.PathLike, rows: Sequence[Mapping]) -> None:
    """Write rows, which need not all have the same columns, as CSV under `path`, whole or not at all."""
    columns = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_json(path: str | os.PathLike):
    """The value of a JSON file; ValueError naming the file if it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from None


def check_parent(path: str | os.PathLike | None) -> None:
    """Raise FileNotFoundError if the folder that a file is to be written into is not there."""
    if path is not None and not Path(path).resolve().parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {Path(path).parent}")


def write_labels(path: str | os.PathLike, labels: list[str] | tuple[str, ...]) -> None:
    """Write one label a line, in the order of the classes; ValueError if one has more lines, or none."""
    for label in labels:
        if not label.strip() or {"\n", "\r"} & set(label):
            raise ValueError(f"a label must be one line of text. Received: {label!r}")
    write_text(path, "".join(f"{label}\n" for label in labels))


def read_labels(path: str | os.PathLike) -> tuple[str, ...]:
    """The lines of a labels file; ValueError if there are none, or one is empty."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from None
    labels = tuple(text.removesuffix("\n").split("\n")) if text else ()
    if not labels or not all(label.strip() for label in labels):
        raise ValueError(f"{path} must hold one label a line, none empty. Received: {len(labels)} lines")
    return labels
