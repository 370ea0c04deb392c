"""Run a .tflite image classifier in LiteRT, as a phone does."""

import json
import os
import statistics
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.preprocessing import DEFAULT, Preprocessing
from keras_inception.runs import LABELS, PREPROCESSING
from keras_inception.tflite import metadata
from keras_inception.utils.quiet import silenced

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter


class TFLiteClassifier:
    """A .tflite image classifier, exported by this package or by anyone else.

    Class names and preprocessing are those that `export` packed into the file. For other files, they come from
    labels.txt and the TFLite metadata. Without these, classes are numbered and the normalization is
    (x - 127.5) / 127.5.

    Args:
        path: the .tflite file.
        threads: threads of the interpreter.
        **options: further arguments of LiteRT's `Interpreter`.

    Attributes:
        path: the .tflite file.
        classes: number of classes.
        labels: names of the classes.
        size: (height, width) of the input.
        preprocessing: turns an image into the input. A uint8 input takes raw pixels, so only the resizing and cropping
            apply to it.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not a runnable TFLite model; does not have exactly one float32 or uint8 input
            (1, height, width, 3) and one output (1, classes); does not have one label for each class; or its metadata
            or archive is damaged.
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1, **options):
        self.path = Path(path)
        self._interpreter = interpreter(self.path, threads, **options)
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            received = f"{len(inputs)} and {len(outputs)}"
            raise ValueError(f"{self.path} must have one input and one output. Received: {received}")
        self._input, self._output = inputs[0], outputs[0]
        shape, kind = self._input["shape"].tolist(), self._input["dtype"].__name__
        if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or kind not in ("float32", "uint8"):
            raise ValueError(f"{self.path} must take float32 or uint8 [1, height, width, 3]. Received: {kind} {shape}")
        self.size: tuple[int, int] = (shape[1], shape[2])
        shape = self._output["shape"].tolist()
        if len(shape) != 2 or shape[0] != 1:
            raise ValueError(f"{self.path} must give [1, classes]. Received: {shape}")
        self.classes: int = shape[1]
        labels = metadata.unpack(self.path, LABELS)
        self.labels = numbered(self.classes) if labels is None else tuple(labels.removesuffix("\n").split("\n"))
        if len(self.labels) != self.classes:
            raise ValueError(f"{self.path} must hold {self.classes} labels. Received: {len(self.labels)}")
        packed = metadata.unpack(self.path, PREPROCESSING)
        preprocessing = _described(self.path) if packed is None else Preprocessing.from_json(packed)
        self.preprocessing = preprocessing.replace(size=self.size)

    @property
    def quantization(self) -> tuple[float, int]:
        """Return (scale, zero point) of the input, or (0.0, 0) if it is float32."""
        return self._input["quantization"]

    @property
    def takes_bytes(self) -> bool:
        """Return True if the input is uint8."""
        return self._input["dtype"] == np.uint8

    def described(self) -> dict:
        """Return the properties that other runtimes need to run the file, as JSON-compatible values.

        Returns:
            ``shape`` and ``dtype`` of the input; ``output`` with ``scale`` and ``zeroPoint``, both 0 if it is float32;
            and ``preprocessing``, whose normalization applies to a float32 input.
        """
        scale, zero_point = self._output["quantization"]
        return {
            "shape": self._input["shape"].tolist(),
            "dtype": self._input["dtype"].__name__,
            "output": {"scale": float(scale), "zeroPoint": int(zero_point)},
            "preprocessing": json.loads(self.preprocessing.to_json()),
        }

    def predict(self, images: np.ndarray, on_image: Callable[[int], None] | None = None) -> np.ndarray:
        """Classify RGB images that `preprocessing.fit` has resized and cropped.

        Args:
            images: shape (n, height, width, 3) of the input's `size`, integers or floats from 0 to 255.
            on_image: called with the number of images done, for a progress bar.

        Returns:
            Probabilities, float32 (n, classes).

        Raises:
            ValueError: the images have another size, or values outside of 0 to 255.
        """
        images = np.asarray(images)
        if images.shape[1:] != (*self.size, 3):
            allowed = "(n, {}, {}, 3)".format(*self.size)
            raise ValueError(f"`images` must be {allowed}. Received: {images.shape}")
        if images.size and not 0 <= images.min() <= images.max() <= 255:
            received = f"{images.min():g} to {images.max():g}"
            raise ValueError(f"`images` must be pixels from 0 to 255, not normalized. Received: {received}")
        probabilities = np.empty((len(images), self.classes), np.float32)
        for done, (row, image) in enumerate(zip(probabilities, images, strict=True), start=1):
            self._interpreter.set_tensor(self._input["index"], self.as_input(image[None]))
            self._interpreter.invoke()
            row[:] = self.dequantized(self._interpreter.get_tensor(self._output["index"])[0])
            if on_image:
                on_image(done)
        return probabilities

    def latency_ms(self, runs: int = 30) -> float:
        """Return the median time of one inference in milliseconds, after a few warm-up runs."""
        noise = np.random.default_rng(0).integers(0, 256, (1, *self.size, 3), dtype=np.uint8)
        self._interpreter.set_tensor(self._input["index"], self.as_input(noise))
        times = timeit.repeat(self._interpreter.invoke, number=1, repeat=5 + runs)
        return 1000 * statistics.median(times[5:])

    def as_input(self, images: np.ndarray) -> np.ndarray:
        """Convert images, as `predict` takes them, to the type and range of the input, (n, height, width, 3)."""
        if self.takes_bytes:
            return np.rint(images).astype(np.uint8)
        return self.preprocessing.normalize(images.astype(np.float32))

    @property
    def output_type(self) -> type:
        """Return the NumPy type of the output tensor."""
        return self._output["dtype"]

    def dequantized(self, output: np.ndarray) -> np.ndarray:
        """Convert values of the output tensor to float32 probabilities."""
        scale, zero_point = self._output["quantization"]
        if output.dtype == np.float32:
            return output
        return (output.astype(np.float32) - zero_point) * scale


def interpreter(model: str | os.PathLike | bytes, threads: int = 1, **options) -> "Interpreter":
    """Open a .tflite file in LiteRT's interpreter, ready to run.

    Args:
        model: the file, or its content.
        threads: threads of the interpreter.
        **options: further arguments of LiteRT's `Interpreter`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is not a TFLite model that LiteRT can run.
    """
    from ai_edge_litert.interpreter import Interpreter

    source: dict[str, bytes | str]
    if isinstance(model, bytes):
        name, source = "`model`", {"model_content": model}
    elif Path(model).is_file():
        name, source = str(model), {"model_path": str(model)}
    else:
        raise FileNotFoundError(f"there is no .tflite file at {model}")
    try:
        with silenced():  # LiteRT logs which delegate it uses
            opened = Interpreter(**source, num_threads=threads, **options)
            opened.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{name} is not a TFLite model that can be run: {error}") from None
    return opened


def numbered(classes: int) -> tuple[str, ...]:
    """Return numbered names for classes that have none, such as ("class 0", "class 1")."""
    return tuple(f"class {index}" for index in range(classes))


def _described(path: Path) -> Preprocessing:
    """Return the default preprocessing, with the normalization of the file's TFLite metadata if it has one."""
    normalization = metadata.normalization_of(metadata.read(path) or {})
    if not normalization:
        return DEFAULT
    mean, std = normalization
    try:
        return DEFAULT.replace(mean=mean, std=std)
    except ValueError as error:
        raise ValueError(f"{path} has unusable metadata: {error}") from None
