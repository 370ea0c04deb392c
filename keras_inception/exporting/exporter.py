"""`export`: convert, describe and verify each variant, and write the folder that goes to the phone."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from keras_inception.evaluation.metrics import keras_predictor
from keras_inception.exporting import litert_sample as sample
from keras_inception.exporting.clients import check as check_clients
from keras_inception.exporting.convert import convert
from keras_inception.exporting.layer_errors import layer_errors as errors_of_layers
from keras_inception.exporting.layer_origins import Owners, recorded_scopes
from keras_inception.exporting.model_card import NAMES, write_companions
from keras_inception.exporting.rewrites import check_names, for_variants
from keras_inception.exporting.signature import deployed, input_of, is_trained_for_int8, save
from keras_inception.exporting.source import (
    TEST_PICTURES,
    Source,
    check_pictures,
    check_source,
    is_run,
    open_source,
    own_name,
)
from keras_inception.exporting.variants import VARIANTS
from keras_inception.exporting.verify import MIN_AGREEMENT, Reference, accuracy, verify
from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import LABELS, PREPROCESSING
from keras_inception.tflite import metadata
from keras_inception.tflite.operations import MULTIPLYING
from keras_inception.utils import files
from keras_inception.utils.progress import Progress, counted, silent
from keras_inception.utils.subprocesses import ChildError
from keras_inception.utils.suggestions import did_you_mean
from keras_inception.version import __version__

if TYPE_CHECKING:
    import keras

REPORT, LAYER_ERRORS = "report.json", "layer_errors.json"
BATCH = 32  # pictures that Keras is asked about at a time


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
    verify_pictures: int | Literal["all"] = TEST_PICTURES,
    keep_float: Sequence[str] = (),
    layer_errors: bool = False,
    clients: Sequence[str] | None = None,
    litert_sample: bool = False,
    overwrite: bool = False,
    threads: int = 1,
    on_step: Callable[[str], None] | None = None,
    on_progress: Progress | None = None,
) -> dict:
    """Export a classifier of pictures to verified .tflite files.

    A file gets its name, ``NAME_VARIANT.tflite``, only when it has been proven to run in LiteRT, to agree with Keras on
    held-out pictures, and to give the same scores in the phone's and the browser's libraries that are installed here.
    Beside the files are ``labels.txt``, ``preprocessing.json`` (of a float input; a uint8 input takes raw pixels),
    ``report.json``, ``sample.png`` with its expected answers in ``sample.json``, and a model card, ``README.md``.

    Args:
        source: a run directory, which needs nothing else; a ``.keras`` file; or a functional Keras model. Of several
            outputs the one named ``predictions`` is taken; logits get a softmax.
        output: the folder, made if need be.
        quantize: any of float32, float16 (weights), dynamic (8-bit weights), int8 (full integer, uint8 in and out). By
            default all, or int8 alone of a network that has been trained for it, which can have no other.
        rewrites: of the graph for speed, names in `keras_inception.exporting.rewrites.REWRITES`; by default those that
            pay in a variant.
        name: of the files; by default that of the ``.keras`` file, else the model's.
        labels: names of the classes, or a file of one a line; else a run's own, else numbers.
        preprocessing: a `Preprocessing`, the name of one, or its JSON file; else a run's own, else
            (x - 127.5) / 127.5 at the model's input size.
        calibration: folder of pictures like those it will see, for int8; else a run's training pictures. Up to 200.
        test: folder to verify on, of class folders if there are labels; else a run's test or validation pictures, else
            a part of the calibration pictures that is not calibrated with, else noise.
        description, author, licence: for the metadata and the card.
        min_agreement: least share of the pictures on which a file must name the class that Keras names. By default
            0.99 for float32 and float16 and 0.95 for dynamic and int8; 0 switches this gate off.
        verify_pictures: number of pictures of `test` to verify on, drawn from its classes in proportion, or ``"all"``.
            If there are fewer, all are taken.
        keep_float: names of layers that stay in float32 in the int8 file, their weights and their arithmetic.
        layer_errors: write ``layer_errors.json`` too: what each layer of the int8 file loses, refused or not
            (`keras_inception.exporting.layer_errors`).
        clients: of `keras_inception.exporting.clients.CLIENTS`, each of which must take the files; () for none. By
            default those that are installed are tried, and what they do not take is in the report with the reason. A
            file that gives other scores in one of them than in LiteRT is refused in either case.
        litert_sample: files for Google's LiteRT sample of image classification: 224×224, float32 from -1 to 1 in and
            float32 out, int8 too, and labels by the name that it looks for. A network of another size or normalisation
            stays as it is, and the file resizes, bilinear, and normalises anew; it is verified on pictures of 224×224.
        overwrite: replace an export in `output`.
        threads: of the interpreter.
        on_step: called with a line of text at each step.
        on_progress: called with (what is done, number done, number in all), for a progress bar.

    Returns:
        What ``report.json`` holds; shares come with their 95 % intervals. A variant that fell short has ``refused``
        with the reason, no ``path``, and no file.

    Raises:
        ValueError: an argument is not as above, or `source` is not a classifier of pictures.
        FileExistsError: `output` already holds such files, and not `overwrite`.
        FileNotFoundError: `source` does not exist.
    """
    began = time.monotonic()
    say = on_step or (lambda line: None)
    progress = on_progress or silent
    check_export(
        source,
        output,
        quantize=quantize,
        rewrites=rewrites,
        name=name,
        labels=labels,
        preprocessing=preprocessing,
        calibration=calibration,
        test=test,
        min_agreement=min_agreement,
        verify_pictures=verify_pictures,
        keep_float=keep_float,
        layer_errors=layer_errors,
        clients=clients,
        overwrite=overwrite,
    )
    folder = Path(output)
    opened = open_source(
        source,
        labels=labels,
        preprocessing=preprocessing,
        calibration=calibration,
        test=test,
        size=sample.SIZE if litert_sample else None,
        limit=None if verify_pictures == "all" else verify_pictures,
        say=say,
        progress=progress,
    )
    trained = is_trained_for_int8(opened.model)
    _check_layers(keep_float, opened.model, trained)
    quantize = (quantize or VARIANTS) if not trained else (quantize or ("int8",))
    if "int8" in quantize and not trained and not len(opened.calibration):
        raise ValueError("int8 needs `calibration`, a folder of pictures such as it will see. Received: none")
    if opened.noise:
        say("no pictures were given: the files are verified on noise")
    about = metadata.About(
        name=name or re.sub(r"[^\w.-]", "_", own_name(source) or opened.model.name),
        version=f"keras-inception {__version__}",
        description=description or f"Classifies pictures into {len(opened.labels)} classes.",
        author=author or "",
        license=licence or "",
    )
    rows = {}
    with tempfile.TemporaryDirectory(prefix="keras-inception-") as temporary:
        workshop = _Workshop(Path(temporary), opened, about, rewrites, trained, keep_float, litert_sample)
        say(f"Converting to {', '.join(quantize)}, and asking Keras")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            conversions = workshop.convert(quantize, pool)
            reference = _ask_keras(opened, litert_sample, progress)  # meanwhile: the converter has processes of its own
            _wait_for(conversions, progress)
        for variant in quantize:
            say(f"{variant}: verifying")
            least = MIN_AGREEMENT[variant] if min_agreement is None else min_agreement
            path, row = workshop.prove(variant, reference, least, threads, clients, progress)
            target = folder / f"{about['name']}_{variant}.tflite"
            if "refused" not in row:
                with files.replacing(target) as beside:
                    shutil.copyfile(path, beside)
                row["path"] = target.name
            rows[variant] = row
            say(f"{variant}: {_in_short(row)}")
        (folder / LAYER_ERRORS).unlink(missing_ok=True)
        if layer_errors and "agreement" in rows["int8"]:  # refused or not, it runs
            say("int8: comparing its layers with float32")
            files.write_json(folder / LAYER_ERRORS, workshop.layer_errors(progress))
    for variant in VARIANTS:
        if "path" not in rows.get(variant, {}):
            (folder / f"{about['name']}_{variant}.tflite").unlink(missing_ok=True)
    report = {
        **accuracy(reference.probabilities, reference.truth),
        "seconds": round(time.monotonic() - began, 1),
        "pictures": 0 if opened.noise else len(opened.test),
        "litert_sample": litert_sample,
        "variants": rows,
    }
    command = "keras_inception.export(...)"
    if isinstance(source, (str, os.PathLike)):
        command = f"keras-inception export {source} --output {output}{' --litert-sample' * litert_sample}"
    given = _given(opened.preprocessing, "float32", litert_sample)
    write_companions(folder, opened.labels, given, reference, about, report, command)
    files.write_json(folder / REPORT, report)
    return report


class _Workshop:
    """A folder where files are made, described and proven, before they get their names."""

    def __init__(
        self,
        folder: Path,
        opened: Source,
        about: metadata.About,
        rewrites: Sequence[str] | None,
        trained: bool,  # for int8
        keep_float: Sequence[str],
        litert_sample: bool,
    ):
        self._folder = folder
        self._opened = opened
        self._about = about
        self._models = for_variants(opened.model, rewrites)
        self._trained = trained
        self._keep_float = tuple(keep_float)
        self._litert_sample = litert_sample
        self._calibration = None if trained else folder / "calibration.npy"
        if self._calibration:
            np.save(self._calibration, opened.calibration)
        self._saved_models: dict[tuple[keras.Model, Preprocessing], Path] = {}
        self._scopes: dict[Path, dict[str, str]] = {}
        self._failures: dict[str, str] = {}
        self._float_nodes: list[str] = []

    def convert(self, variants: Sequence[str], pool: Executor) -> "list[Future[None]]":
        """Begin to make the files of all variants; a result is a ValueError if a layer cannot be kept in float32."""
        saved_models = {variant: self._saved_model(variant) for variant in variants}
        self._find_float_nodes()
        longest_first = sorted(variants, key=lambda variant: variant != "int8")
        return [pool.submit(self._convert, variant, saved_models[variant]) for variant in longest_first]

    def prove(
        self,
        variant: str,
        reference: Reference,
        min_agreement: float,
        threads: int,
        clients: Sequence[str] | None,
        progress: Progress,
    ) -> tuple[Path, dict]:
        """The file of one variant, and its row of the report, which has ``refused`` if it must not be used."""
        path, given = self._path(variant), self._given(variant)
        if variant in self._failures:
            return path, {"refused": self._failures[variant]}
        try:
            self._describe(path, given)
            row = verify(
                path,
                variant,
                given,
                reference,
                min_agreement=min_agreement,
                threads=threads,
                clients=clients,
                progress=progress,
            )
        except (ChildError, ValueError) as error:
            row = {"refused": str(error)}
        if variant == "int8" and self._keep_float:
            row = {"keep_float": list(self._keep_float), **row}
        return path, row

    def layer_errors(self, progress: Progress) -> list[dict]:
        """Of the int8 file, which has been proven to run."""
        given = self._given("int8")
        return errors_of_layers(self._path("int8"), self._twin(), self._opened.test, given, self._owners(), progress)

    def _convert(self, variant: str, saved_model: Path) -> None:
        path = self._path(variant)
        path.parent.mkdir()
        if self._trained and variant != "int8":
            self._failures[variant] = "the network has been trained for int8: export the run that it was made of"
            return
        float_nodes = self._float_nodes if variant == "int8" else ()
        try:
            given = self._given(variant)
            convert(saved_model, variant, path, self._calibration, given, float_nodes, self._litert_sample)
        except ChildError as error:
            self._failures[variant] = str(error)
            return
        if float_nodes:
            self._check_kept(path)

    def _find_float_nodes(self) -> None:
        """Operations have names, by which the converter is told of them, once they have been converted to float32."""
        if not self._keep_float:
            return
        operations = self._owners().operations(self._twin())
        for layer in self._keep_float:
            found = [node.outputs[0]["name"] for owner, node in operations if owner == layer]
            if not found:
                raise self._not_kept(layer)
            self._float_nodes += found

    def _check_kept(self, path: Path) -> None:
        operations = self._owners().operations(path)
        for layer in self._keep_float:
            kinds = {
                (node.kind, node.outputs[0]["dtype"] is np.float32) for owner, node in operations if owner == layer
            }
            if not any(kept for _, kept in kinds) or any(not kept and kind in MULTIPLYING for kind, kept in kinds):
                raise self._not_kept(layer)

    def _not_kept(self, layer: str) -> ValueError:
        kind = type(self._opened.model.get_layer(layer)).__name__
        return ValueError(
            "`keep_float` must be layers that compute something in the file, which is neither a part of another layer "
            f"nor a mere moving of values. Received: {layer!r}, a {kind}"
        )

    def _twin(self) -> Path:
        """The int8 file's SavedModel in float32."""
        path = self._folder / "twin.tflite"
        if not path.exists():
            try:
                convert(self._saved_model("int8"), "float32", path, None, self._given("int8"))
            except ChildError as error:
                raise ValueError(f"the network cannot be converted: {error}") from None
        return path

    def _owners(self) -> Owners:
        """Of the operations of the int8 file and its twin."""
        size = self._opened.preprocessing.size
        scopes = self._scopes[self._saved_model("int8")]
        return Owners(self._opened.model, self._models["int8"], scopes, size)

    def _path(self, variant: str) -> Path:
        return self._folder / variant / "model.tflite"

    def _given(self, variant: str) -> Preprocessing:
        return _given(self._opened.preprocessing, variant, self._litert_sample)

    def _saved_model(self, variant: str) -> Path:
        """The SavedModel of a variant: most share one."""
        model, given = self._models[variant], self._given(variant)
        if (model, given) not in self._saved_models:
            path = self._folder / f"saved_model_{len(self._saved_models)}"
            with recorded_scopes(model) as self._scopes[path]:
                save(deployed(model, self._opened.preprocessing, given), path)
            self._saved_models[model, given] = path
        return self._saved_models[model, given]

    def _describe(self, path: Path, given: Preprocessing) -> None:
        labels, preprocessing = path.with_name(LABELS), path.with_name(PREPROCESSING)
        described = path.with_name(sample.LABELS) if self._litert_sample else labels
        for each in {labels, described}:
            files.write_labels(each, self._opened.labels)
        given.save(preprocessing)
        metadata.write(path, self._about, given, described)
        metadata.pack(path, labels, preprocessing)
        if self._litert_sample:
            sample.check(path)


