"""Targets of an export: the clients, or Google's LiteRT sample of image classification."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from keras_inception.exporting.variants import Variant
from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import LABELS

FLOAT_INPUT_TOLERANCE = 0.03  # `client_tolerance` of a calibrated variant with float32 input
INPUT_NOTES = {"uint8": "the raw pixels.", "int8": "the raw pixels minus 128."}
OUTPUT_NOTES = {
    "uint8": "in steps of 1/256; a probability is (value - zero point) * scale of the tensor.",
    "int8": "in steps of 1/256, from -128; a probability is (value - zero point) * scale of the tensor.",
}


@dataclass(frozen=True)
class Target:
    """The default target: the clients. Files keep the network's input size.

    Attributes:
        int8_input: type of the input of calibrated variants, one of `variants.TYPES`.
        int8_output: type of their output.
        size: (height, width) of the input; None for the network's own.
        class_names_file: name of the file of class names inside a .tflite file.
    """

    int8_input: str = "uint8"
    int8_output: str = "uint8"
    size: ClassVar[tuple[int, int] | None] = None
    class_names_file: ClassVar[str] = LABELS

    @property
    def option(self) -> str:
        """The command-line options that select the target, each after a blank."""
        given = {"--int8-input": self.int8_input, "--int8-output": self.int8_output}
        return "".join(f" {option} {kind}" for option, kind in given.items() if kind != "uint8")

    def preprocessing(self, preprocessing: Preprocessing) -> Preprocessing:
        """Return the preprocessing that the files expect, given the network's."""
        return preprocessing

    def adapt(self, variant: Variant) -> Variant:
        """Return the variant with the changes that this target requires.

        If a network was trained for int8, float pixels lie halfway between two quantization steps
        (`convert.FLOAT_MARGIN`). Clients round them either way, so the tolerance is larger.
        """
        if not variant.calibrated or (variant.input_type, variant.output_type) == (self.int8_input, self.int8_output):
            return variant
        tolerance = FLOAT_INPUT_TOLERANCE if self.int8_input == "float32" else variant.client_tolerance
        return dataclasses.replace(
            variant, input_type=self.int8_input, output_type=self.int8_output, client_tolerance=tolerance
        )

    def input_note(self, variants: Iterable[Variant]) -> str:
        """Return the model card's remark on the input, or an empty string.

        Args:
            variants: exported variants, adapted to this target.
        """
        return _by_type([(variant.input_type, variant.name) for variant in variants], INPUT_NOTES)

    def output_note(self, variants: Iterable[Variant]) -> str:
        """Return the model card's remark on the output, or an empty string.

        Args:
            variants: exported variants, adapted to this target.
        """
        return _by_type([(variant.output_type, variant.name) for variant in variants], OUTPUT_NOTES)


def _by_type(variants: Sequence[tuple[str, str]], notes: dict[str, str]) -> str:
    """Return the note on each type that some variants have, with their names, from pairs of (type, name)."""
    names = {kind: ", ".join(name for own, name in variants if own == kind) for kind in notes}
    return " ".join(f"{kind} ({names[kind]} files): {note}" for kind, note in notes.items() if names[kind])


@dataclass(frozen=True)
class LiteRTSample(Target):
    """Files that can replace the model in https://github.com/google-ai-edge/litert-samples.

    The sample app looks up the class names in the metadata by file name. It feeds float32 to files of every precision:
    224×224 pixels, from -1 to 1.
    """

    int8_input: str = "float32"
    int8_output: str = "float32"
    size: ClassVar[tuple[int, int] | None] = (224, 224)
    class_names_file: ClassVar[str] = "labels_without_background.txt"

    @property
    def option(self) -> str:
        """The command-line option that selects the target."""
        return " --litert-sample"

    def preprocessing(self, preprocessing: Preprocessing) -> Preprocessing:
        """Return `preprocessing` at the sample's size and normalization, in RGB."""
        normalization = (127.5, 127.5, 127.5)
        return preprocessing.replace(size=self.size, mean=normalization, std=normalization, channels="RGB")

    def input_note(self, variants: Iterable[Variant]) -> str:
        """Return the remark that every file takes float32."""
        return "Files of every variant take float32, as Google's LiteRT sample of image classification expects."


DEFAULT, LITERT_SAMPLE = Target(), LiteRTSample()
