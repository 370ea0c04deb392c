"""Targets of an export: the clients, or Google's LiteRT sample of image classification."""

import dataclasses
from collections.abc import Iterable

from keras_inception.exporting.variants import Variant
from keras_inception.preprocessing import Preprocessing
from keras_inception.runs import LABELS


class Target:
    """The default target: the clients. Files keep the network's input size.

    Attributes:
        size: (height, width) of the input; None for the network's own.
        class_names_file: name of the file of class names inside a .tflite file.
        option: the command-line option that selects the target.
    """

    size: tuple[int, int] | None = None
    class_names_file = LABELS
    option = ""

    def preprocessing(self, preprocessing: Preprocessing) -> Preprocessing:
        """Return the preprocessing that the files expect, given the network's."""
        return preprocessing

    def adapt(self, variant: Variant) -> Variant:
        """Return the variant with the changes that this target requires."""
        return variant

    def input_note(self, variants: Iterable[Variant]) -> str:
        """Return the model card's remark on the input, or an empty string.

        Args:
            variants: exported variants, adapted to this target.
        """
        names = ", ".join(variant.name for variant in variants if variant.takes_pixels)
        return f"uint8 ({names} files): the raw pixels." if names else ""


class LiteRTSample(Target):
    """Files that can replace the model in https://github.com/google-ai-edge/litert-samples.

    The sample app looks up the class names in the metadata by file name. It feeds float32 to files of every precision:
    224×224 pixels, from -1 to 1.
    """

    size = (224, 224)
    mean = std = (127.5, 127.5, 127.5)
    class_names_file = "labels_without_background.txt"
    option = " --litert-sample"

    def preprocessing(self, preprocessing: Preprocessing) -> Preprocessing:
        """Return `preprocessing` at the sample's size and normalization, in RGB."""
        return preprocessing.replace(size=self.size, mean=self.mean, std=self.std, channels="RGB")

    def adapt(self, variant: Variant) -> Variant:
        """Return the variant with float32 input and output.

        If a network was trained for int8, float pixels lie halfway between two quantization steps
        (`convert.FLOAT_MARGIN`). Clients round them either way, so the tolerance is larger.
        """
        if not variant.takes_pixels:
            return variant
        return dataclasses.replace(variant, takes_pixels=False, client_tolerance=0.03)

    def input_note(self, variants: Iterable[Variant]) -> str:
        """Return the remark that every file takes float32."""
        return "Files of every variant take float32, as Google's LiteRT sample of image classification expects."


DEFAULT, LITERT_SAMPLE = Target(), LiteRTSample()
