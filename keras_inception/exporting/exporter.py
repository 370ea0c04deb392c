"""`export`: convert, describe, verify and place the file of each variant, and write the sidecar files."""

import dataclasses
import functools
import os
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from keras_inception.evaluation.classifiers import KerasClassifier
from keras_inception.exporting.calibration import Calibration
from keras_inception.exporting.convert import convert
from keras_inception.exporting.expected_input import without_normalization
from keras_inception.exporting.half_precision import trial as half_precision_trial
from keras_inception.exporting.layer_errors import layer_errors as measure_layer_errors
from keras_inception.exporting.layer_origins import LayerOrigins, recorded_scopes
from keras_inception.exporting.model_card import CARD, model_card, not_sure_remark, write_sidecars
from keras_inception.exporting.options import TEST_IMAGES, ExportOptions
from keras_inception.exporting.report import LAYER_ERRORS, ExportReport
from keras_inception.exporting.rewrites import for_variants
from keras_inception.exporting.signature import deployed, save
from keras_inception.exporting.source import Source, open_source
from keras_inception.exporting.variants import FLOAT32, VARIANTS, Variant
from keras_inception.exporting.verify import Reference, accuracy, not_accepted, verify
from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import LABELS, PREPROCESSING
from keras_inception.tflite import metadata
from keras_inception.tflite.classifier import TFLiteClassifier, interpreter
from keras_inception.tflite.exported import REPORT
from keras_inception.tflite.operations import MULTIPLYING, Node
from keras_inception.utils import files
from keras_inception.utils.progress import Progress, counted, silent
from keras_inception.utils.steps import Steps
from keras_inception.utils.subprocesses import ChildError

if TYPE_CHECKING:
    import keras

BATCH = 32  # images per batch when Keras predicts
POLLING = 0.2  # seconds between two updates of the progress bar


