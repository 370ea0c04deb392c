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

TIMEOUT = 30  # seconds without data
CHUNK = 1 << 20


def cache() -> Path:
    """Return the download cache: ``models/keras_inception`` in KERAS_HOME, which defaults to ``~/.keras``."""
    home = os.environ.get("KERAS_HOME")
    if not home:
        user = os.path.expanduser("~")
        home = os.path.join(user if os.access(user, os.W_OK) else tempfile.gettempdir(), ".keras")
    return Path(home, "models", "keras_inception")


def fetch(entry: Published) -> Path:
    """Return the local path of a published weights file. Download it unless an intact copy is cached.

    Raises:
        ValueError: the downloaded file has the wrong hash, or the published hash is not known.
        OSError: it cannot be downloaded or written.
    """
    path = cache() / entry.address.rpartition("/")[2].partition("?")[0]
    if entry.hash is None:
        raise ValueError(
            f"the hash of {entry.address} is not known, so it is not downloaded: download and unpack it yourself, and "
            f"pass the path of the file as `weights`. Received: weights='imagenet:{entry.publisher}'"
        )
    if path.is_file() and not _is_whole(path, entry.hash):
        logger.warning("%s is damaged, downloading it again", path)
        path.unlink()
    if not path.is_file():
        download(entry.address, path, entry.hash)
    return path


def download(address: str, path: Path, hash: str) -> None:
    """Download a file to `path` and verify its hash. On errors, nothing is left at `path`.

    Args:
        address: URL of the file.
        path: where to write it.
        hash: algorithm and first hexadecimal digits, as in `Published`.

    Raises:
        ValueError: the file has the wrong hash.
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
                f"{address} is not the published file, and was not saved to {path}. Its hash "
                f"must be {hash}. Received: {_digest(beside, hash)}"
            )


def _copy(address: str, path: Path) -> None:
    """Download a URL to `path`. Raise OSError if the content is shorter than announced.

    Show a progress bar on standard error in a terminal or notebook.
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
        announced = response.length  # None if not announced
        task = bar.add_task(f"Downloading {address}", total=announced)
        while chunk := response.read(CHUNK):
            file.write(chunk)
            bar.advance(task, len(chunk))
        if announced is not None and file.tell() != announced:
            raise OSError(f"it ended after {file.tell()} of {announced} bytes")


def _digest(path: Path, hash: str) -> str:
    """Return the hash of a file, with the algorithm and number of digits of `hash`."""
    algorithm, _, digits = hash.partition(":")
    with open(path, "rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()[: len(digits)]}"


def _is_whole(path: Path, hash: str) -> bool:
    return _digest(path, hash) == hash