def check_export(
    source: "str | os.PathLike | keras.Model | None",
    output: str | os.PathLike,
    *,
    quantize: Sequence[str] | None,
    rewrites: Sequence[str] | None,
    name: str | None,
    labels: str | os.PathLike | Sequence[str] | None,
    preprocessing: str | os.PathLike | Preprocessing | None,
    calibration: str | os.PathLike | None,
    test: str | os.PathLike | None,
    min_agreement: float | None,
    verify_pictures: int | Literal["all"],
    keep_float: Sequence[str],
    layer_errors: bool,
    clients: Sequence[str] | None,
    overwrite: bool,
) -> None:
    """Raise what `export` raises for arguments that are wrong whatever the model is, before anything is loaded."""
    _check_options(quantize, rewrites, name, min_agreement, keep_float, layer_errors)
    if verify_pictures != "all" and not (isinstance(verify_pictures, int) and verify_pictures >= 1):
        raise ValueError(f"`verify_pictures` must be 1 or more, or 'all'. Received: {verify_pictures!r}")
    check_clients(clients)
    if isinstance(source, (str, os.PathLike)):
        check_source(source)
    if isinstance(labels, (str, os.PathLike)):
        files.read_labels(labels)
    if isinstance(preprocessing, (str, os.PathLike)):
        Preprocessing.named(str(preprocessing))
    check_pictures(calibration, test)
    _check_folder(Path(output), source, name, overwrite)


