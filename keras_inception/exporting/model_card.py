"""The model card and the sidecar files of an export: labels, preprocessing, and a sample with its expected answers."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from keras_inception.evaluation.metrics import top_k
from keras_inception.exporting.clients import CLIENTS
from keras_inception.exporting.report import ExportReport
from keras_inception.exporting.targets import Target
from keras_inception.exporting.variants import Variant
from keras_inception.exporting.verify import Reference
from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import LABELS, PREPROCESSING
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.tflite.metadata import About
from keras_inception.utils import files, tables

CARD, SAMPLE, ANSWERS = "README.md", "sample.png", "sample.json"
SIDECARS = (LABELS, PREPROCESSING, CARD, SAMPLE, ANSWERS)
COLUMNS = (
    *("variant", "path", "mb", "top1_interval", "top5", "agreement_interval"),
    *("latency_ms", "outside_delegate", "outside_gpu"),
)


def write_sidecars(
    folder: Path, class_names: tuple[str, ...], preprocessing: Preprocessing, reference: Reference, report: ExportReport
) -> None:
    """Write everything beside the .tflite files except the report and the model card.

    Args:
        folder: where the files are.
        class_names: one for each output.
        preprocessing: what a float input expects (`Variant.input`).
        reference: Keras' predictions.
        report: of the export.
    """
    files.write_labels(folder / LABELS, class_names)
    preprocessing.save(folder / PREPROCESSING)
    image = _surest(reference)
    answers = {}
    for variant, row in report.variants.items():
        if "path" in row:
            classifier = TFLiteClassifier(folder / row["path"])
            (probabilities,) = classifier.predict(image[None])
            best = top_k(probabilities, 5)
            answers[variant] = [{"label": classifier.labels[i], "probability": float(probabilities[i])} for i in best]
    with files.replacing(folder / SAMPLE) as beside:
        Image.fromarray(image).save(beside)
    files.write_json(folder / ANSWERS, {"picture": SAMPLE, "top5": answers})


def _surest(reference: Reference) -> np.ndarray:
    """Return the image that Keras is surest of, and right about where that is known, at the size of the input."""
    confidence = reference.probabilities.max(axis=1)
    if reference.labels is not None:
        confidence = confidence * (reference.probabilities.argmax(axis=1) == reference.labels)
    return reference.images[confidence.argmax()]


def model_card(
    about: About,
    class_names: tuple[str, ...],
    preprocessing: Preprocessing,
    report: ExportReport,
    command: str,
    target: Target,
    variants: Iterable[Variant],
) -> str:
    """Return the model card in Markdown.

    Args:
        about: as in the metadata.
        class_names: one for each output.
        preprocessing: what a float input expects (`Variant.input`).
        report: of the export.
        command: the command that made the export.
        target: what the files are for.
        variants: those that were asked for, adapted to the target.
    """
    height, width = preprocessing.size
    exported = [variant for variant in variants if "path" in report.variants[variant.name]]
    rows = {variant.name: report.variants[variant.name] for variant in exported}
    table = tables.markdown(
        tables.columns(*COLUMNS),
        [{"variant": name, **row, "path": f"`{row['path']}`"} for name, row in rows.items()],
    )
    explained = "\n".join(f"- {variant.name}: {variant.about}" for variant in exported)
    kept = "".join(
        f"\nIn {name} these layers stay in float32: {', '.join(row['keep_float'])}.\n"
        for name, row in rows.items()
        if "keep_float" in row
    )
    refused = "".join(
        f"\n{name} was refused: {row['refused']}.\n" for name, row in report.variants.items() if "refused" in row
    )
    note = target.input_note(exported)
    note = note and f"\n  - {note}"
    return f"""# {about["name"]}

{about["description"]}

- Input `image`: one RGB image, (1, {height}, {width}, 3), prepared as in `{PREPROCESSING}`:
  {preprocessing.describe()}.
  - float32: (pixel - mean) / std with mean {preprocessing.mean} and std {preprocessing.std}.{note}
- Output `probabilities`: (1, {len(class_names)}), one for each line of `{LABELS}`. uint8 output is in steps of 1/256.
- Author: {about["author"] or "not stated"}. License: {about["license"] or "not stated"}.

## Files

{table}
{explained}
{kept}{refused}
Measured on {report.measured_on}; 95 % intervals in parentheses.
{report.accuracy}.
Latency is the median on the machine that exported, not on a phone. "Not on the GPU" lists the operations that are
missing from the published list of the GPU delegate. Every figure is in `report.json`.
{_clients(rows)}
## Use

Each file carries its labels, its preprocessing and TFLite metadata: the Task Library and MediaPipe need nothing else.
On Android with LiteRT 1 (`com.google.ai.edge.litert:litert` and `:litert-support`), a float file:

```kotlin
val interpreter = Interpreter(FileUtil.loadMappedFile(context, "{about["name"]}_float32.tflite"))
val image = TensorBuffer.createFixedSize(intArrayOf(1, {height}, {width}, 3), DataType.FLOAT32) // normalized as above
val probabilities = Array(1) {{ FloatArray({len(class_names)}) }}
interpreter.run(image.buffer, probabilities)
```

The Task Library stretches an image, or the region of it that it is given, to the input size, bilinear. An app that
wants the answers of the table prepares the input as described above first.

An app is right if `{SAMPLE}`, which has the size of the input, gives the answers in `{ANSWERS}`.

Made by `{command}`.
"""


def _clients(rows: dict[str, dict]) -> str:
    """Return a table of the clients that accepted files, and how far their scores are from the interpreter's."""
    tried = {name: row["clients"] for name, row in rows.items()}
    accepting = [name for name in CLIENTS if any("max_difference" in each.get(name, ()) for each in tried.values())]
    if not accepting:
        return ""
    lines = [
        " | ".join([name, *(_difference(outcomes[client]) for client in accepting)]) for name, outcomes in tried.items()
    ]
    table = "\n".join(f"| {line} |" for line in lines)
    return f"""
These libraries were given the files. The largest differences of their scores from LiteRT's:

| variant | {" | ".join(accepting)} |
|{"---|" * (1 + len(accepting))}
{table}
"""


def _difference(outcome: dict) -> str:
    return "not accepted" if "reason" in outcome else f"{outcome['max_difference']:.1g}"
