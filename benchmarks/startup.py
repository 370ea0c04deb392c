"""Measure how long a user waits: python benchmarks/startup.py [--runs N] [CASE ...]

Each case is a process of its own, timed from its start until it prints that it is ready: the import, `--help`, wrong
paths, `predict` with an exported file, the first training step of three networks and of pruning and QAT, a short
training, and the export of models that were not trained here. Nothing else may run. Writes
``benchmarks/results/startup.json`` with the median of each case and updates its table in the documentation.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from circumstances import circumstances
from exports import converted, drawn
from readme import insert, keep, kept

from keras_inception.utils import tables

READY = "ready"
COLUMNS = {"until": tables.Column("until"), "seconds": tables.Column("s", tables.fixed(1))}
COMMAND = [sys.executable, "-m", "keras_inception.cli"]
TITLES = {
    "import": "`keras_inception.GoogLeNet` is imported, with Keras and TensorFlow",
    "help": "`--help` is printed",
    "wrong_paths": "a wrong path is reported, by the slowest command",
    "predict": "`predict` has classified an image with a .tflite file",
    "first_step_googlenet": "the first training step of GoogLeNet with heads ends: recipe `small`, 4,067 images",
    "first_step_inception_v3": "… of Inception v3 with its head",
    "first_step_resnet34": "… of ResNet-34",
    "first_step_pruning": "… of pruning GoogLeNet",
    "first_step_qat": "… of training GoogLeNet for int8",
    "epoch_of_240": "`train` ends after one epoch of 240 images",
    "export_googlenet": "GoogLeNet, 96 px, is exported in four variants",
    "export_inception_v3": "Inception v3, 299 px, is exported in float32 and int8, verified on 500 of 4,067 images",
}
WRONG = "nowhere"  # a path that does not exist
WRONG_PATHS = {
    "train": ["train", WRONG],
    "evaluate": ["evaluate", WRONG],
    "predict": ["predict", WRONG, WRONG],
    "export": ["export", WRONG],
    "compress": ["compress", WRONG],
    "benchmark": ["benchmark", WRONG],
    "page": ["page", WRONG],
    "cost": ["cost", f"{WRONG}.keras"],
    "shard": ["shard", WRONG, "shards"],
    "convert-weights": ["convert-weights", WRONG, "weights.keras"],
    "export, calibration": ["export", "{folder}/googlenet.keras", "--calibration", WRONG],
    "export, test": ["export", "{folder}/googlenet.keras", "--test", WRONG],
    "export, labels": ["export", "{folder}/googlenet.keras", "--labels", WRONG],
    "evaluate, images": ["evaluate", "{folder}/googlenet.tflite", WRONG],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"default: all of {', '.join(CASES)}")
    parser.add_argument("--runs", type=int, default=3, help="runs per case; cases that take minutes run once")
    parser.add_argument("--output", type=Path, help="JSON file to write instead of the one in the results folder")
    parser.add_argument("--child", nargs=2, metavar=("CASE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, folder = arguments.child
        CASES[name](Path(folder))
        return
    for name in arguments.cases:
        if name not in CASES:
            parser.error(f"CASE must be one of {', '.join(CASES)}. Received: {name}")
    seconds = kept("startup").get("seconds", {}) if arguments.cases else {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, "--child", "prepare", folder], check=True, stdout=subprocess.DEVNULL)
        for name in arguments.cases or [name for name in CASES if name != "prepare"]:
            runs = 1 if name in LONG else arguments.runs
            seconds[name] = round(statistics.median(timed(name, Path(folder)) for _ in range(runs)), 2)
            print(f"{name}: {seconds[name]:.2f} s", flush=True)
    result = {
        "command": f"python benchmarks/startup.py --runs {arguments.runs}",
        **circumstances(),
        "seconds": seconds,
    }
    keep("startup", result)
    insert("startup", table(result))


def table(result: dict) -> str:
    """Return the result as Markdown."""
    rows = [{"until": TITLES[name], "seconds": seconds} for name, seconds in result["seconds"].items()]
    return tables.markdown(COLUMNS, rows)


def timed(name: str, folder: Path) -> float:
    """Return the seconds that a case takes in a new process."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        began = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, __file__, "--child", name, folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if not os.environ.get("KERAS_INCEPTION_TRACEBACK") else None,
            encoding="utf-8",
            cwd=scratch,
        )
        assert child.stdout
        line = next((line for line in child.stdout if line.startswith(READY)), None)
        seconds = time.perf_counter() - began
        if line is None:
            raise SystemExit(f"{name} exited with code {child.wait()} before it was ready")
        child.kill()
        child.wait()
    own = line.removeprefix(READY).strip()
    return float(own) if own else seconds


def ready(own: float | None = None) -> None:
    """Report to the parent that the case is finished, with its own time if only a part of the process counts."""
    print(READY, own or "", flush=True)


