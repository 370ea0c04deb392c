"""A .tflite image classifier, run by LiteRT as a phone runs it."""

import json
import os
import statistics
import time
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
    """A .tflite file that classifies pictures, ours or anybody's.

    Labels and preprocessing are those that `export` packed into the file. A stranger's file has its labels.txt and
    its normalisation from TFLite metadata, if there is some; else its classes are numbered and its normalisation is
    (x - 127.5) / 127.5.

    Args:
        path: the file.
        threads: threads of the interpreter.

    Attributes:
        path: the file.
        classes: number of classes.
        labels: their names.
        preprocessing: from a picture to the input. A uint8 input takes the pixels as they are: of this only how a
            picture is fitted matters to it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a TFLite model that can be run, not one float32 or uint8 input (1, height, width, 3) and one
            output (1, classes), or another number of labels than of classes; or its metadata or its archive is damaged.
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1):
        self.path = Path(path)
        self._interpreter = interpreter(self.path, threads)
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            received = f"{len(inputs)} and {len(outputs)}"
            raise ValueError(f"{self.path} must have one input and one output. Received: {received}")
        self._input, self._output = inputs[0], outputs[0]
        shape, kind = self._input["shape"].tolist(), self._input["dtype"].__name__
        if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or kind not in ("float32", "uint8"):
            allowed = "float32 or uint8 [1, height, width, 3]"
            raise ValueError(f"{self.path} must take {allowed}. Received: {kind} {shape}")
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
        """(scale, zero point) of the input; (0.0, 0) if it is float32."""
        return self._input["quantization"]

    @property
    def takes_bytes(self) -> bool:
        """Whether the input is uint8."""
        return self._input["dtype"] == np.uint8

    def described(self) -> dict:
        """What one needs to run the file elsewhere, as JSON takes it.

        ``shape`` and ``dtype`` of the input; of the output, ``scale`` and ``zeroPoint``, 0 if it is float32; and
        ``preprocessing``, whose normalisation is for a float32 input.
        """
        scale, zero_point = self._output["quantization"]
        return {
            "shape": self._input["shape"].tolist(),
            "dtype": self._input["dtype"].__name__,
            "output": {"scale": float(scale), "zeroPoint": int(zero_point)},
            "preprocessing": json.loads(self.preprocessing.to_json()),
        }

    def predict(self, pictures: np.ndarray, on_picture: Callable[[int], None] | None = None) -> np.ndarray:
        """Probabilities, float32 (n, classes), of RGB pictures that `preprocessing.fit` has made.

        Args:
            pictures: (n, height, width, 3) of the network's `size`, 0 to 255, whole numbers or not.
            on_picture: called with the number of pictures done, for a progress bar.

        Raises:
            ValueError: pictures of another size or range.
        """
        pictures = np.asarray(pictures)
        if pictures.shape[1:] != (*self.size, 3):
            allowed = "(n, {}, {}, 3)".format(*self.size)
            raise ValueError(f"`pictures` must be {allowed}. Received: {pictures.shape}")
        if pictures.size and not 0 <= pictures.min() <= pictures.max() <= 255:
            received = f"{pictures.min():g} to {pictures.max():g}"
            raise ValueError(f"`pictures` must be pixels from 0 to 255, not normalised. Received: {received}")
        probabilities = np.empty((len(pictures), self.classes), np.float32)
        for done, (row, picture) in enumerate(zip(probabilities, pictures, strict=True), start=1):
            self._interpreter.set_tensor(self._input["index"], self.as_input(picture[None]))
            self._interpreter.invoke()
            row[:] = self.dequantized(self._interpreter.get_tensor(self._output["index"])[0])
            if on_picture:
                on_picture(done)
        return probabilities

    def latency_ms(self, runs: int = 30) -> float:
        """Median time of one inference in milliseconds, after a few to warm up."""
        noise = np.random.default_rng(0).integers(0, 256, (1, *self.size, 3), dtype=np.uint8)
        self._interpreter.set_tensor(self._input["index"], self.as_input(noise))
        times = []
        for _ in range(5 + runs):
            start = time.perf_counter()
            self._interpreter.invoke()
            times.append(time.perf_counter() - start)
        return 1000 * statistics.median(times[5:])

    def as_input(self, pictures: np.ndarray) -> np.ndarray:
        """What the input tensor is fed for pictures as of `predict`: of its type, (n, height, width, 3)."""
        if self.takes_bytes:
            return np.rint(pictures).astype(np.uint8)
        return self.preprocessing.normalize(pictures.astype(np.float32))

    @property
    def output_type(self) -> type:
        """NumPy's type of the output tensor."""
        return self._output["dtype"]

    def dequantized(self, output: np.ndarray) -> np.ndarray:
        """Probabilities, float32, from values of the output tensor."""
        scale, zero_point = self._output["quantization"]
        if output.dtype == np.float32:
            return output
        return (output.astype(np.float32) - zero_point) * scale


def interpreter(path: str | os.PathLike, threads: int = 1) -> "Interpreter":
    """LiteRT's interpreter of a .tflite file, ready to run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a TFLite model that can be run.
    """
    from ai_edge_litert.interpreter import Interpreter

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no .tflite file at {path}")
    try:
        with silenced():  # LiteRT tells of its delegate
            opened = Interpreter(str(path), num_threads=threads)
            opened.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is not a TFLite model that can be run: {error}") from None
    return opened


def numbered(classes: int) -> tuple[str, ...]:
    """Labels for classes that have no names."""
    return tuple(f"class {index}" for index in range(classes))


def _described(path: Path) -> Preprocessing:
    """The normalisation in a file's TFLite metadata, or the default."""
    normalization = metadata.normalization_of(metadata.read(path) or {})
    if not normalization:
        return DEFAULT
    mean, std = normalization
    try:
        return DEFAULT.replace(mean=mean, std=std)
    except ValueError as error:
        raise ValueError(f"{path} has metadata that cannot be followed: {error}") from None
