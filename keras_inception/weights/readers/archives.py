"""Zip files: what torch and Keras write today."""

import errno
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager


class Archive:
    """The entries of a zip file. They must be stored, as torch and Keras do: none can be larger than the file then.

    Raises:
        ValueError: the file is damaged.
        OSError: it cannot be read.
    """

    def __init__(self, path: str | os.PathLike):
        self._left = os.path.getsize(path)
        self._file = open(path, "rb")  # noqa: SIM115
        try:
            with _damage_named("it"):
                self._zip = zipfile.ZipFile(self._file)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._zip.NameToInfo

    @property
    def names(self) -> list[str]:
        return self._zip.namelist()

    def read(self, name: str) -> bytes:
        """An entry's content; ValueError if it is missing, damaged or compressed, or laps over others."""
        if name not in self:
            raise ValueError(f"it has no entry {name:.200}")
        entry = self._zip.getinfo(name)
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise ValueError(f"its entry {name:.200} is compressed or encrypted, which torch and Keras never do")
        self._left -= entry.file_size
        if entry.file_size != entry.compress_size or self._left < 0:
            raise ValueError(f"its entry {name:.200} is larger than the file has room for")
        with _damage_named(f"its entry {name:.200}"):
            return self._zip.read(entry)


@contextmanager
def _damage_named(what: str) -> Iterator[None]:
    """Turn what `zipfile` raises on damaged files into a ValueError, the seek to a place that cannot be among it."""
    try:
        yield
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OverflowError) as error:
        raise ValueError(f"{what} is damaged: {error}") from None
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise ValueError(f"{what} is damaged: it points outside of the file") from None
        raise
