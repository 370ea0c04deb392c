"""Zip files, the container format of torch's and Keras' files."""

import errno
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager


class Archive(zipfile.ZipFile):
    """A zip file with uncompressed entries, as torch and Keras write it. No entry can exceed the file.

    Raises:
        ValueError: The file is damaged.
        OSError: The file cannot be read.
    """

    def __init__(self, path: str | os.PathLike):
        with _damage_named("it"):
            super().__init__(path)
        self._left = os.path.getsize(path)

    def __contains__(self, name: str) -> bool:
        return name in self.NameToInfo

    def content(self, name: str) -> bytes:
        """Return an entry's content. Raise ValueError if it is missing, damaged, compressed or overlaps others."""
        if name not in self:
            raise ValueError(f"it has no entry {name:.200}")
        entry = self.getinfo(name)
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise ValueError(f"its entry {name:.200} is compressed or encrypted, which torch and Keras never do")
        self._left -= entry.file_size
        if entry.file_size != entry.compress_size or self._left < 0:
            raise ValueError(f"its entry {name:.200} is larger than the file has room for")
        with _damage_named(f"its entry {name:.200}"):
            return self.read(entry)


@contextmanager
def _damage_named(what: str) -> Iterator[None]:
    """Convert the errors of `zipfile` for damaged files to ValueError, including a seek to an impossible offset."""
    try:
        yield
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OverflowError) as error:
        raise ValueError(f"{what} is damaged: {error}") from None
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise ValueError(f"{what} is damaged: it points outside the file") from None
        raise
