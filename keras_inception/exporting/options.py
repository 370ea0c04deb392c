"""The options of an export, checked before anything heavy is loaded."""

import dataclasses
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from keras_inception import model_files
from keras_inception.exporting.calibration import Calibration
from keras_inception.exporting.calibration import check as check_calibration
from keras_inception.exporting.clients import check as check_clients
from keras_inception.exporting.model_card import SIDECARS
from keras_inception.exporting.report import LAYER_ERRORS
from keras_inception.exporting.rewrites import REWRITES
from keras_inception.exporting.targets import LITERT_SAMPLE, Target
from keras_inception.exporting.variants import TYPES, VARIANTS
from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import Run, is_run
from keras_inception.tflite.exported import REPORT
from keras_inception.tflite.metadata import About
from keras_inception.tflite.runtimes import numbers
from keras_inception.utils import files
from keras_inception.utils.checks import check_one_of, check_some_of
from keras_inception.version import __version__

if TYPE_CHECKING:
    import keras

TEST_IMAGES = 500  # enough to estimate an agreement of 99 % to within one percentage point


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The options of `export`, which documents them."""

    quantize: Sequence[str] | None = None
    rewrites: Sequence[str] | None = None
    name: str | None = None
    labels: str | os.PathLike | Sequence[str] | None = None
    preprocessing: str | os.PathLike | Preprocessing | None = None
    size: tuple[int, int] | None = None
    output_name: str | None = None
    calibration: Calibration | None = None
    test: str | os.PathLike | None = None
    description: str | None = None
    author: str | None = None
    licence: str | None = None
    min_agreement: float | None = None
    verify_pictures: int | Literal["all"] = TEST_IMAGES
    keep_float: Sequence[str] = ()
    layer_errors: bool = False
    clients: Sequence[str] | None = None
    int8_input: str = "uint8"
    int8_output: str = "uint8"
    litert_sample: bool = False
    half_precision: bool = True
    not_sure: float | None = None
    runtime: str | None = None
    custom_objects: str | os.PathLike | None = None
    overwrite: bool = False
    threads: int = 1

    @property
    def target(self) -> Target:
        """The target that the files are made for."""
        return LITERT_SAMPLE if self.litert_sample else Target(self.int8_input, self.int8_output)

    @property
    def other_images(self) -> str:
        """Return which images can be given in place of a run's."""
        needed = {"--test (`test`)": self.test, "for int8 --calibration (`calibration`)": self.calibration}
        return f"Give other images: {', '.join(name for name, given in needed.items() if given is None)}. "

    def check(self, source: "str | os.PathLike | keras.Model | None", output: str | os.PathLike) -> None:
        """Check the options and raise the errors of `export` that do not depend on the model.

        Args:
            source: as for `export`; None if it does not exist yet.
            output: folder to write into.
        """
        from keras_inception import datasets
        from keras_inception.datasets.sources import check_there

        self._check_values()
        check_clients(self.clients)
        if self.custom_objects is not None and not isinstance(source, (str, os.PathLike)):
            raise ValueError(f"`custom_objects` requires a model file as the source. Received: {self.custom_objects}")
        if is_run(source):
            run = Run(Path(source))
            run.check_trained()
            if self.test is None:
                check_there(run, run.data, self.other_images)
        elif isinstance(source, (str, os.PathLike)):
            model_files.check_exists(source)
        if isinstance(self.labels, (str, os.PathLike)):
            files.given_labels(self.labels)
        if isinstance(self.preprocessing, (str, os.PathLike)):
            Preprocessing.named(str(self.preprocessing))
        if self.calibration is not None:
            check_calibration(self.calibration)
        if self.test is not None:
            datasets.located(self.test)
        folder = Path(output)
        if isinstance(source, (str, os.PathLike)) and folder.resolve() == Path(source).resolve():
            raise ValueError(f"`output` must not be the source's own folder. Received: {folder}")
        models = [f"{self.name or '*'}_{variant}.tflite" for variant in VARIANTS]
        patterns = (REPORT, LAYER_ERRORS, *SIDECARS, *models)
        present = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
        if present and not self.overwrite:
            raise FileExistsError(
                f"{folder} already holds {', '.join(present)}: choose another folder, or overwrite them"
            )
        if isinstance(source, (str, os.PathLike)) and not is_run(source):
            model_files.check_source(source)

    def about(self, source: "str | os.PathLike | keras.Model", model: str, classes: int) -> About:
        """Return the metadata texts.

        Args:
            source: as for `export`. Its name is the default of `name` if it is a model file.
            model: name of the model, the default of `name` otherwise.
            classes: number of classes.
        """
        named = isinstance(source, (str, os.PathLike)) and not is_run(source)
        return About(
            name=self.name or re.sub(r"[^\w.-]", "_", Path(source).stem if named else model),
            version=f"keras-inception {__version__}",
            description=self.description or f"Classifies images into {classes} classes.",
            author=self.author or "",
            license=self.licence or "",
        )

    def _check_values(self) -> None:
        model_files.check_custom_objects(self.custom_objects)
        if self.runtime is not None:
            numbers(self.runtime)
        check_some_of("rewrites", self.rewrites or (), REWRITES)
        asked = VARIANTS if self.quantize is None else self.quantize
        check_some_of("quantize", asked, VARIANTS, at_least=1)
        if self.name is not None and not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError(f"`name` must consist of letters, digits, '_', '-' and '.'. Received: name={self.name!r}")
        if self.min_agreement is not None and not self.min_agreement >= 0:
            raise ValueError(f"`min_agreement` must be a share ≥ 0. Received: min_agreement={self.min_agreement}")
        if self.not_sure is not None and not (isinstance(self.not_sure, (int, float)) and 0 < self.not_sure < 1):
            raise ValueError(f"`not_sure` must be a probability between 0 and 1. Received: not_sure={self.not_sure!r}")
        if isinstance(self.keep_float, str):
            raise ValueError(f"`keep_float` must be a list of layers. Received: {self.keep_float!r}")
        for option in ("int8_input", "int8_output"):
            check_one_of(option, getattr(self, option), TYPES)
            if self.litert_sample and getattr(self, option) == "int8":
                raise ValueError(f"`{option}` must be float32 with `litert_sample`. Received: {option}='int8'")
        calibrated = [name for name, variant in VARIANTS.items() if variant.calibrated]
        if not set(asked) & set(calibrated) and (given := self._of_calibrated()):
            needed = " or ".join(calibrated)
            raise ValueError(f"`{given}` requires {needed} in `quantize`. Received: quantize={list(asked)}")
        count = self.verify_pictures
        if count != "all" and not (isinstance(count, int) and count >= 1):
            raise ValueError(f"`verify_pictures` must be 1 or more, or 'all'. Received: {count!r}")

    def _of_calibrated(self) -> str | None:
        """Return the first option that was given although it only applies to calibrated variants."""
        names = ("keep_float", "layer_errors", "int8_input", "int8_output")
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return next((name for name in names if getattr(self, name) != defaults[name]), None)