def prepare(folder: Path) -> None:
    """Create the files that the cases need."""
    import keras_inception
    from keras_inception import datasets

    images = datasets.pictograms(folder / "pictograms")
    few = folder / "few"
    for split, count in (("train", 200), ("validation", 40)):
        classes = sorted(path for path in (images / split).iterdir() if path.is_dir())
        chosen = [sorted(each.iterdir())[: count // len(classes) + 1] for each in classes]
        for image in sorted(path for each in chosen for path in each)[:count]:
            target = few / split / image.parent.name / image.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(image.read_bytes())
    options = {"input_shape": (96, 96, 3), "classes": 19, "normalization": "batch_norm", "auxiliary": True}
    network = drawn(keras_inception.GoogLeNet(**options))
    network.save(folder / "googlenet.keras")
    converted(keras_inception.inference_model(network), {"float32": folder / "googlenet.tflite"})
    drawn(keras_inception.InceptionV3()).save(folder / "inception_v3.keras")


def command(*arguments: str) -> Callable[[Path], None]:
    """Return a case that runs a command to its end; ``{folder}`` in `arguments` is the folder of prepared files."""

    def case(folder: Path) -> None:
        words = [argument.format(folder=folder) for argument in arguments]
        began = time.perf_counter()
        subprocess.run([*COMMAND, *words], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ready(time.perf_counter() - began)

    return case


def wrong_paths(folder: Path) -> None:
    """Call every command with a wrong path; the slowest counts."""
    seconds = {}
    for name, arguments in WRONG_PATHS.items():
        words = [argument.format(folder=folder) for argument in arguments]
        began = time.perf_counter()
        done = subprocess.run([*COMMAND, *words], check=False, capture_output=True, encoding="utf-8")
        seconds[name] = time.perf_counter() - began
        assert done.returncode in (1, 2), (name, done)
        print(f"{name}: {seconds[name]:.2f} s: {done.stderr.strip()}", file=sys.stderr)
    ready(max(seconds.values()))


def imported(folder: Path) -> None:
    import keras_inception

    keras_inception.GoogLeNet  # noqa: B018  imports Keras and TensorFlow
    ready()


def first_step(network: str, method: str | None = None) -> Callable[[Path], None]:
    """Return a case that trains on the pictograms until the first step has ended."""

    def case(folder: Path) -> None:
        from unittest import mock

        from keras_inception import training
        from keras_inception.training import callbacks

        recipe = training.RECIPES["small"].replace(network=network)
        options = {}
        if method:
            recipe, options["method"] = compression(folder, method)
        with mock.patch.object(callbacks.RaiseOnNonFinite, "on_train_batch_end", side_effect=lambda *_, **__: ready()):
            training.train(folder / "pictograms", "run", recipe=recipe, **options)

    return case


def compression(folder: Path, method: str):
    """Return the recipe and the method of one step of `keras-inception compress`."""
    import numpy as np

    import keras_inception
    from keras_inception import training
    from keras_inception.compression import finetuning
    from keras_inception.compression.compress import recipe_of
    from keras_inception.preprocessing import DEFAULT

    network = keras_inception.load(folder / "googlenet.keras")
    preprocessing = DEFAULT.replace(size=(96, 96))
    recipe = recipe_of(training.RECIPES["small"], method)
    if method == "prune":
        return recipe, finetuning.Pruning(network, preprocessing, sparsity=0.5)
    images = np.random.default_rng(0).uniform(-1, 1, (64, 96, 96, 3)).astype(np.float32)
    return recipe, finetuning.Quantization(network, preprocessing, images=images)


CASES: dict[str, Callable[[Path], None]] = {
    "prepare": prepare,
    "import": imported,
    "help": command("--help"),
    "wrong_paths": wrong_paths,
    "predict": command("predict", "{folder}/googlenet.tflite", "{folder}/pictograms/test/face/tired-face_noto1.jpg"),
    "first_step_googlenet": first_step("googlenet"),
    "first_step_inception_v3": first_step("inception_v3"),
    "first_step_resnet34": first_step("resnet34"),
    "first_step_pruning": first_step("googlenet", "prune"),
    "first_step_qat": first_step("googlenet", "quantize"),
    "epoch_of_240": command("train", "{folder}/few", "--recipe", "small", "--epochs", "1", "--output", "run"),
    "export_googlenet": command(*["export", "{folder}/googlenet.keras", "--calibration", "{folder}/few/train"]),
    "export_inception_v3": command(
        *("export", "{folder}/inception_v3.keras", "--calibration", "{folder}/pictograms/train"),
        *("--quantize", "float32,int8", "--min-agreement", "0"),
    ),
}
LONG = ("export_inception_v3",)

if __name__ == "__main__":
    main()
