"""What lies beside the exported files: labels, preprocessing, a sample with its expected answers, a model card."""

from pathlib import Path

from PIL import Image

from keras_inception.evaluation.metrics import top_k
from keras_inception.exporting.clients import CLIENTS
from keras_inception.exporting.verify import Reference
from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import LABELS, PREPROCESSING
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.tflite.metadata import About
from keras_inception.utils import files

CARD, SAMPLE, ANSWERS = "README.md", "sample.png", "sample.json"
NAMES = (LABELS, PREPROCESSING, CARD, SAMPLE, ANSWERS)
COLUMNS = (
    "variant",
    "file",
    "MB",
    "top-1",
    "top-5",
    "agreement with Keras",
    "latency, ms",
    "outside the XNNPACK delegate",
    "not on the GPU",
)


def write_companions(
    folder: Path,
    labels: tuple[str, ...],
    given: Preprocessing,
    reference: Reference,
    about: About,
    report: dict,
    command: str,
) -> None:
    """Write everything but the files themselves and the report.

    Args:
        given: what a float input is to be fed (`graph.input_of`).
        report: as `export` returns it.
        command: what made the export, for the card.
    """
    files.write_labels(folder / LABELS, labels)
    given.save(folder / PREPROCESSING)
    _write_sample(folder, reference, report)
    files.write_text(folder / CARD, model_card(about, labels, given, report, command))


def _write_sample(folder: Path, reference: Reference, report: dict) -> None:
    """The picture that Keras is surest of, and rightly so where that is known, in the network's very size."""
    confidence = reference.probabilities.max(axis=1)
    if reference.truth is not None:
        confidence = confidence * (reference.probabilities.argmax(axis=1) == reference.truth)
    picture = reference.pictures[confidence.argmax()]
    answers = {}
    for variant, row in report["variants"].items():
        if "path" in row:
            classifier = TFLiteClassifier(folder / row["path"])
            (probabilities,) = classifier.predict(picture[None])
            best = top_k(probabilities, 5)
            answers[variant] = [{"label": classifier.labels[i], "probability": float(probabilities[i])} for i in best]
    with files.replacing(folder / SAMPLE) as beside:
        Image.fromarray(picture).save(beside)
    files.write_json(folder / ANSWERS, {"picture": SAMPLE, "top5": answers})


def model_card(about: About, labels: tuple[str, ...], given: Preprocessing, report: dict, command: str) -> str:
    """The model card in Markdown; arguments as of `write_companions`."""
    height, width = given.size
    variants = report["variants"].items()
    table = "\n".join(_table_row(variant, row) for variant, row in variants if "path" in row)
    refused = "".join(f"\n{variant} was refused: {row['refused']}.\n" for variant, row in variants if "refused" in row)
    kept = "".join(
        f"\nIn {variant} these layers stay in float32: {', '.join(row['keep_float'])}.\n"
        for variant, row in variants
        if "keep_float" in row and "path" in row
    )
    pictures = f"{report['pictures']} held-out pictures" if report["pictures"] else "noise, for lack of pictures"
    return f"""# {about["name"]}

{about["description"]}

- Input `image`: one RGB picture, (1, {height}, {width}, 3), made of a picture as `{PREPROCESSING}` says:
  {given.describe()}.
  - float32: (pixel - mean) / std with mean {given.mean} and std {given.std}.{_of_bytes(report)}
- Output `probabilities`: (1, {len(labels)}), one for each line of `{LABELS}`. uint8 output is in steps of 1/256.
- Author: {about["author"] or "not stated"}. Licence: {about["license"] or "not stated"}.

## Files

| {" | ".join(COLUMNS)} |
|{"---|" * len(COLUMNS)}
{table}
{kept}{refused}
Measured on {pictures}; in parentheses 95 % intervals.
Keras itself: top-1 {_percent(report["top1"])}, top-5 {_percent(report["top5"])}.
Latency is the median on the machine that exported, not on a phone. Not on the GPU is what its delegate's published list
lacks. Every figure is in `report.json`.
{_clients(report)}
## Use

Each file carries its labels, its preprocessing and TFLite metadata: the Task Library and MediaPipe need nothing else.
On Android with LiteRT 1 (`com.google.ai.edge.litert:litert` and `:litert-support`), a float file:

```kotlin
val interpreter = Interpreter(FileUtil.loadMappedFile(context, "{about["name"]}_float32.tflite"))
val image = TensorBuffer.createFixedSize(intArrayOf(1, {height}, {width}, 3), DataType.FLOAT32) // normalised as above
val probabilities = Array(1) {{ FloatArray({len(labels)}) }}
interpreter.run(image.buffer, probabilities)
```

The Task Library stretches a picture, or the region of it that it is given, to the input, bilinear. An app that wants
the answers of the table makes the input as said above first.

An app is right if `{SAMPLE}`, which has the size of the input, gives the answers in `{ANSWERS}`.

Made by `{command}`.
"""


def _table_row(variant: str, row: dict) -> str:
    cells = (
        variant,
        f"`{row['path']}`",
        f"{row['mb']:.2f}",
        with_interval(row, "top1"),
        _percent(row["top5"]),
        with_interval(row, "agreement"),
        f"{row['latency_ms']:.2f}",
        ", ".join(row["outside_delegate"]) or "none",
        ", ".join(row["outside_gpu"]) or "none",
    )
    return f"| {' | '.join(cells)} |"


def with_interval(row: dict, name: str) -> str:
    """Return a share of a report's row as text, with its 95 % interval."""
    if row[name] is None:
        return "–"
    low, high = row[f"{name}_interval"]
    return f"{row[name]:.1%} ({100 * low:.1f}–{100 * high:.1f})"


def _of_bytes(report: dict) -> str:
    if report["litert_sample"]:
        return "\n    int8 files too, as Google's LiteRT sample of image classification wants it."
    return "\n  - uint8 (int8 files): the pixels as they are."


def _clients(report: dict) -> str:
    """The libraries that took the files, and how far their scores are from the interpreter's."""
    tried = {variant: row["clients"] for variant, row in report["variants"].items() if "path" in row}
    taking = [name for name in CLIENTS if any("max_difference" in each.get(name, ()) for each in tried.values())]
    if not taking:
        return ""
    rows = [
        " | ".join([variant, *(_difference(outcomes[name]) for name in taking)]) for variant, outcomes in tried.items()
    ]
    table = "\n".join(f"| {row} |" for row in rows)
    return f"""
These libraries were given the files, and their scores are so far at most from LiteRT's:

| variant | {" | ".join(taking)} |
|{"---|" * (1 + len(taking))}
{table}
"""


def _difference(outcome: dict) -> str:
    return "not taken" if "reason" in outcome else f"{outcome['max_difference']:.1g}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
