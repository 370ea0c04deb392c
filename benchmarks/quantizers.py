"""Compare litert-quantizer with TensorFlow's converter: python benchmarks/quantizers.py PYTHON RUN...

PYTHON is that of an environment with quantizer-requirements.txt. Each RUN is a run directory of keras-inception; the
table has a trained GoogLeNet with batch norm and an Inception v3. Both tools get the same graph, that of the variant,
and the same calibration images. Files are compared on the validation images, and read once on the test images. They are
timed side by side, so nothing else may run on the machine. The result is written to
``benchmarks/results/quantizers.json``, and the table in the documentation is made from that file.

``--readme`` only makes the table.
"""

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from circumstances import circumstances
from readme import insert, keep, kept

from keras_inception.utils import tables

QUANTIZER = Path(__file__).with_name("quantizer.py")
CONVERTER = "converter"


class Case(NamedTuple):
    """A file that one of the tools makes: a variant of an export, by the converter or by a recipe of quantizer.py."""

    about: str
    variant: str
    recipe: str = CONVERTER


CASES = (
    Case("int8, the converter", "int8"),
    Case("int8, min-max", "int8", "min_max"),
    Case("int8, MSE", "int8", "mse"),
    Case("int8, OCTAV", "int8", "octav"),
    Case("dynamic, the converter", "dynamic"),
    Case("dynamic, the quantizer", "dynamic", "dynamic"),
    Case("float16, the converter", "float16"),
    Case("float16, the quantizer", "float16", "float16"),
)
COLUMNS = {
    "network": tables.COLUMNS["network"],
    "about": tables.Column("file", is_text=True),
    **tables.columns("mb"),
    "validation_top1": tables.COLUMNS["top1"]._replace(title="validation top-1"),
    "test_top1": tables.COLUMNS["top1"]._replace(title="test top-1"),
    **tables.columns("agreement"),
    "latency": tables.Column("latency", tables.fixed(2)),
    **tables.columns("outside_delegate"),
    "runtime": tables.Column("oldest TensorFlow Lite"),
    "seconds": tables.Column("seconds", tables.fixed(1)),
    "memory_mb": tables.COLUMNS["memory_mb"],
}


class Prepared(NamedTuple):
    """A variant's graph and what is needed to quantize it: a SavedModel, its float32 file, and calibration inputs."""

    saved_model: Path
    float32: Path
    seconds: float
    preprocessing: object


def measured(python: str, run: Path, folder: Path) -> Iterator[dict]:
    """Yield a row for each case of a network."""
    from keras_inception import datasets
    from keras_inception.exporting.options import ExportOptions
    from keras_inception.exporting.source import open_source
    from keras_inception.exporting.verify import agreement
    from keras_inception.runs import Run
    from keras_inception.tflite.benchmark import benchmark
    from keras_inception.tflite.classifier import TFLiteClassifier
    from keras_inception.tflite.delegate import outside_delegate
    from keras_inception.tflite.runtimes import oldest_runtime

    opened = open_source(run, ExportOptions(), print, lambda *_: None)
    splits = datasets.open_data(Run(run).data["source"])
    shown = {}
    for name in ("validation", "test"):
        examples = getattr(splits, name)
        images = np.stack([opened.preprocessing.fit(examples.read(index)) for index in range(len(examples))])
        shown[name] = images, np.array(examples.labels)
    expected = opened.given.predict(shown["validation"][0])
    np.save(folder / "images.npy", opened.calibration)
    graphs = {variant: prepared(opened, variant, folder) for variant in {case.variant for case in CASES}}
    rows, paths = [], []
    for case in CASES:
        graph, path = graphs[case.variant], folder / f"{case.variant}_{case.recipe}.tflite"
        row = {"network": opened.model.name, **case._asdict()}
        try:
            cost = made(python, case, graph, path, folder)
        except subprocess.CalledProcessError as error:
            rows.append({**row, "refused": error.stderr.strip().splitlines()[-1]})
            continue
        classifier = TFLiteClassifier(path, preprocessing=graph.preprocessing, labels=opened.class_names)
        found = {name: classifier.predict(images) for name, (images, _) in shown.items()}
        top1 = {f"{name}_top1": float((found[name].argmax(1) == shown[name][1]).mean()) for name in shown}
        row |= {"mb": path.stat().st_size / 1e6, **top1, "agreement": agreement(found["validation"], expected)}
        row |= {"outside_delegate": outside_delegate(path), **cost}
        if case.recipe == CONVERTER:  # the quantizer leaves the versions of operations as they are in the float32 file
            row["runtime"] = oldest_runtime(path).version
        row |= {"input": classifier.input_type.__name__, "output": classifier.output_type.__name__}
        rows.append(row)
        paths.append(path)
    timed = iter(benchmark(paths, runs=100))
    for row in rows:
        if "refused" not in row:
            row["latency"] = next(timed)["median_ms"]
    yield from rows


