"""Read and write files. Each is written under a temporary name and then renamed, so none is left half-written."""

import codecs
import csv
import errno
import glob
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

MODEL, PREPROCESSING = "model.keras", "preprocessing.json"  # of a run directory, whose network can be initial weights
WRITING = ".writing-"  # prefix of the names of unfinished files and folders
BYTE_ORDER_MARK = "\ufeff"  # some editors put it at the start of a text file
OTHER_WRITER = "another process has begun it at the same time. Choose another folder"
OTHER_FOLDER = "the variable TMPDIR can name another folder for temporary files"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, a used up quota, and the limit of a file's size
# The same in words: the errors of HDF5, TensorFlow and NumPy have no number.
FULL_IN_WORDS = re.compile("|".join([*map(os.strerror, FULL), r"\d+ requested and \d+ written"]), re.IGNORECASE)

_unfinished: set[Path] = set()  # temporary files and folders of this process
_process = SimpleNamespace(is_ending=False)


def full_disk(error: BaseException | None) -> str | None:
    """Return the reason if an error, or one that led to it, says that there is no room on the disk; otherwise None."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return os.strerror(error.errno)
        if said := FULL_IN_WORDS.search(str(error)):
            return said[0] if "requested" not in said[0] else os.strerror(errno.ENOSPC)
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def _room_in(folder: Path, name: str | os.PathLike, hint: str = "") -> Iterator[None]:
    """Convert an error of any library about a full disk into an OSError about `name`, where a folder is written to.

    An OSError about a file elsewhere stays as it is.
    """
    try:
        yield
    except Exception as error:
        reason = full_disk(error)
        named = [Path(os.fsdecode(each)) for each in _named(error)]
        if not reason or (named and not any(each.is_relative_to(folder) for each in named)):
            raise
        raise OSError(errno.ENOSPC, f"cannot be written: {reason}{hint}", os.fspath(name)) from error


def _named(error: Exception) -> list[str | bytes]:
    """Return the paths that an OSError names: of a copy, the source and the target."""
    names = (error.filename, error.filename2) if isinstance(error, OSError) else ()
    return [name for name in names if isinstance(name, (str, bytes))]


@contextmanager
def _removed_afterwards(path: Path) -> Iterator[None]:
    """Let `remove_temporary` remove a file or folder as long as the block runs.

    Raises:
        RuntimeError: It has been called: this process is about to end.
    """
    if _process.is_ending:
        raise RuntimeError("this process is about to end")
    _unfinished.add(path)
    try:
        yield
    finally:
        _unfinished.discard(path)


def remove_temporary() -> None:
    """Remove the temporary files and folders of this process, which is about to end without finishing its work.

    Its other threads cannot make new ones from now on.
    """
    _process.is_ending = True
    for _ in range(2):  # a thread may have been about to write one
        for path in list(_unfinished):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        time.sleep(0.02)


@contextmanager
def temporary_folder(beside: str | os.PathLike | None = None) -> Iterator[Path]:
    """Yield a temporary folder, which is removed afterwards.

    Args:
        beside: The path next to which it is made, for what will be moved there. Default: where the system's are.

    Raises:
        OSError: The disk became full. Its `filename` is `beside` or the system's temporary folder, whichever library
            was writing.
    """
    if beside is None:
        folder, start, hint = Path(tempfile.gettempdir()), "keras-inception-", f"; {OTHER_FOLDER}"
    else:
        folder, start, hint = Path(beside).parent, f"{WRITING}{Path(beside).name}-", ""
    path = folder / f"{start}{secrets.token_hex(4)}"
    with _room_in(path, beside or folder, hint), _removed_afterwards(path):
        path.mkdir(0o700)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path next to `path`, and rename the file there to `path` afterwards; on an error, remove it.

    The temporary name has the suffix of `path`, since some writers choose the format by it.

    Raises:
        OSError: The file cannot be written, for example because the disk is full, whichever library was writing. Its
            `filename` is `path`, which is left unchanged. A ConnectionError is not about this file and is raised as it
            is.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{WRITING}{secrets.token_hex(4)}{path.name}")
    try:
        with _removed_afterwards(beside):
            beside.touch(exist_ok=False)
            mode = beside.stat().st_mode
            yield beside
            with open(beside, "r+b") as written:  # Windows cannot flush a file that is open only for reading
                os.fsync(written.fileno())
            beside.chmod(mode)  # writers that replace the file, as safetensors does, may make it private
            os.replace(beside, path)
    except ConnectionError:
        raise
    except Exception as error:
        reason, number = full_disk(error), errno.ENOSPC
        if reason is None and isinstance(error, OSError):
            reason, number = error.strerror or " ".join(str(error).split()), error.errno or errno.EIO
        if reason is None:
            raise
        raise OSError(number, f"cannot be written: {reason}", str(path)) from error
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary folder next to `path` to fill, and rename it to `path` afterwards; on an error, remove it.

    Unfinished versions of the same folder, left by killed processes, are removed first.

    Raises:
        FileExistsError: Another process is writing the same folder, or has written it meanwhile.
        OSError: The folder cannot be written, for example because the disk is full. Its `filename` is `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{WRITING}{path.name}-"
    with _only_writer(path):
        for left in path.parent.glob(f"{glob.escape(prefix)}{'[a-z0-9_]' * 8}"):
            shutil.rmtree(left, ignore_errors=True)
        with temporary_folder(path) as beside:
            new = beside / path.name
            new.mkdir()
            yield new
            try:
                os.rename(new, path)
            except OSError:
                if os.path.lexists(path):
                    raise FileExistsError(f"{path} exists: {OTHER_WRITER}") from None
                raise


@contextmanager
def _only_writer(path: Path) -> Iterator[None]:
    """Keep other processes from writing the same folder, and from taking this process's version for a left one."""
    import filelock  # not above: it takes as long to import as all the rest, and every child imports this module

    lock = filelock.FileLock(path.with_name(f"{WRITING}{path.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise FileExistsError(f"{path} is being written: {OTHER_WRITER}") from None
    try:
        with _removed_afterwards(Path(lock.lock_file)):
            yield
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def cache() -> Path:
    """Return the cache folder: ``keras-inception`` in ``XDG_CACHE_HOME``, by default ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keras-inception"


def remove_unfinished(folder: str | os.PathLike) -> None:
    """Remove the temporary files that a killed process left in a folder. No other process may be writing to it."""
    for left in Path(folder).rglob(f"{WRITING}*"):
        if left.is_file():
            left.unlink()


def sha256(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: str | os.PathLike, text: str, errors: str = "strict") -> None:
    """Write UTF-8 text to `path`, completely or not at all."""
    with replacing(path) as beside:
        beside.write_text(
            text, encoding="utf-8", errors=errors, newline="\n"
        )  # also on Windows: phones read some of these files


def write_json(path: str | os.PathLike, value) -> None:
    """Write `value` to `path` as indented JSON, completely or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_csv(path: str | os.PathLike, rows: Sequence[Mapping], columns: Sequence[str] = ()) -> None:
    """Write rows, which may differ in their columns, to `path` as CSV, completely or not at all.

    The given columns come first, and are there without rows too. Names of files that are not UTF-8 keep their bytes.
    """
    columns = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue(), errors="surrogateescape")


def read_text(path: str | os.PathLike, errors: str = "strict") -> str:
    """Return the text of a file, UTF-8 or UTF-16, without a byte order mark.

    Args:
        path: the file.
        errors: as in `bytes.decode`; "surrogateescape" keeps names of files that are not UTF-8.

    Raises:
        ValueError: The file has another encoding. The message names it.
    """
    return _decoded(Path(path).read_bytes(), str(path), errors).removeprefix(BYTE_ORDER_MARK)


def read_csv(path: str | os.PathLike) -> list[dict[str, str]]:
    """Read the rows of a table that `write_csv` wrote, as text by column."""
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def read_json(path: str | os.PathLike):
    """Read a JSON file. Raise ValueError with the name of the file if it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # too many digits, or nested too deeply
        raise ValueError(f"{path} is not a JSON file: {error}") from None


def check_parent(path: str | os.PathLike | None) -> None:
    """Raise FileNotFoundError if the folder to write a file to does not exist."""
    if path is not None and not Path(path).resolve().parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {Path(path).parent}")


def write_labels(path: str | os.PathLike, class_names: Sequence[str]) -> None:
    """Write the names of classes, one per line, in the order of the classes, cleaned by `clean_label`.

    Raises:
        ValueError: A name is blank or has several lines.
    """
    for name in class_names:
        if not clean_label(name) or {"\n", "\r"} & set(name):
            raise ValueError(f"a label must be one line of text. Received: {name!r}")
    write_text(path, "".join(f"{clean_label(name)}\n" for name in class_names))


def read_labels(path: str | os.PathLike) -> tuple[str, ...]:
    """Return the names of classes in a labels file, one per line, as `parse_labels` does.

    Raises:
        ValueError: The file is not a list of labels. The message names it.
    """
    return parse_labels(Path(path).read_bytes(), str(path))


def given_labels(labels: str | os.PathLike | Sequence[str]) -> tuple[str, ...]:
    """Return the names of classes that an argument `labels` gives: a labels file, or the names themselves.

    Teachable Machine's files number the names, "0 cat", "1 dog". Such numbers are left out.

    Raises:
        ValueError: The file is not a list of labels, or a name is blank or has several lines.
    """
    if isinstance(labels, (str, os.PathLike)):
        found = read_labels(labels)
        if _is_json("\n".join(found)):
            raise ValueError(f"{labels} must hold one label per line. Received: JSON")
        return _without_numbers(found)
    class_names = tuple(map(clean_label, labels))
    if any(len(name.splitlines()) != 1 for name in class_names):
        raise ValueError(f"each of `labels` must be a line of text. Received: {labels!r:.200}")
    return class_names


def parse_labels(content: bytes, where: str) -> tuple[str, ...]:
    """Return the labels in the content of a text file, one per line, cleaned by `clean_label`.

    The text is UTF-8, or UTF-16 with a byte order mark. Lines end in LF, CR or both. Blank lines at the end are
    ignored.

    Args:
        content: the content of the file.
        where: name of the file in messages.

    Raises:
        ValueError: The text has another encoding, no lines, or a blank line before a label.
    """
    text = _decoded(content, where).replace("\r\n", "\n").replace("\r", "\n")
    labels = list(map(clean_label, text.split("\n")))
    while labels and not labels[-1]:
        labels.pop()
    if not all(labels):
        blank = labels.index("") + 1
        received = f"a blank line {blank}, before {labels[-1]!r} in line {len(labels)}"
        raise ValueError(f"{where} must hold one label per line, none empty. Received: {received}")
    if not labels:
        raise ValueError(f"{where} must hold one label per line. Received: no labels")
    return tuple(labels)


def _without_numbers(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return labels without a number in front, if each of them begins with its own, from 0."""
    parts = [label.split(maxsplit=1) for label in labels]
    if len(labels) > 1 and all(part[0] == str(index) and part[1:] for index, part in enumerate(parts)):
        return tuple(name for _, name in parts)
    return labels


def clean_label(label: str) -> str:
    """Return a label without a byte order mark in front of it and without blanks after it."""
    return label.lstrip(BYTE_ORDER_MARK).rstrip()


def _is_json(text: str) -> bool:
    """Return True for a JSON object or list."""
    try:
        return text[:1] in ("{", "[") and isinstance(json.loads(text), (dict, list))
    except (ValueError, RecursionError):
        return False


def _decoded(content: bytes, where: str, errors: str = "strict") -> str:
    """Return the text of a file. A byte order mark stays at its start.

    Raises:
        ValueError: It is neither UTF-8 nor UTF-16 with a byte order mark.
    """
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "UTF-16" if marked else "UTF-8"
    try:
        text = content.decode(encoding, errors)
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        received = f"byte 0x{content[error.start]:02x} at position {error.start}, in line {line}"
        hint = "" if marked else "; if it is Latin-1 or another encoding, save it as UTF-8"
        raise ValueError(f"{where} is not {encoding} text. Received: {received}{hint}") from None
    if "\0" in text:
        place = content.index(b"\0")
        raise ValueError(
            f"{where} must be UTF-8 text, or UTF-16 with a byte order mark. Received: byte 0x00 at position {place}"
        )
    return text
