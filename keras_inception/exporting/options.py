"""The options of an export, checked before anything heavy is loaded."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from keras_inception.exporting.clients import check as check_clients
from keras_inception.exporting.model_card import SIDECARS
from keras_inception.exporting.report import LAYER_ERRORS, REPORT
from keras_inception.exporting.rewrites import check_names
from keras_inception.exporting.source import TEST_IMAGES, Source, check_images, check_source, is_run
from keras_inception.exporting.targets import DEFAULT, LITERT_SAMPLE, Target
from keras_inception.exporting.variants import VARIANTS, Variant
from keras_inception.preprocessing import Preprocessing
from keras_inception.tflite.metadata import About
from keras_inception.utils import files
from keras_inception.utils.suggestions import did_you_mean
from keras_inception.version import __version__

if TYPE_CHECKING:
    import keras


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

    def variants(self, source: Source) -> list[Variant]:
        """Return the variants to make of a network, adapted to the target.

        Raises:
            ValueError: calibration images are missing, or `keep_float` is not possible for this network.
        """
        self._check_layers(source)
        chosen = [VARIANTS[name] for name in self.quantize or VARIANTS]
        if source.trained_for_int8:
            chosen = [variant for variant in chosen if self.quantize or variant.calibrated]
        elif not len(source.calibration):
            for variant in chosen:
                if variant.calibrated:
                    raise ValueError(
                        f"{variant.name} needs `calibration`, a folder of images like those it will see. Received: none"
                    )
        return [self.target.adapt(variant) for variant in chosen]

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

    def _check_layers(self, source: Source) -> None:
        if self.keep_float and source.trained_for_int8:
            received = list(self.keep_float)
            raise ValueError(f"`keep_float` does not apply to a network trained for int8. Received: {received}")
        known = [layer.name for layer in source.model.layers]
        for layer in self.keep_float:
            if layer not in known:
                hint = did_you_mean(layer, known)
                network = source.model.name
                raise ValueError(
                    f"`keep_float` must be layers of {network}, without auxiliary heads.{hint} Received: {layer!r}"
                )