def prepared(opened, variant: str, folder: Path) -> Prepared:
    """Write the SavedModel of a variant's graph and its float32 file."""
    from keras_inception.exporting.convert import convert
    from keras_inception.exporting.expected_input import without_normalization
    from keras_inception.exporting.rewrites import for_variants
    from keras_inception.exporting.signature import deployed, save
    from keras_inception.exporting.variants import VARIANTS

    model, preprocessing = for_variants(opened.model, [VARIANTS[variant]])[variant], opened.preprocessing
    if VARIANTS[variant].calibrated:
        model, preprocessing = without_normalization(model, preprocessing)
    expected = VARIANTS[variant].input(preprocessing)
    saved, path = folder / f"{variant}_saved_model", folder / f"{variant}_float32.tflite"
    save(deployed(model, preprocessing, expected), saved)
    began = time.monotonic()
    convert(saved, VARIANTS["float32"], path, None, expected)
    return Prepared(saved, path, time.monotonic() - began, expected)


def made(python: str, case: Case, graph: Prepared, path: Path, folder: Path) -> dict:
    """Make the file of a case.

    Returns:
        The ``seconds`` that it took, for the quantizer with those of the float32 file that it needs; and the largest
        ``memory_mb`` of a process.
    """
    from keras_inception.exporting.convert import convert, representative
    from keras_inception.exporting.variants import VARIANTS

    if case.recipe == CONVERTER:
        began, variant = time.monotonic(), VARIANTS[case.variant]
        calibration = folder / "images.npy" if variant.calibrated else None
        with peak_of_children() as peak:
            convert(graph.saved_model, variant, path, calibration, graph.preprocessing)
        return {"seconds": time.monotonic() - began, "memory_mb": max(peak)}
    # What the converter is calibrated with too: the images, and the ends of the range, so that inputs are raw pixels.
    inputs = [image for (image,) in representative(np.load(folder / "images.npy"), graph.preprocessing)]
    np.save(folder / "inputs.npy", np.concatenate(inputs))
    job = {"model": str(graph.float32), "recipe": case.recipe, "calibration": str(folder / "inputs.npy")}
    (folder / "job.json").write_text(json.dumps({**job, "keep_float": [], "output": str(path)}))
    command = [python, QUANTIZER, folder / "job.json"]
    with peak_of_children() as peak:
        done = subprocess.run(command, capture_output=True, check=True, encoding="utf-8")
    return {"seconds": float(done.stdout.splitlines()[-1]) + graph.seconds, "memory_mb": max(peak)}


@contextmanager
def peak_of_children() -> Iterator[list[float]]:
    """Yield a list that grows by the peak memory of the child processes in MB, read ten times a second from /proc."""
    found, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            for children in Path("/proc/self/task").glob("*/children"):
                for child in children.read_text(encoding="utf-8").split():
                    with suppress(OSError):
                        status = Path(f"/proc/{child}/status").read_text(encoding="utf-8")
                        found.append(int(re.search(r"VmHWM:\s*(\d+)", status + "VmHWM: 0")[1]) / 1e3)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


def table(result: dict) -> str:
    """Return the result as Markdown."""
    return tables.markdown(COLUMNS, result["files"])


def main(arguments: list[str]) -> None:
    if arguments != ["--readme"]:
        if len(arguments) < 2:
            raise SystemExit(__doc__)
        python, *runs = arguments
        rows = []
        for run in map(Path, runs):
            with tempfile.TemporaryDirectory() as folder:
                rows += measured(python, run, Path(folder))
        keep("quantizers", {**circumstances(), "files": rows})
    insert("quantizers", table(kept("quantizers")))


if __name__ == "__main__":
    main(sys.argv[1:])