def export(
    source: "str | os.PathLike | keras.Model",
    output: str | os.PathLike,
    *,
    quantize: Sequence[str] | None = None,
    rewrites: Sequence[str] | None = None,
    name: str | None = None,
    labels: str | os.PathLike | Sequence[str] | None = None,
    preprocessing: str | os.PathLike | Preprocessing | None = None,
    size: tuple[int, int] | None = None,
    output_name: str | None = None,
    calibration: Calibration | None = None,
    test: str | os.PathLike | None = None,
    description: str | None = None,
    author: str | None = None,
    licence: str | None = None,
    min_agreement: float | None = None,
    verify_pictures: int | Literal["all"] = TEST_IMAGES,
    keep_float: Sequence[str] = (),
    layer_errors: bool = False,
    clients: Sequence[str] | None = None,
    int8_input: str = "uint8",
    int8_output: str = "uint8",
    litert_sample: bool = False,
    half_precision: bool = True,
    not_sure: float | None = None,
    runtime: str | None = None,
    custom_objects: str | os.PathLike | None = None,
    overwrite: bool = False,
    threads: int = 1,
    on_step: Callable[[str], None] | None = None,
    on_progress: Progress | None = None,
) -> ExportReport:
    """Export an image classifier to verified .tflite files.

    A file gets its name, ``NAME_VARIANT.tflite``, only after three checks: it runs in LiteRT, it agrees with Keras on
    held-out images, and it gives the same scores in the phone and browser libraries that are installed here. The folder
    also gets ``labels.txt``, ``preprocessing.json`` (for a float input; a uint8 input takes raw pixels),
    ``report.json``, up to five sample images, from the surest to the least sure, with their expected answers in
    ``sample.json``, and a model card, ``README.md``.

    Example::

        report = keras_inception.export("runs/flowers", "exported", quantize=["float32", "int8"])
        print(report)
        report["variants"]["int8"]["agreement"]  # 0.987

    Args:
        source: a run directory, a model file (see `keras_inception.load`) or a functional Keras model. A run needs no
            other argument. A softmax is added to logits, and a sigmoid of one unit becomes the scores of two classes.
        output: output folder, created if necessary.
        quantize: variants to export: float32, float16 (weights), dynamic (8-bit weights) and int8 (full integer).
            Default: all. A network that was trained for int8 can only be exported to int8.
        rewrites: names of graph rewrites for speed (`keras_inception.exporting.rewrites.REWRITES`). Default: those
            that make each variant faster.
        name: prefix of the file names. Default: the name of the model file, else the model's.
        labels: class names, or a text file with one per line. Default: the run's, else numbers.
        preprocessing: a `Preprocessing`, the name of one (``"raw"`` if the model normalizes pixels itself), or its JSON
            file. Default: the run's, or that of a network of this package; else it is found out: from the first layers
            of the model, or from labeled images of `test` if they leave one choice.
        size: (height, width) of the images. Default: that of the model's input or of `preprocessing`.
        output_name: the output to export, if the model has several. Default: the one named ``predictions``.
        calibration: typical images to calibrate int8 with, of which up to 200 are used: a folder, an ``.npy`` file, a
            NumPy array, a ``tf.data.Dataset`` or any iterable. All but folders hold raw pixels from 0 to 255, before
            preprocessing, uint8 or float: (n, height, width, 3), or 1 if they are gray. Items of a dataset or an
            iterable are images, batches of them, or tuples that begin with either, such as (image, label); no more
            are taken than needed, from the beginning, so shuffle them. Images of the input's size are used as they
            are, others are cropped and resized like images of a folder. Default: the run's training images.
        test: folder of images to verify on, with a subfolder for each class if there are labels. Default: the run's
            test or validation images, else images of `calibration` that are not used to calibrate, else noise.
        description: description for the metadata and the model card.
        author: author for the metadata and the model card.
        licence: license for the metadata and the model card.
        min_agreement: minimum share of the images, from 0 to 1, on which a file must predict the same class as Keras;
            for independent scores (multi-label), of its decisions at 0.5 (`verify.decision_agreement`).
            Default: 0.99 for float32 and float16, 0.95 for dynamic and int8. 0 disables this check.
        verify_pictures: maximum number of `test` images to verify on, drawn from each class in proportion, or
            ``"all"``.
        keep_float: names of layers whose weights and arithmetic stay in float32 in the int8 file.
        layer_errors: also write ``layer_errors.json``, the quantization error of each layer of the int8 file
            (`keras_inception.exporting.layer_errors`), even if the file is refused.
        clients: names in `keras_inception.exporting.clients.CLIENTS` that must accept the files; () for none. By
            default, all installed clients are tried, except slow ones (`keras_inception.exporting.clients.ON_REQUEST`),
            and the report says which files they do not accept and why. In either case, a file is refused if a client's
            scores differ from LiteRT's by more than rounding can explain
            (`keras_inception.exporting.verify.try_clients`). To get such a file all the same, pass ().
        int8_input: type of the int8 file's input: uint8 takes raw pixels, int8 raw pixels minus 128, and float32
            normalized pixels. The Task Library, MediaPipe and LiteRT.js do not accept int8.
        int8_output: type of the int8 file's output: uint8 or int8, in 256 steps, or float32. With thousands of classes,
            the most probable ones often tie in the 256 steps. With float32, softmax or sigmoid is computed in float32.
        litert_sample: make files for Google's LiteRT sample of image classification: 224×224, float32 input from -1 to
            1 and float32 output in every variant, and labels under the file name that the sample looks for. If the
            network has another input size or normalization, the graph resizes (bilinear) and normalizes. The files are
            verified on 224×224 images.
        half_precision: let phones compute the float16 file in half precision, sums included, if its sums and
            coefficients stay in range on held-out images and its answers stay (see
            `keras_inception.exporting.half_precision.trial`). The report says what was found.
        not_sure: probability, between 0 and 1, of the most likely class below which an app should say that it is not
            sure. The report and the model card state it, and the page of `keras_inception.page` does so.
            `keras_inception.evaluate` says which thresholds answer 95, 90 and 80 % of the images, and how well.
        runtime: release of TensorFlow Lite that must run the files, such as ``"2.8"``. A file that needs a newer one is
            made anew for it if possible, and else refused. The report names the oldest runtime of each file.
        custom_objects: Python file with the classes and functions that the model file needs. It is run, as are the
            file's Lambdas (`keras_inception.load`).
        overwrite: replace an existing export in `output`.
        threads: threads of the interpreter whose latency is measured.
        on_step: called with a line of text at each step.
        on_progress: called with (name of the step, number done, total), for a progress bar.

    Returns:
        The content of ``report.json``. Accuracy and agreement have 95 % intervals. A refused variant has ``refused``
        with the reason, but no ``path`` and no file.

    Raises:
        ValueError: an argument is invalid, `source` is not an image classifier, it is not known how to preprocess its
            images, or what is made of it to be exported does not give its scores.
        FileExistsError: `output` already holds an export, and `overwrite` is false.
        FileNotFoundError: `source` does not exist.
    """
    arguments, began = locals(), time.monotonic()  # must come first, while the arguments are the only locals
    options = ExportOptions(**{field.name: arguments[field.name] for field in dataclasses.fields(ExportOptions)})
    options.check(source, output)
    say, progress = on_step or (lambda line: None), on_progress or silent
    steps = Steps()
    with steps.step("open"):
        opened = open_source(source, options, say, progress)
    if opened.noise:
        say("No images were given: verifying on noise")
    about = options.about(source, opened.model.name, len(opened.class_names))
    folder, rows = Path(output), {}
    with files.temporary_folder() as temporary:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            with steps.step("prepare"):
                models = for_variants(opened.model, opened.variants(options), options.rewrites)
                conversions = {each.variant.name: each for each in _prepared(opened, models, options, temporary)}
                say(f"Converting to {', '.join(conversions)}, and running Keras")
                longest_first = sorted(conversions.values(), key=lambda each: not each.variant.calibrated)
                converted = {each: pool.submit(each.convert, each.float_nodes()) for each in longest_first}
                opened.check(opened.model, *models.values())
            with steps.step("keras"):  # while child processes convert
                reference = _reference(opened, options, progress)
            limits = {"min_agreement": min_agreement, "clients": clients, "runtime": runtime}
            verified = _verified(pool, converted, about, reference, progress, **limits)
        (folder / LAYER_ERRORS).unlink(missing_ok=True)
        for variant, conversion in conversions.items():
            row, remarks = verified[conversion]
            rows[variant] = row
            if "agreement" in row:  # it runs, even if it was refused
                row["latency_ms"] = conversion.latency_ms(threads)
            if "refused" not in row:
                row["path"] = conversion.place(folder, about["name"])
            for line in _lines(variant, row, remarks, clients):
                say(line)
            if layer_errors and conversion.variant.calibrated and "agreement" in row:
                say(f"{variant}: comparing its layers with float32")
                with conversion.steps.step("layer_errors"):
                    files.write_json(folder / LAYER_ERRORS, conversion.layer_errors(reference, progress))
            row["steps"] = conversion.steps.rounded()
            steps.add(conversion.steps.seconds)
    for variant in VARIANTS:
        if "path" not in rows.get(variant, {}):  # left by an earlier export of this name
            (folder / f"{about['name']}_{variant}.tflite").unlink(missing_ok=True)
    report = ExportReport(
        **accuracy(reference.probabilities, reference.labels),
        seconds=round(time.monotonic() - began, 1),
        pictures=0 if opened.noise else len(opened.test),
        litert_sample=litert_sample,
        variants=rows,
        not_sure=None if not_sure is None else float(not_sure),
        steps=steps.rounded(),
    )
    in_shell = f"keras-inception export {source} --output {output}{options.target.option}"
    command = in_shell if isinstance(source, (str, os.PathLike)) else "keras_inception.export(...)"
    expected = FLOAT32.input(options.target.preprocessing(opened.preprocessing))
    write_sidecars(folder, opened.class_names, expected, reference, report)
    variants = [each.variant for each in conversions.values()]
    described = (about, opened.class_names, expected, report, command, options.target, variants)
    files.write_text(folder / CARD, model_card(*described, not_sure_remark(reference, not_sure)))
    files.write_json(folder / REPORT, report.to_dict())
    return report


