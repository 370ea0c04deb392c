"""The pictograms dataset that is bundled with the package."""

import os
import zipfile
from pathlib import Path

from keras_inception.utils.files import temporary_folder

ARCHIVE = Path(__file__).with_name("pictograms.zip")


def pictograms(directory: str | os.PathLike) -> Path:
    """Unpack the bundled pictograms into the folder `directory`, unless they are there already.

    There are 5,849 images of 64×64 pixels in 19 classes, in ``train/ validation/ test/``. ``README.md`` next to them
    names the artists and licenses.

    Returns:
        The folder, for `open_folder`.

    Raises:
        ValueError: `directory` holds other files, or lacks some of the pictograms.
        OSError: `directory` cannot be written.
    """
    root = Path(directory)
    with zipfile.ZipFile(ARCHIVE) as archive:
        if not root.exists() or not any(root.iterdir()):
            _unpack(archive, root)
        missing = sum(not (root / name).exists() for name in archive.namelist())
    if missing:
        raise ValueError(f"{root} is not empty and lacks {missing} of the pictograms: remove it or choose another")
    return root


def _unpack(archive: zipfile.ZipFile, root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(root) as beside:
        whole = beside / "pictograms"
        archive.extractall(whole)  # never outside of `whole`: it strips ".." and root directories from names
        try:
            whole.rename(root)  # replaces an empty folder too
        except OSError:
            if not root.is_dir():  # otherwise another process was faster
                raise
