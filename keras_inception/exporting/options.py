"""The options of an export, checked before anything heavy is loaded."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeGuard

from keras_inception.exporting.clients import check as check_clients
from keras_inception.exporting.model_card import SIDECARS
from keras_inception.exporting.report import LAYER_ERRORS, REPORT
from keras_inception.exporting.rewrites import check_names
from keras_inception.exporting.targets import DEFAULT, LITERT_SAMPLE, Target
from keras_inception.exporting.variants import VARIANTS
from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import Run
from keras_inception.tflite.metadata import About
from keras_inception.utils import files
from keras_inception.version import __version__

if TYPE_CHECKING:
    import keras


TEST_IMAGES = 500  # on which an agreement of 99 % is known to within a percent


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The options of `export`, which documents them."""

    quantize: Sequence[str] | None = None
    rewrites: Sequence[str] | None = None
    name: str | None = None
    labels: str | os.PathLike | Sequence[str] | None = None
    preprocessing: str | os.PathLike | Preprocessing | None = None
    calibration: str | os.PathLike | None = None
    test: str | os.PathLike | None = None
    description: str | None = None
    author: str | None = None
    licence: str | None = None
    min_agreement: float | None = None
    verify_pictures: int | Literal["all"] = TEST_IMAGES
    keep_float: Sequence[str] = ()
    layer_errors: bool = False
    clients: Sequence[str] | None = None
    litert_sample: bool = False
    overwrite: bool = False
    threads: int = 1

    @property
    def target(self) -> Target:
        """What the files must fit."""
        return LITERT_SAMPLE if self.litert_sample else DEFAULT

    def check(self, source: "str | os.PathLike | keras.Model | None", output: str | os.PathLike) -> None:
        """Raise what `export` raises for arguments that are wrong for every model.

        Args:
            source: as for `export`; None if it is still to be made.
            output: the folder to write into.
        """
        self._check_values()
        check_clients(self.clients)
        if isinstance(source, (str, os.PathLike)):
            check_source(source)
        if isinstance(self.labels, (str, os.PathLike)):
            files.read_labels(self.labels)
        if isinstance(self.preprocessing, (str, os.PathLike)):
            Preprocessing.named(str(self.preprocessing))
        check_images(self.calibration, self.test)
        self._check_folder(Path(output), source)

    def about(self, name: str, classes: int) -> About:
        """Return the metadata's description.

        Args:
            name: of the files, if the options name none.
            classes: number of classes.
        """
        return About(
            name=self.name or re.sub(r"[^\w.-]", "_", name),
            version=f"keras-inception {__version__}",
            description=self.description or f"Classifies images into {classes} classes.",
            author=self.author or "",
            license=self.licence or "",
        )

    def _check_values(self) -> None:
        check_names(self.rewrites)
        asked = self.quantize
        if asked is not None and (isinstance(asked, str) or not asked or not set(asked) <= set(VARIANTS)):
            raise ValueError(f"`quantize` must be some of {', '.join(VARIANTS)}. Received: {asked!r}")
        if self.name is not None and not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError(f"`name` must consist of letters, digits, '_', '-' and '.'. Received: name={self.name!r}")
        if self.min_agreement is not None and not self.min_agreement >= 0:
            received = f"min_agreement={self.min_agreement}"
            raise ValueError(f"`min_agreement` must be a share, 0 or more. Received: {received}")
        if isinstance(self.keep_float, str):
            raise ValueError(f"`keep_float` must be a list of layers. Received: {self.keep_float!r}")
        calibrated = [variant.name for variant in VARIANTS.values() if variant.calibrated]
        if asked is not None and not set(asked) & set(calibrated) and (self.keep_float or self.layer_errors):
            option = "keep_float" if self.keep_float else "layer_errors"
            needed = " or ".join(calibrated)
            raise ValueError(f"`{option}` is about {needed}, which must be in `quantize`. Received: {list(asked)}")
        count = self.verify_pictures
        if count != "all" and not (isinstance(count, int) and count >= 1):
            raise ValueError(f"`verify_pictures` must be 1 or more, or 'all'. Received: {count!r}")

    def _check_folder(self, folder: Path, source: "str | os.PathLike | keras.Model | None") -> None:
        if is_run(source) and folder.resolve() == Path(source).resolve():
            raise ValueError(f"`output` must not be the run's own folder. Received: {folder}")
        models = [f"{self.name or '*'}_{variant}.tflite" for variant in VARIANTS]
        patterns = (REPORT, LAYER_ERRORS, *SIDECARS, *models)
        present = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
        if present and not self.overwrite:
            raise FileExistsError(
                f"{folder} already holds {', '.join(present)}: choose another folder, or overwrite them"
            )


def is_run(source: "str | os.PathLike | keras.Model | None") -> TypeGuard[str | os.PathLike]:
    """Return whether `source` is a directory, and so should be a run."""
    return isinstance(source, (str, os.PathLike)) and Path(source).is_dir()


def own_name(source: "str | os.PathLike | keras.Model") -> str | None:
    """Return the name of a ``.keras`` file without its suffix; None for a run or a model."""
    return Path(source).stem if isinstance(source, (str, os.PathLike)) and not is_run(source) else None


def check_source(source: str | os.PathLike) -> None:
    """Raise if there is no run directory and no file at `source`."""
    if is_run(source):
        Run(Path(source)).check_trained()
    elif not Path(source).exists():
        raise FileNotFoundError(f"there is no run directory or .keras file at {source}")


def check_images(calibration: str | os.PathLike | None, test: str | os.PathLike | None) -> None:
    """Raise ValueError if a look at the paths tells that there are no images."""
    from keras_inception import datasets

    if calibration is not None and not Path(calibration).is_dir():
        there = "a file" if Path(calibration).exists() else "not there"
        raise ValueError(f"`calibration` must be a folder of images. Received: {calibration}, which is {there}")
    if test is not None:
        datasets.located(test)
