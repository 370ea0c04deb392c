"""The model card and the sidecar files of an export: labels, preprocessing, and a sample with its expected answers."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from keras_inception.evaluation.abstention import abstentions
from keras_inception.evaluation.metrics import top_k
from keras_inception.exporting.clients import CLIENTS
from keras_inception.exporting.half_precision import remark as half_precision_remark
from keras_inception.exporting.report import ExportReport
from keras_inception.exporting.targets import Target
from keras_inception.exporting.variants import VARIANTS, Variant
from keras_inception.exporting.verify import Reference, not_accepted
from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import LABELS, PREPROCESSING
from keras_inception.tflite.classifier import TFLiteClassifier
from keras_inception.tflite.metadata import About
from keras_inception.tflite.runtimes import Runtime
from keras_inception.utils import files, tables

RELEASES = (
    "LiteRT 1.0.1 is TensorFlow Lite 2.17.0 under its new name. The Task Library has a runtime of its own, of 2023. "
    "`--runtime` makes files for an older release."
)
ON_GPU = 'The column "on a GPU" was tried on {}, which is not the GPU of a phone.'
TEMPLATE = Path(__file__).with_suffix(".md")  # for `str.format`
CARD, ANSWERS = "README.md", "sample.json"
SAMPLES = ("sample.png", "sample_2.png", "sample_3.png", "sample_4.png", "sample_5.png")
SAMPLE = SAMPLES[0]
SIDECARS = (LABELS, PREPROCESSING, CARD, *SAMPLES, ANSWERS)
MARGIN = 0.1  # between the two most probable classes of a sample, so that rounding cannot change their order


def write_sidecars(
    folder: Path, class_names: tuple[str, ...], preprocessing: Preprocessing, reference: Reference, report: ExportReport
) -> None:
    """Write everything beside the .tflite files except the report and the model card.

    Args:
        folder: folder of the .tflite files.
        class_names: names of the classes.
        preprocessing: preprocessing that a float input expects (`Variant.input`).
        reference: Keras' predictions.
        report: report of the export.
    """
    files.write_labels(folder / LABELS, class_names)
    preprocessing.save(folder / PREPROCESSING)
    samples = [reference.images[index] for index in _samples(reference)]
    pictures: list[dict] = [{"picture": name, "top5": {}} for name, _ in zip(SAMPLES, samples, strict=False)]
    for variant, row in report.variants.items():
        if "path" in row:
            classifier = TFLiteClassifier(folder / row["path"], isolated=False)
            for picture, probabilities in zip(pictures, classifier.predict(np.stack(samples)), strict=True):
                best = [(classifier.labels[i], float(probabilities[i])) for i in top_k(probabilities, 5)]
                picture["top5"][variant] = [{"label": label, "probability": value} for label, value in best]
    for picture, image in zip(pictures, samples, strict=True):
        with files.replacing(folder / picture["picture"]) as beside:
            Image.fromarray(image).save(beside)
    files.write_json(folder / ANSWERS, {"pictures": pictures})


def _samples(reference: Reference) -> list[int]:
    """Return up to five images of spread confidence, by their indices, the surest first.

    Keras classifies them correctly if their labels are known, and by a margin, as far as there are such images.
    """
    ordered = np.sort(reference.probabilities, axis=1)
    confidence, second = ordered[:, -1], ordered[:, -2] if ordered.shape[1] > 1 else 0
    clear = confidence - second >= MARGIN
    if reference.labels is not None:
        clear &= reference.probabilities.argmax(axis=1) == reference.labels
    chosen = sorted(np.flatnonzero(clear), key=lambda index: -confidence[index])
    others = sorted(np.flatnonzero(~clear), key=lambda index: -confidence[index])
    candidates = chosen if len(chosen) >= len(SAMPLES) else [*chosen, *others]
    spread = np.linspace(0, len(candidates) - 1, min(len(SAMPLES), len(candidates))).round().astype(int)
    return [int(candidates[place]) for place in spread]


def model_card(
    about: About,
    class_names: tuple[str, ...],
    preprocessing: Preprocessing,
    report: ExportReport,
    command: str,
    target: Target,
    variants: Iterable[Variant],
    not_sure: str = "",
) -> str:
    """Return the model card in Markdown.

    Args:
        about: texts of the metadata.
        class_names: names of the classes.
        preprocessing: preprocessing that a float input expects (`Variant.input`).
        report: report of the export.
        command: command that made the export.
        target: target of the files.
        variants: requested variants, adapted to the target.
        not_sure: when an app should say that it is not sure (`not_sure_remark`).
    """
    exported = [variant for variant in variants if "path" in report.variants[variant.name]]
    rows = [{"variant": variant.name, **report.variants[variant.name]} for variant in exported]
    on_gpu = next((row["gpu"] for row in rows if row["gpu"]), None)
    columns = tables.columns(
        *("variant", "path", "mb", "top1_interval", "top5", "agreement_interval"),
        *("latency_ms", "outside_delegate", *(["gpu"] if on_gpu else []), "runtime"),
    )
    note, output_note = target.input_note(exported), target.output_note(exported)
    remarks = ""
    for name, row in report.variants.items():
        if "refused" in row:
            remarks += f"\n{name} was refused: {row['refused']}.\n"
            continue
        if "keep_float" in row:
            remarks += f"\nIn {name} these layers stay in float32: {', '.join(row['keep_float'])}.\n"
        if VARIANTS[name].half_precision:
            remarks += f"\n{name}: {half_precision_remark(row.get('half_precision'))}\n"
        if "advice" in row:
            remarks += f"\n{name}: {row['advice']}.\n"
    runtimes = "; ".join(f"{row['variant']} needs {Runtime(**row['runtime'])}" for row in rows)
    return TEMPLATE.read_text(encoding="utf-8").format(
        about={key: text or "not stated" for key, text in about.items()},
        preprocessing=preprocessing,
        fitting=preprocessing.describe(),
        note=note and f"\n  - {note}",
        output_note=output_note and f"\n  - {output_note}",
        not_sure=not_sure and f"\n{not_sure}\n",
        classes=len(class_names),
        table=tables.markdown(columns, [{**row, "path": f"`{row['path']}`"} for row in rows]),
        explained="\n".join(f"- {variant.name}: {variant.about}" for variant in exported),
        remarks=remarks,
        report=report,
        runtimes=runtimes and f"{runtimes}. {RELEASES}",
        clients=_clients(rows),
        gpu=f" {ON_GPU.format(on_gpu.get('device', 'a GPU'))}" if on_gpu else "",
        command=command,
    )


def not_sure_remark(reference: Reference, threshold: float | None) -> str:
    """Return what the model card says about a threshold, with Keras' accuracy above it if the labels are known."""
    if threshold is None:
        return ""
    text = f"Below a probability of {threshold:g} of the most likely class, an app should say that it is not sure"
    if reference.labels is None or reference.independent:
        return f"{text}."
    right = reference.probabilities.argmax(axis=1) == reference.labels
    (above,) = abstentions(reference.probabilities.max(axis=1), right, [threshold])
    correct = "" if above.top1 is None else f", and {above.top1:.1%} of its answers are correct"
    return f"{text}. Keras then answers {above.answered:.1%} of the held-out images{correct}."


def _clients(rows: list[dict]) -> str:
    """Return a table of the clients that accepted files, with the differences of their scores from LiteRT's."""
    accepting = [name for name in CLIENTS if any("max_difference" in row["clients"].get(name, ()) for row in rows)]
    if not accepting:
        return ""
    columns = tables.columns("variant") | {name: tables.Column(name, _difference) for name in accepting}
    reasons = "".join(
        f"\n{name} does not accept {row['variant']}: {reason}\n"
        for row in rows
        for name, reason in not_accepted(row).items()
    )
    return f"""
These libraries were given the files. The largest differences of their scores from LiteRT's, and in parentheses what
rounding can explain at this depth:

{tables.markdown(columns, [{"variant": row["variant"], **row["clients"]} for row in rows])}{reasons}"""


def _difference(outcome: dict) -> str:
    if "reason" in outcome:
        return "not accepted"
    return f"{outcome['max_difference']:.1g} ({outcome['tolerance']:.2g})"
