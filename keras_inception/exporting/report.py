"""The report of an export."""

from dataclasses import dataclass, field

from keras_inception.utils import tables
from keras_inception.utils.results import Result

LAYER_ERRORS = "layer_errors.json"
COLUMNS = ("variant", "mb", "top1_interval", "agreement_interval", "latency_ms", "outside_delegate")


@dataclass(frozen=True, eq=False)
class ExportReport(Result):
    """The measurements of an export. A report prints as a table, and its fields are also keys: ``report["variants"]``.

    Attributes:
        top1: top-1 accuracy of Keras on the held-out images, 0 to 1; None if they have no labels.
        top1_interval: 95 % interval of `top1`, [low, high].
        top5: top-5 accuracy of Keras.
        seconds: duration of the export.
        pictures: number of held-out images; 0 if the files were verified on noise.
        litert_sample: whether the files are for Google's LiteRT sample of image classification.
        variants: for each variant, by name: ``path`` (relative to the folder), ``mb``, ``top1``, ``top1_interval``,
            ``top5``, ``agreement``, ``agreement_interval``, ``ties`` (share of the images on which two or more classes
            are the most likely), ``max_difference`` (of probabilities, from Keras), ``latency_ms``,
            ``outside_delegate``, ``gpu``, ``runtime``, ``half_precision``, ``clients``, ``advice`` if ties are
            frequent, and ``keep_float`` if layers stay in float32. ``half_precision`` is the outcome of
            `exporting.half_precision.trial`; its ``arm64`` is None if the file was not run on the emulated ARM, which
            alone is a proof. ``runtime`` is the oldest release of TensorFlow Lite that runs the file, with the
            operation that asks for it (`keras_inception.tflite.runtimes.Runtime`). A refused variant has ``refused``
            with the reason, and no ``path``. In ``clients``, a client has ``max_difference`` (of its scores, from
            LiteRT's), the ``tolerance`` for it, and ``agreement`` (the share of images with the same most likely
            class); or whether it is ``installed`` and the ``reason`` why it gave no scores. ``steps`` are the seconds
            of each step of this variant, as in `steps`. ``gpu`` is the outcome of the client
            litert-gpu, None if it was not asked for: ``device``, which is not that of a phone; ``whole``, whether the
            GPU takes every operation; ``outside``, those that it does not take, with LiteRT's reasons; and
            ``half_precision``, the ``max_difference`` of its scores from those in float32, None for software Vulkan.
        not_sure: probability of the most likely class below which an app should say that it is not sure; None if it
            always answers.
        steps: seconds of each step, of all variants together: ``open`` (the network and the images), ``prepare`` (the
            graphs to convert), ``keras`` (Keras' predictions), ``convert`` (with calibration), ``half_precision``,
            ``verify``, ``clients``, ``latency`` and ``layer_errors``. Some run at the same time, so that they add up to
            more than `seconds`.
    """

    top1: float | None
    top1_interval: list[float] | None
    top5: float | None
    seconds: float
    pictures: int
    litert_sample: bool
    variants: dict[str, dict]
    not_sure: float | None = None
    steps: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join([self.table, *(f"{name} was refused: {reason}" for name, reason in self.refused.items())])

    @property
    def table(self) -> str:
        """The exported files as a table for a terminal, with Keras' accuracy and the images used."""
        kept = [{"variant": name, **row} for name, row in self.variants.items() if "refused" not in row]
        lines = [tables.text(tables.columns(*COLUMNS), kept)]
        if self.top1 is not None:
            lines.append(self.accuracy)
        lines.append(f"Measured on {self.measured_on}; 95 % intervals in parentheses.")
        if self.steps:
            lines.append(self.duration)
        return "\n".join(lines)

    @property
    def refused(self) -> dict[str, str]:
        """The reason for each refusal, by variant."""
        return {name: row["refused"] for name, row in self.variants.items() if "refused" in row}

    @property
    def accuracy(self) -> str:
        """Keras' accuracy as text."""
        cells = (tables.cell(self, key, column) for key, column in tables.columns("top1", "top5").items())
        return "Keras itself: top-1 {}, top-5 {}".format(*cells)

    @property
    def duration(self) -> str:
        """The duration of the export and of its steps, the longest first, as text."""
        longest = sorted(self.steps.items(), key=lambda step: step[1], reverse=True)
        steps = ", ".join(f"{name.replace('_', ' ')} {seconds:.1f} s" for name, seconds in longest)
        return f"Took {self.seconds:.1f} s. Steps, some at the same time: {steps}."

    @property
    def measured_on(self) -> str:
        """The images that the files were verified on, as text."""
        if not self.pictures:
            return "noise, for lack of images"
        return tables.number(self.pictures, "held-out image")
