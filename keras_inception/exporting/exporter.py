"""`export`: convert, describe and verify each variant, and write the folder that goes to the phone."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from keras_inception.evaluation.metrics import keras_predictor
from keras_inception.exporting.convert import convert
from keras_inception.exporting.layer_errors import layer_errors as measure_layer_errors
from keras_inception.exporting.layer_origins import LayerOrigins, recorded_scopes
from keras_inception.exporting.model_card import CARD, model_card, write_sidecars
from keras_inception.exporting.options import TEST_IMAGES, ExportOptions, own_name
from keras_inception.exporting.report import LAYER_ERRORS, REPORT, ExportReport
from keras_inception.exporting.rewrites import for_variants
from keras_inception.exporting.signature import deployed, save
from keras_inception.exporting.source import Source, open_source
from keras_inception.exporting.variants import FLOAT32, VARIANTS, Variant
from keras_inception.exporting.verify import Reference, accuracy, verify
from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import LABELS, PREPROCESSING
from keras_inception.tflite import metadata
from keras_inception.tflite.operations import MULTIPLYING
from keras_inception.utils import files
from keras_inception.utils.progress import Progress, counted, silent
from keras_inception.utils.subprocesses import ChildError

if TYPE_CHECKING:
    import keras

BATCH = 32  # images that Keras predicts at a time


def export(
    source: "str | os.PathLike | keras.Model",
    output: str | os.PathLike,
    *,
    quantize: Sequence[str] | None = None,
    rewrites: Sequence[str] | None = None,
    name: str | None = None,
    labels: str | os.PathLike | Sequence[str] | None = None,
    preprocessing: str | os.PathLike | Preprocessing | None = None,
    calibration: str | os.PathLike | None = None,
    test: str | os.PathLike | None = None,
    description: str | None = None,
    author: str | None = None,
    licence: str | None = None,
    min_agreement: float | None = None,
    verify_pictures: int | Literal["all"] = TEST_IMAGES,
    keep_float: Sequence[str] = (),
    layer_errors: bool = False,
    clients: Sequence[str] | None = None,
    litert_sample: bool = False,
    overwrite: bool = False,
    threads: int = 1,
    on_step: Callable[[str], None] | None = None,
    on_progress: Progress | None = None,
) -> ExportReport:
    """Export an image classifier to verified .tflite files.

    A file gets its name, ``NAME_VARIANT.tflite``, only after three proofs: it runs in LiteRT, it agrees with Keras on
    held-out images, and it gives the same scores in the phone and browser libraries that are installed here. Beside
    the files are ``labels.txt``, ``preprocessing.json`` (for a float input; a uint8 input takes raw pixels),
    ``report.json``, ``sample.png`` with its expected answers in ``sample.json``, and a model card, ``README.md``.

    Example::

        report = keras_inception.export("runs/flowers", "exported", quantize=["float32", "int8"])
        print(report)
        report["variants"]["int8"]["agreement"]  # 0.987

    Args:
        source: a run directory, which needs nothing else; a ``.keras`` file; or a functional Keras model. If it has
            several outputs, the one named ``predictions`` is exported. Logits get a softmax.
        output: folder to write into. It is created if necessary.
        quantize: any of float32, float16 (weights), dynamic (8-bit weights) and int8 (full integer, uint8 in and out).
            Default: all; or int8 only for a network trained for int8, which can have no other.
        rewrites: graph rewrites for speed, by their names in `keras_inception.exporting.rewrites.REWRITES`. Default:
            those that pay off in each variant.
        name: name of the files. Default: that of the ``.keras`` file, else the model's.
        labels: class names, or a text file with one a line. Default: the run's, else numbers.
        preprocessing: a `Preprocessing`, the name of one, or its JSON file. Default: the run's, else
            (x - 127.5) / 127.5 at the model's input size.
        calibration: folder of typical images, for int8. Up to 200 are used. Default: the run's training images.
        test: folder to verify on, with a subfolder for each class if there are labels. Default: the run's test or
            validation images, else calibration images that are not used to calibrate, else noise.
        description: for the metadata and the model card.
        author: for the metadata and the model card.
        licence: license, for the metadata and the model card.
        min_agreement: smallest share of the images on which a file must name the same class as Keras. Default: 0.99 for
            float32 and float16, 0.95 for dynamic and int8. 0 disables this check.
        verify_pictures: number of `test` images to verify on, drawn from each class in proportion, or ``"all"``. If
            there are fewer, all are used.
        keep_float: names of layers whose weights and arithmetic stay in float32 in the int8 file.
        layer_errors: also write ``layer_errors.json``: the quantization error of each layer of the int8 file, whether
            the file is refused or not (`keras_inception.exporting.layer_errors`).
        clients: names in `keras_inception.exporting.clients.CLIENTS` that must accept the files; () for none. By
            default the installed ones are tried, and the report says what they do not accept, and why. In either case a
            file is refused if a client's scores differ from LiteRT's.
        litert_sample: make files for Google's LiteRT sample of image classification: 224×224, float32 from -1 to 1 in
            and float32 out, int8 included, and the file name of the labels that the sample looks for. If the network
            has another size or normalization, the file resizes (bilinear) and normalizes again. It is verified on
            images of 224×224.
        overwrite: replace an export in `output`.
        threads: threads of the interpreter whose latency is measured.
        on_step: called with a line of text at each step.
        on_progress: called with (what is done, number done, number in all), for a progress bar.

    Returns:
        The content of ``report.json``. Shares come with their 95 % intervals. A variant that fell short has ``refused``
        with the reason, no ``path``, and no file.

    Raises:
        ValueError: an argument is not as above, or `source` is not an image classifier.
        FileExistsError: `output` already holds such files, and `overwrite` is false.
        FileNotFoundError: `source` does not exist.
    """
    began = time.monotonic()
    options = ExportOptions(
        quantize=quantize,
        rewrites=rewrites,
        name=name,
        labels=labels,
        preprocessing=preprocessing,
        calibration=calibration,
        test=test,
        description=description,
        author=author,
        licence=licence,
        min_agreement=min_agreement,
        verify_pictures=verify_pictures,
        keep_float=keep_float,
        layer_errors=layer_errors,
        clients=clients,
        litert_sample=litert_sample,
        overwrite=overwrite,
        threads=threads,
    )
    options.check(source, output)
    say, progress = on_step or (lambda line: None), on_progress or silent
    opened = open_source(source, options, say, progress)
    if opened.noise:
        say("no images were given: the files are verified on noise")
    variants = opened.variants(options)
    about = options.about(own_name(source) or opened.model.name, len(opened.class_names))
    folder, rows = Path(output), {}
    with tempfile.TemporaryDirectory(prefix="keras-inception-") as temporary:
        workshop = _Workshop(Path(temporary), opened, variants, about, options)
        say(f"Converting to {', '.join(variant.name for variant in variants)}, and running Keras")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            conversions = workshop.convert(pool)
            reference = workshop.ask_keras(progress)  # meanwhile: the converter runs in child processes
            _wait_for(list(conversions.values()), progress)
        for variant in variants:
            say(f"{variant.name}: verifying")
            try:
                path = conversions[variant.name].result()
                workshop.describe(path, variant)
                row = workshop.verify(path, variant, reference, progress)
            except (_RefusedError, ChildError, ValueError) as error:
                row = {"refused": str(error)}
            rows[variant.name] = row if "refused" in row else _placed(path, folder, about["name"], variant, row)
            say(f"{variant.name}: {_in_short(row)}")
        (folder / LAYER_ERRORS).unlink(missing_ok=True)
        if layer_errors:
            variant = next(variant for variant in variants if variant.calibrated)
            if "agreement" in rows[variant.name]:  # refused or not, it runs
                say(f"{variant.name}: comparing its layers with float32")
                files.write_json(folder / LAYER_ERRORS, workshop.layer_errors(variant, progress))
    _remove_stale(folder, about["name"], rows)
    report = ExportReport(
        **accuracy(reference.probabilities, reference.labels),
        seconds=round(time.monotonic() - began, 1),
        pictures=0 if opened.noise else len(opened.test),
        litert_sample=litert_sample,
        variants=rows,
    )
    command = "keras_inception.export(...)"
    if isinstance(source, (str, os.PathLike)):
        command = f"keras-inception export {source} --output {output}{options.target.option}"
    expected = FLOAT32.input(options.target.preprocessing(opened.preprocessing))
    write_sidecars(folder, opened.class_names, expected, reference, report)
    card = model_card(about, opened.class_names, expected, report, command, options.target, variants)
    files.write_text(folder / CARD, card)
    files.write_json(folder / REPORT, report.to_dict())
    return report


def check_export(source: "str | os.PathLike | keras.Model | None", output: str | os.PathLike, **options) -> None:
    """Raise what `export` raises for arguments that are wrong for every model, before anything heavy is loaded.

    Args:
        source: as for `export`; None if it is still to be made.
        output: the folder to write into.
        **options: those of `export`, without its callbacks.
    """
    ExportOptions(**options).check(source, output)


class _RefusedError(Exception):
    """A file cannot be made; the message says why."""


class _Workshop:
    """A temporary folder where files are converted, described and verified before they get their names."""

    def __init__(
        self,
        folder: Path,
        opened: Source,
        variants: Sequence[Variant],
        about: metadata.About,
        options: ExportOptions,
    ):
        self._folder = folder
        self._opened = opened
        self._variants = variants
        self._about = about
        self._options = options
        self._target_preprocessing = options.target.preprocessing(opened.preprocessing)
        self._models = for_variants(opened.model, variants, options.rewrites)
        self._calibration = None if opened.trained_for_int8 else folder / "calibration.npy"
        if self._calibration:
            np.save(self._calibration, opened.calibration)
        self._saved_models: dict[tuple[keras.Model, Preprocessing], Path] = {}
        self._scopes: dict[Path, dict[str, str]] = {}

    def convert(self, pool: Executor) -> "dict[str, Future[Path]]":
        """Start to convert all variants. A result is the file's path.

        It raises `_RefusedError` if the conversion fails, and ValueError if a layer cannot be kept in float32.
        """
        for variant in self._variants:  # before the conversions, since tracing is not for several threads
            self._saved_model(variant)
        float_nodes = {variant.name: self._float_nodes(variant) for variant in self._variants}
        longest_first = sorted(self._variants, key=lambda variant: not variant.calibrated)
        return {
            variant.name: pool.submit(self._convert, variant, float_nodes[variant.name]) for variant in longest_first
        }

    def ask_keras(self, progress: Progress) -> Reference:
        """Return what Keras predicts for the held-out images."""
        opened, preprocessing = self._opened, self._target_preprocessing
        model = opened.model
        if preprocessing != opened.preprocessing:
            model = deployed(model, opened.preprocessing, preprocessing)
        predict = keras_predictor(model)
        starts = range(0, len(opened.test), BATCH)
        batches = (
            opened.test[start : start + BATCH] for start in counted(starts, "Running Keras", len(starts), progress)
        )
        probabilities = [predict(preprocessing.normalize(batch.astype(np.float32))) for batch in batches]
        return Reference(opened.test, np.concatenate(probabilities), opened.test_labels)

    def describe(self, path: Path, variant: Variant) -> None:
        """Write labels, preprocessing and metadata into a file."""
        target, preprocessing = self._options.target, variant.input(self._target_preprocessing)
        labels, described = path.with_name(LABELS), path.with_name(target.class_names_file)
        for each in {labels, described}:
            files.write_labels(each, self._opened.class_names)
        preprocessing.save(path.with_name(PREPROCESSING))
        metadata.write(path, self._about, preprocessing, described)
        metadata.pack(path, labels, path.with_name(PREPROCESSING))
        target.check(path)

    def verify(self, path: Path, variant: Variant, reference: Reference, progress: Progress) -> dict:
        """Return a file's row of the report, which has ``refused`` if the file must not be used."""
        row = verify(
            path,
            variant,
            variant.input(self._target_preprocessing),
            reference,
            min_agreement=self._options.min_agreement,
            threads=self._options.threads,
            clients=self._options.clients,
            progress=progress,
        )
        kept = self._kept(variant)
        return {"keep_float": list(kept), **row} if kept else row

    def layer_errors(self, variant: Variant, progress: Progress) -> list[dict]:
        """Return the error of each layer of a calibrated variant, whose file has been proven to run."""
        return measure_layer_errors(
            self._path(variant),
            self._float_reference(variant),
            self._opened.test,
            variant.input(self._target_preprocessing),
            self._layer_origins(variant),
            progress,
        )

    def _convert(self, variant: Variant, float_nodes: Sequence[str]) -> Path:
        if self._opened.trained_for_int8 and not variant.calibrated:
            raise _RefusedError("the network has been trained for int8: export the run that it was made from")
        path, preprocessing = self._path(variant), variant.input(self._target_preprocessing)
        path.parent.mkdir(exist_ok=True)
        try:
            convert(self._saved_model(variant), variant, path, self._calibration, preprocessing, float_nodes)
        except ChildError as error:
            raise _RefusedError(str(error)) from None
        if float_nodes:
            self._check_kept(path, variant)
        return path

    def _kept(self, variant: Variant) -> Sequence[str]:
        return self._options.keep_float if variant.calibrated else ()

    def _float_nodes(self, variant: Variant) -> list[str]:
        """Return the output tensors of the operations to keep in float32.

        The converter knows operations by these names. They exist only after a conversion to float32.
        """
        kept = self._kept(variant)
        operations = self._layer_origins(variant).operations(self._float_reference(variant)) if kept else []
        names = []
        for layer in kept:
            found = [node.outputs[0]["name"] for origin, node in operations if origin == layer]
            if not found:
                raise self._not_kept(layer)
            names += found
        return names

    def _check_kept(self, path: Path, variant: Variant) -> None:
        operations = self._layer_origins(variant).operations(path)
        for layer in self._kept(variant):
            kinds = {
                (node.kind, node.outputs[0]["dtype"] is np.float32) for origin, node in operations if origin == layer
            }
            if not any(kept for _, kept in kinds) or any(not kept and kind in MULTIPLYING for kind, kept in kinds):
                raise self._not_kept(layer)

    def _not_kept(self, layer: str) -> ValueError:
        kind = type(self._opened.model.get_layer(layer)).__name__
        return ValueError(
            "`keep_float` must be layers that compute something in the file: not those that are fused into another "
            f"layer or only move values. Received: {layer!r}, a {kind}"
        )

    def _float_reference(self, variant: Variant) -> Path:
        """Return a float32 file of a variant's SavedModel."""
        path = self._path(variant).with_name("float_reference.tflite")
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            try:
                convert(self._saved_model(variant), FLOAT32, path, None, variant.input(self._target_preprocessing))
            except ChildError as error:
                raise ValueError(f"the network cannot be converted: {error}") from None
        return path

    def _layer_origins(self, variant: Variant) -> LayerOrigins:
        """Return the layers behind the operations of a variant's file and of its float reference."""
        scopes = self._scopes[self._saved_model(variant)]
        return LayerOrigins(self._opened.model, self._models[variant.name], scopes, self._opened.preprocessing.size)

    def _path(self, variant: Variant) -> Path:
        return self._folder / variant.name / "model.tflite"

    def _saved_model(self, variant: Variant) -> Path:
        """Return the SavedModel of a variant; most variants share one."""
        model, preprocessing = self._models[variant.name], variant.input(self._target_preprocessing)
        if (model, preprocessing) not in self._saved_models:
            path = self._folder / f"saved_model_{len(self._saved_models)}"
            with recorded_scopes(model) as self._scopes[path]:
                save(deployed(model, self._opened.preprocessing, preprocessing), path)
            self._saved_models[model, preprocessing] = path
        return self._saved_models[model, preprocessing]


def _wait_for(conversions: "Sequence[Future[Path]]", progress: Progress) -> None:
    for conversion in counted(as_completed(conversions), "Converting", len(conversions), progress):
        error = conversion.exception()
        if error and not isinstance(error, _RefusedError):
            raise error


def _placed(path: Path, folder: Path, name: str, variant: Variant, row: dict) -> dict:
    """Give a proven file its name, and return its row with ``path``."""
    target = folder / f"{name}_{variant.name}.tflite"
    with files.replacing(target) as beside:
        shutil.copyfile(path, beside)
    return {**row, "path": target.name}


def _remove_stale(folder: Path, name: str, rows: dict[str, dict]) -> None:
    """Remove files that an earlier export of this name left, and this one did not make."""
    for variant in VARIANTS:
        if "path" not in rows.get(variant, {}):
            (folder / f"{name}_{variant}.tflite").unlink(missing_ok=True)


def _in_short(row: dict) -> str:
    if "refused" in row:
        return f"refused: {row['refused']}"
    return f"{row['mb']:.2f} MB, agrees with Keras on {row['agreement']:.1%}, {row['latency_ms']:.1f} ms"