class _RefusedError(Exception):
    """A variant cannot be exported; the message is the reason."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Conversion:
    """One variant's file, from its SavedModel in a temporary folder to its place in the export.

    Attributes:
        variant: the variant, adapted to the target.
        source: the network and its images.
        options: options of the export.
        model: the network after its rewrites.
        preprocessing: preprocessing that the file's input expects.
        saved_model: folder of the `deployed` model's SavedModel, which variants can share.
        scopes: TensorFlow's scopes of the layers of `model` (`recorded_scopes`).
        calibration: .npy file of the calibration images; None for a network trained for int8.
        kept: names of the layers to keep in float32.
        path: the file, before it is verified and placed.
        steps: the time that it takes.
    """

    variant: Variant
    source: Source
    options: ExportOptions
    model: "keras.Model"
    preprocessing: Preprocessing
    saved_model: Path
    scopes: Mapping[str, str]
    calibration: Path | None
    kept: Sequence[str]
    path: Path
    steps: Steps = dataclasses.field(default_factory=Steps)

    def convert(self, float_nodes: Sequence[str] = ()) -> None:
        """Write the file.

        Args:
            float_nodes: names of the output tensors of operations to keep in float32.

        Raises:
            _RefusedError: the network was trained for another variant.
            ChildError: the conversion fails.
            ValueError: a layer cannot be kept in float32.
        """
        if self.source.trained_for_int8 and not self.variant.calibrated:
            raise _RefusedError("the network has been trained for int8: export the run that it was made from")
        job = (self.saved_model, self.variant, self.path, self.calibration, self.preprocessing, float_nodes)
        with self.steps.step("convert"):
            convert(*job, self.scopes)
        for layer, nodes in self._kept_nodes(self.path).items():
            floats = [node.kind for node in nodes if node.outputs[0]["dtype"] is np.float32]
            others = [node.kind for node in nodes if node.outputs[0]["dtype"] is not np.float32]
            if not floats or not set(others).isdisjoint(MULTIPLYING):
                raise self._not_kept(layer)

    def describe(self, about: metadata.About) -> None:
        """Write labels, preprocessing and metadata into the file."""
        labels = self.path.with_name(LABELS)
        described = self.path.with_name(self.options.target.class_names_file)
        for each in {labels, described}:
            files.write_labels(each, self.source.class_names)
        (image,) = interpreter(self.path).get_input_details()
        expected = self.variant.described_input(self.preprocessing, image["quantization"])
        expected.save(self.path.with_name(PREPROCESSING))
        metadata.write(self.path, about, expected, described)
        metadata.pack(self.path, labels, self.path.with_name(PREPROCESSING))

    def verified(
        self, convert: Callable[[], None], about: metadata.About, reference: Reference, **limits
    ) -> dict[str, Any]:
        """Return the file's row of the report, which has ``refused`` if the file must not be used.

        Args:
            convert: writes the file, or waits until it is written.
            about: texts of the metadata.
            reference: Keras' predictions.
            **limits: keyword arguments of `verify`.
        """
        try:
            convert()
            half = self._half_precision(reference, limits["min_agreement"], limits["clients"] or ())
            self.describe(about)
            return {**self.verify(reference, tried=_on_arm(half), **limits), **half}
        except (_RefusedError, ChildError, ValueError) as error:
            return {"refused": str(error)}

    def _half_precision(
        self, reference: Reference, min_agreement: float | None, clients: Sequence[str]
    ) -> dict[str, Any]:
        """Let phones compute the file in half precision if that is safe, and return what was found."""
        if not self.variant.half_precision or not self.options.half_precision or self.source.noise:
            return {}
        required = self.variant.min_agreement if min_agreement is None else min_agreement
        with self.steps.step("half_precision"):
            model = deployed(self.model, self.source.preprocessing, self.preprocessing)
            job = (self.path, model, self.preprocessing, reference, required)
            found = half_precision_trial(*job, on_arm="arm64" in clients)
        return {"half_precision": found}

    def alternatives(self) -> "Iterator[_Conversion]":
        """Yield the conversions to try if this file is refused."""
        for variant in self.variant.alternatives():
            yield dataclasses.replace(self, variant=variant)

    def verify(self, reference: Reference, **limits) -> dict[str, Any]:
        """Return the row of a file that runs.

        Args:
            reference: Keras' predictions.
            **limits: keyword arguments of `verify`.
        """
        can_keep_float = not self.source.trained_for_int8
        limits = {**limits, "can_keep_float": can_keep_float, "steps": self.steps}
        row = verify(self.path, self.variant, self.preprocessing, reference, **limits)
        return {"keep_float": list(self.kept), **row} if self.kept else row

    def latency_ms(self, threads: int) -> float:
        """Return the milliseconds of an inference. Nothing else should run."""
        with self.steps.step("latency"):
            return TFLiteClassifier(self.path, threads, isolated=False).latency_ms()

    def place(self, folder: Path, name: str) -> str:
        """Copy the verified file to its place, and return its name."""
        target = folder / f"{name}_{self.variant.name}.tflite"
        with files.replacing(target) as beside:
            shutil.copyfile(self.path, beside)
        return target.name

    def layer_errors(self, reference: Reference, progress: Progress) -> list[dict]:
        """Return the quantization error of each layer. The file must be calibrated and must run in LiteRT."""
        images, origins = reference.images, self._origins
        return measure_layer_errors(self.path, self._float_reference, images, self.preprocessing, origins, progress)

    def float_nodes(self) -> list[str]:
        """Return the names of the output tensors of the operations to keep in float32.

        The converter identifies operations by these names, which exist only after a conversion to float32.

        Raises:
            ValueError: a layer cannot be kept in float32, or the network cannot be converted.
        """
        nodes = self._kept_nodes(self._float_reference) if self.kept else {}
        for layer, of_layer in nodes.items():
            if not of_layer:
                raise self._not_kept(layer)
        return [node.outputs[0]["name"] for of_layer in nodes.values() for node in of_layer]

    def _kept_nodes(self, path: Path) -> dict[str, list[Node]]:
        """Return the operations of each layer to keep in float32."""
        operations = self._origins.operations(path) if self.kept else []
        return {layer: [node for origin, node in operations if origin == layer] for layer in self.kept}

    def _not_kept(self, layer: str) -> ValueError:
        kind = type(self.source.model.get_layer(layer)).__name__
        return ValueError(
            "`keep_float` must be layers that compute something in the file: not those that are fused into another "
            f"layer or only move values. Received: {layer!r}, a {kind}"
        )

    @functools.cached_property
    def _float_reference(self) -> Path:
        """The path of a float32 file of the same SavedModel."""
        path = self.path.with_name("float_reference.tflite")
        try:
            convert(self.saved_model, FLOAT32, path, None, self.preprocessing, (), self.scopes)
        except ChildError as error:
            raise ValueError(f"the network cannot be converted: {error}") from None
        return path

    @functools.cached_property
    def _origins(self) -> LayerOrigins:
        """The layers behind the operations of the file and of its float reference."""
        return LayerOrigins(self.source.model, self.model, self.scopes, self.source.preprocessing.size)


def _prepared(
    opened: Source, models: Mapping[str, "keras.Model"], options: ExportOptions, folder: Path
) -> Iterator[_Conversion]:
    """Write the SavedModels of the models of each variant, and yield its conversion.

    Tracing is not thread-safe, so it happens here and not in the conversion threads.

    Raises:
        ValueError: calibration images are missing, or `keep_float` does not apply to this network.
    """
    variants, keep_float = opened.variants(options), opened.kept_in_float(options)
    calibration = None if opened.trained_for_int8 else folder / "calibration.npy"
    np.save(folder / "calibration.npy", opened.calibration)
    saved: dict[tuple[keras.Model, Preprocessing], tuple[Path, dict[str, str]]] = {}
    for variant in variants:
        model, preprocessing = models[variant.name], opened.preprocessing
        if variant.calibrated and not opened.trained_for_int8:
            model, preprocessing = without_normalization(model, preprocessing)
        expected = variant.input(options.target.preprocessing(preprocessing))
        if (model, expected) not in saved:
            path = folder / f"saved_model_{len(saved)}"
            with recorded_scopes(model) as scopes:
                save(deployed(model, preprocessing, expected), path)
            saved[model, expected] = path, scopes
        path, kept = folder / variant.name / "model.tflite", keep_float if variant.calibrated else ()
        path.parent.mkdir()
        yield _Conversion(variant, opened, options, model, expected, *saved[model, expected], calibration, kept, path)


def _reference(opened: Source, options: ExportOptions, progress: Progress) -> Reference:
    """Return the given network's predictions for the held-out images."""
    predict, preprocessing = opened.given.predict, options.target.preprocessing(opened.preprocessing)
    if preprocessing != opened.preprocessing:
        predict = KerasClassifier(
            deployed(opened.model, opened.preprocessing, preprocessing), opened.class_names, preprocessing
        ).predict
    batches = range(0, len(opened.test), BATCH)
    probabilities = [
        predict(opened.test[start : start + BATCH])
        for start in counted(batches, "Running Keras", len(batches), progress)
    ]
    independent = opened.given.ending.kind == "independent"
    return Reference(opened.test, np.concatenate(probabilities), opened.test_labels, independent)


