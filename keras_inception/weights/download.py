"""Download published weights, check their hashes and keep them in a cache."""

import hashlib
import http.client
import logging
import os
import tempfile
import urllib.request
from pathlib import Path

from keras_inception.utils import files
from keras_inception.weights.publishers.published import Published

logger = logging.getLogger(__name__)

TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 20


def cache() -> Path:
    """Return the folder of downloaded weights: ``models/keras_inception`` in KERAS_HOME, by default ``~/.keras``."""
    home = os.environ.get("KERAS_HOME")
    if not home:
        user = os.path.expanduser("~")
        home = os.path.join(user if os.access(user, os.W_OK) else tempfile.gettempdir(), ".keras")
    return Path(home, "models", "keras_inception")


def fetch(entry: Published) -> Path:
    """Return the path of a published file of weights. Download it unless the cache has it whole.

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
    """Download a file to `path`, completely and with the right hash, or not at all.

    Args:
        address: URL of the file.
        path: where to write it.
        hash: algorithm and first hexadecimal digits, as in `Published`.

    Raises:
        ValueError: the file has another hash.
        OSError: it cannot be downloaded or written.
    """
    with files.replacing(path) as beside:
        try:
            _copy(address, beside)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise ConnectionError(f"{address} cannot be downloaded to {path}: {reason}") from None
        if not _is_whole(beside, hash):
            raise ValueError(
                f"{address} is not the file that was published, and was not kept as {path}. Its hash "
                f"must be {hash}. Received: {_digest(beside, hash)}"
            )


def _copy(address: str, path: Path) -> None:
    """Write the content of an address to `path`; raise OSError if it is shorter than announced.

    Show a progress bar on standard error, if that is a terminal or a notebook.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    logger.info("Downloading %s", address)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    hidden = not (console.is_terminal or console.is_jupyter)
    request = urllib.request.Request(address, headers={"User-Agent": "keras-inception"})
    with (
        urllib.request.urlopen(request, timeout=TIMEOUT) as response,
        open(path, "wb") as file,
        Progress(*columns, console=console, transient=True, disable=hidden) as bar,
    ):
        announced = response.length  # None if it is not announced
        task = bar.add_task(f"Downloading {address}", total=announced)
        while chunk := response.read(CHUNK):
            file.write(chunk)
            bar.advance(task, len(chunk))
        if announced is not None and file.tell() != announced:
            raise OSError(f"it ended after {file.tell()} of {announced} bytes")


def _digest(path: Path, hash: str) -> str:
    """Return the hash of a file, by the algorithm and in the length of `hash`."""
    algorithm, _, digits = hash.partition(":")
    with open(path, "rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()[: len(digits)]}"


def _is_whole(path: Path, hash: str) -> bool:
    return _digest(path, hash) == hash