def _check_options(
    quantize: Sequence[str] | None,
    rewrites: Sequence[str] | None,
    name: str | None,
    min_agreement: float | None,
    keep_float: Sequence[str],
    layer_errors: bool,
) -> None:
    check_names(rewrites)
    if quantize is not None and (isinstance(quantize, str) or not quantize or not set(quantize) <= set(VARIANTS)):
        raise ValueError(f"`quantize` must be some of {', '.join(VARIANTS)}. Received: {quantize!r}")
    if name is not None and not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"`name` must be of letters, digits, '_', '-' and '.'. Received: name={name!r}")
    if min_agreement is not None and not min_agreement >= 0:
        raise ValueError(f"`min_agreement` must be a share, 0 or more. Received: min_agreement={min_agreement}")
    if isinstance(keep_float, str):
        raise ValueError(f"`keep_float` must be a list of layers. Received: {keep_float!r}")
    if quantize is not None and "int8" not in quantize and (keep_float or layer_errors):
        asked = "keep_float" if keep_float else "layer_errors"
        raise ValueError(f"`{asked}` is about int8, which must be in `quantize`. Received: {list(quantize)}")


def _check_layers(keep_float: Sequence[str], model: "keras.Model", trained: bool) -> None:
    if keep_float and trained:
        raise ValueError(f"`keep_float` is not for a network trained for int8. Received: {list(keep_float)}")
    known = [layer.name for layer in model.layers]
    for layer in keep_float:
        if layer not in known:
            hint = did_you_mean(layer, known)
            raise ValueError(f"`keep_float` must be layers of {model.name}, without heads.{hint} Received: {layer!r}")