def _wait_for(conversions: "Collection[Future]", progress: Progress) -> None:
    for conversion in counted(as_completed(conversions), "Converting", len(conversions), progress):
        error = conversion.exception()
        if error and not isinstance(error, (_RefusedError, ChildError)):
            raise error


def _verified(
    pool: ThreadPoolExecutor,
    converted: Mapping[_Conversion, Future],
    about: metadata.About,
    reference: Reference,
    progress: Progress,
    **limits,
) -> dict[_Conversion, tuple[dict[str, Any], list[str]]]:
    """Verify the files in threads, each as soon as it is converted, and return what `_row` does.

    Args:
        pool: runs the conversions, and then the verifications.
        converted: the conversions, which may still run.
        about: texts of the metadata.
        reference: Keras' predictions.
        progress: called with (name of the step, number done, total).
        **limits: keyword arguments of `verify`.
    """
    done, stopped = dict.fromkeys(converted, 0), threading.Event()
    limits["threads"] = max(1, (os.cpu_count() or 1) // len(converted))

    def verified(conversion: _Conversion) -> tuple[dict[str, Any], list[str]]:
        def on_image(count: int) -> None:
            if stopped.is_set():
                raise CancelledError
            done[conversion] = count

        return _row(conversion, converted[conversion].result, about, reference, on_image=on_image, **limits)

    longest_first = sorted(converted, key=lambda each: (each.variant.calibrated, not each.variant.half_precision))
    rows = {conversion: pool.submit(verified, conversion) for conversion in longest_first}
    total = len(reference.images) * len(rows)
    try:
        _wait_for(converted.values(), progress)
        while wait(rows.values(), POLLING).not_done:
            progress("Verifying", sum(done.values()), total)
        progress("Verifying", total, total)
    finally:
        stopped.set()
    return {conversion: row.result() for conversion, row in rows.items()}


def _row(
    conversion: _Conversion, convert: Callable[[], None], about: metadata.About, reference: Reference, **limits
) -> tuple[dict[str, Any], list[str]]:
    """Return a variant's row of the report, and remarks on how it came about.

    It is the row of the first of its files that is not refused, or else of the first.

    Args:
        conversion: the conversion of the variant.
        convert: writes its first file, or waits until it is written.
        about: texts of the metadata.
        reference: Keras' predictions.
        **limits: keyword arguments of `verify`.
    """
    row, remarks = conversion.verified(convert, about, reference, **limits), []
    for other in conversion.alternatives() if "refused" in row and "agreement" in row else ():
        remarks.append(f"refused: {row['refused']}; tried other scales of the weights")
        found = other.verified(other.convert, about, reference, **limits)
        if "refused" not in found:
            return found, remarks
    return row, remarks


def _lines(variant: str, row: dict, remarks: Sequence[str], clients: Sequence[str] | None) -> Iterator[str]:
    """Yield what is said about a variant when it is done."""
    for remark in (*remarks, _in_short(row)):
        yield f"{variant}: {remark}"
    for client, reason in not_accepted(row).items() if clients is None else ():  # else the file is refused for it
        yield f"  {client} does not accept {variant}: {reason}"


def _on_arm(half: Mapping[str, Any]) -> dict[str, dict]:
    """Return the outcome of the client `arm64` if a file may be computed in half precision, and was there."""
    found = half.get("half_precision", {})
    if not found.get("allowed") or found["arm64"] is None:
        return {}
    return {"arm64": {key: found["arm64"][key] for key in ("max_difference", "agreement", "tolerance")}}


def _in_short(row: dict) -> str:
    if "refused" in row:
        return f"refused: {row['refused']}"
    advice = f"; {row['advice']}" if "advice" in row else ""
    return f"{row['mb']:.2f} MB, agrees with Keras on {row['agreement']:.1%}, {row['latency_ms']:.1f} ms{advice}"
