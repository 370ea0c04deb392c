"""Downloads of published weights, checked by their hashes and kept in a cache."""

import contextlib
import hashlib
import http.client
import logging
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from keras_inception.utils import files
from keras_inception.weights.publishers.published import Published

logger = logging.getLogger(__name__)

TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 20


def cache() -> Path:
    """Return the folder of downloaded weights: in Keras' own folder, which the variable KERAS_HOME moves."""
    home = os.environ.get("KERAS_HOME")
    if not home:
        user = os.path.expanduser("~")
        home = os.path.join(user if os.access(user, os.W_OK) else tempfile.gettempdir(), ".keras")
    return Path(home, "models", "keras_inception")


def fetch(entry: Published) -> Path:
    """Return the path of a file of published weights, and download it unless a whole one is in the cache.

    Raises:
        ValueError: the downloaded file is not the one published, or no hash is known that could tell.
        OSError: it cannot be downloaded or written.
    """
    path = cache() / entry.address.rpartition("/")[2].partition("?")[0]
    if entry.hash is None:
        raise ValueError(
            f"the hash of {entry.address} is not known, so it is not downloaded: fetch and unpack it yourself, and "
            f"give the path of the file as `weights`. Received: weights='imagenet:{entry.publisher}'"
        )
    if path.is_file() and not _is_whole(path, entry.hash):
        logger.warning("%s is broken and is downloaded again", path)
        path.unlink()
    if not path.is_file():
        download(entry.address, path, entry.hash)
    return path


def download(address: str, path: Path, hash: str) -> None:
    """Download a file to `path`, whole and with that hash or not at all.

    Args:
        address: URL of the file.
        path: where to write it.
        hash: algorithm and first digits, as in `Published`.

    Raises:
        ValueError: the file has another hash.
        OSError: it cannot be downloaded or written.
    """
    with files.replacing(path) as beside:
        try:
            _copy(address, beside)
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionError(
                f"{address} cannot be downloaded to {path}: {error or type(error).__name__}"
            ) from None
        if not _is_whole(beside, hash):
            raise ValueError(
                f"{address} is not the file that was published, and was not kept as {path}. Its hash "
                f"must be {hash}. Received: {_digest(beside, hash)}"
            )


def _copy(address: str, path: Path) -> None:
    """Write the content of an address to `path`; raise OSError if it is shorter than announced."""
    request = urllib.request.Request(address, headers={"User-Agent": "keras-inception"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response, open(path, "wb") as file:
        announced = response.length  # None if it is not announced
        with _progress(f"Downloading {address}", announced) as show:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                show(len(chunk))
        if announced is not None and file.tell() != announced:
            raise OSError(f"it ended after {file.tell()} of {announced} bytes")


def _digest(path: Path, hash: str) -> str:
    """Return the hash of a file, by the algorithm and in the length of `hash`."""
    algorithm, _, digits = hash.partition(":")
    with open(path, "rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()[: len(digits)]}"


def _is_whole(path: Path, hash: str) -> bool:
    return _digest(path, hash) == hash


@contextlib.contextmanager
def _progress(text: str, total: int | None) -> Iterator:
    """Show a progress bar on standard error, if that is a terminal or a notebook. Call it with the bytes received."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    logger.info(text)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    seen = console.is_terminal or console.is_jupyter
    with Progress(*columns, console=console, transient=True, disable=not seen) as bar:
        task = bar.add_task(text, total=total)
        yield lambda count: bar.advance(task, count)
