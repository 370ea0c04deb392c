"""What weights are converted to. Imports nothing heavy, so that a wrong path is told at once."""

import os
from pathlib import Path

from keras_inception.weights.published import check_weights

KINDS = (".keras", ".safetensors")


def check_conversion(source: str | os.PathLike, target: str | os.PathLike, *, overwrite: bool) -> None:
    """Raise what `convert` raises for paths that are wrong, before anything is read."""
    target = Path(target)
    if target.suffix not in KINDS:
        raise ValueError(f"`target` must end in {' or '.join(KINDS)}. Received: '{target}'")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists: replace it by overwrite=True, --overwrite on the command line")
    check_weights(source)
