"""LiteRT's WebGPU accelerator, on this machine's GPU or on Vulkan in software. It is not the GPU delegate of phones.

Each file has a process of its own, with a time limit: a driver may crash or hang.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from keras_inception.exporting.clients import exchange
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.tflite.compiled import SOFTWARE, Compiled, missing_driver, on_gpu
from keras_inception.utils import files
from keras_inception.utils.subprocesses import answer, run_module

SECONDS = 600.0  # after which a driver is taken to hang; VGG-16 in software takes three minutes
CHILD = __name__
UNAVAILABLE = "it needs LiteRT's WebGPU accelerator and a Vulkan driver. Received: {}"


def unavailable() -> str | None:
    """Return None if a GPU can be used here, otherwise the reason and how to get one."""
    missing = missing_driver()
    return missing and UNAVAILABLE.format(missing)


def scores(path: Path, images: np.ndarray, classes: int) -> np.ndarray:
    """Return the GPU's scores in float32 (see `keras_inception.exporting.clients`)."""
    return examine(path, images, classes)[0]


def examine(path: Path, images: np.ndarray, classes: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the scores, and what the report says in addition.

    Returns:
        The scores, and a dictionary: ``device``; ``whole``, whether the GPU takes every operation; ``outside``, those
        that it does not take, each with LiteRT's reason; and ``half_precision``, the ``max_difference`` of its scores
        from those in float32, or None in software, which never computes in half precision.

    Raises:
        ChildError: the driver crashes or hangs, or LiteRT cannot run the file.
    """
    classifier = TFLiteClassifier(path, isolated=False)
    with files.temporary_folder() as folder:
        about = folder / "about.json"
        run = partial(run_module, CHILD, timeout=SECONDS)
        both = exchange(lambda job: run({**job, "about": str(about)}), path, classifier.as_input(images), classes)
        found = files.read_json(about)
    full, *half = (classifier.probabilities(each) for each in both)
    found["half_precision"] = {"max_difference": float(np.abs(half[0] - full).max())} if half else None
    return full, found


def main(job: dict) -> None:
    """Run the job of the child process (`exchange`): its scores have a first axis, float32 and half precision."""
    values = np.load(job["images"])

    opened = on_gpu(job["model"], enforce_f32=True)
    files.write_json(job["about"], {"device": opened.device, "whole": opened.is_whole, "outside": opened.outside})
    found = [_scores(opened, values)]
    if not opened.device.endswith(SOFTWARE):
        found.append(_scores(on_gpu(job["model"]), values))
    np.save(job["scores"], np.stack(found))


def _scores(opened: Compiled, values: np.ndarray) -> np.ndarray:
    rows = []
    for value in values:
        opened.write([value])
        rows += opened.run()
    return np.stack(rows)


if __name__ == "__main__":
    answer(main)
