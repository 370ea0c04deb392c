"""The pictograms that come with the package."""

import os
import tempfile
import zipfile
from pathlib import Path

ARCHIVE = Path(__file__).with_name("pictograms.zip")


def pictograms(directory: str | os.PathLike) -> Path:
    """Unpack the bundled pictograms as the folder `directory`, unless they are there already.

    5,849 pictures of 64×64 in 19 classes, in ``train/ validation/ test/``; ``README.md`` beside them names the artists
    and licences.

    Returns:
        The folder, for `open_folder`.

    Raises:
        ValueError: `directory` holds other things, or not all of the pictograms.
        OSError: it cannot be written.
    """
    root = Path(directory)
    with zipfile.ZipFile(ARCHIVE) as archive:
        if not root.exists() or not any(root.iterdir()):
            _unpack(archive, root)
        missing = sum(not (root / name).exists() for name in archive.namelist())
    if missing:
        raise ValueError(f"{root} is not empty and lacks {missing} files of the pictograms: remove it or name another")
    return root


def _unpack(archive: zipfile.ZipFile, root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=root.parent) as beside:
        whole = Path(beside) / "pictograms"
        archive.extractall(whole)  # never above `whole`: it takes ".." and roots off the names
        try:
            whole.rename(root)  # in place of an empty folder too
        except OSError:
            if not root.is_dir():  # else another process was first
                raise