def _check_folder(
    folder: Path, source: "str | os.PathLike | keras.Model | None", name: str | None, overwrite: bool
) -> None:
    if is_run(source) and folder.resolve() == Path(source).resolve():
        raise ValueError(f"`output` must be another folder than the run's. Received: {folder}")
    patterns = (REPORT, LAYER_ERRORS, *NAMES, *(f"{name or '*'}_{variant}.tflite" for variant in VARIANTS))
    present = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
    if present and not overwrite:
        raise FileExistsError(f"{folder} already holds {', '.join(present)}: name another folder, or overwrite them")


def _given(preprocessing: Preprocessing, variant: str, litert_sample: bool) -> Preprocessing:
    """What the input of a file means."""
    return sample.sample_input(preprocessing) if litert_sample else input_of(preprocessing, variant)


def _ask_keras(opened: Source, litert_sample: bool, progress: Progress) -> Reference:
    model, given = opened.model, opened.preprocessing
    if litert_sample:
        given = sample.sample_input(given)
        model = deployed(model, opened.preprocessing, given)
    predict = keras_predictor(model)
    starts = range(0, len(opened.test), BATCH)
    batches = (opened.test[start : start + BATCH] for start in counted(starts, "Asking Keras", len(starts), progress))
    probabilities = np.concatenate([predict(given.normalize(batch.astype(np.float32))) for batch in batches])
    return Reference(opened.test, probabilities, opened.truth)


def _wait_for(conversions: "Sequence[Future[None]]", progress: Progress) -> None:
    for conversion in counted(as_completed(conversions), "Converting", len(conversions), progress):
        conversion.result()


def _in_short(row: dict) -> str:
    if "refused" in row:
        return f"refused, {row['refused']}"
    return f"{row['mb']:.2f} MB, agrees with Keras on {row['agreement']:.1%}, {row['latency_ms']:.1f} ms"
