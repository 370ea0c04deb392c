"""Run a .tflite image classifier in LiteRT, as a phone does."""

import json
import math
import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.preprocessing import DEFAULT, GRAY, NAMED, Preprocessing
from keras_inception.runs import LABELS, PREPROCESSING
from keras_inception.tflite import metadata
from keras_inception.tflite.isolation import IsolatedSession, check_file
from keras_inception.tflite.logits import ends_in_logits
from keras_inception.tflite.session import Session
from keras_inception.utils.quiet import silenced

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

KINDS = ("float32", "float16", "uint8", "int8")  # of input and output
# Far more than any classifier has. A file that declares more would fill the memory.
MAX_SIDE, MAX_CLASSES = 2**13, 2**20
TOLERANCE = 0.02  # by which a probability may be outside of 0 to 1, a few quantization steps
CHUNK = 8  # images that are handed over at a time


class TFLiteClassifier:
    """A .tflite image classifier, exported by this package or by anyone else.

    Class names and preprocessing are those that `export` packed into the file. For other files, they come from the
    TFLite metadata and the files packed with it (`metadata.labels_of`); `labels` and `preprocessing` take precedence.
    Without labels, classes are numbered.

    A uint8 input takes raw pixels, as in all clients, unless `preprocessing` is given. Any other input is normalized,
    and an int8 input then quantized by the tensor's scale and zero point. If another's file ends in a convolution or
    dense layer, its outputs are logits, and their softmax is returned. For an input of one channel, RGB images are
    made gray. A dynamic batch dimension is accepted.

    Args:
        path: the .tflite file.
        threads: threads of the interpreter.
        preprocessing: preprocessing that the network expects, at any size. If it does not normalize, a uint8 input
            takes raw pixels and an int8 input raw pixels minus 128.
        labels: names of the classes.
        isolated: run the file in a child process (`isolation`), so that a file that crashes LiteRT does not end this
            process. Files that were just made here need not be isolated.
        **options: further arguments of LiteRT's `Interpreter`, which then runs in this process.

    Attributes:
        path: the .tflite file.
        classes: number of classes. A file with one sigmoid score p and two labels has two, scored 1 - p and p.
        labels: names of the classes.
        has_labels: whether these are the file's or the given names, and not numbers.
        size: (height, width) of the input.
        preprocessing: turns an image into the input.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not a runnable TFLite model, or crashes LiteRT; does not have exactly one float or 8-bit
            input (1, height, width, 3 or 1) and one output (1, classes); does not have one label for each class; does
            not say how its input is normalized, and `preprocessing` is not given; its input cannot hold pixels that are
            normalized so; or its metadata or archive is damaged.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        threads: int = 1,
        *,
        preprocessing: Preprocessing | None = None,
        labels: Sequence[str] | None = None,
        isolated: bool = True,
        **options,
    ):
        self.path = Path(path)
        self._session = (
            IsolatedSession(self.path, threads)
            if isolated and not options
            else Session(interpreter(self.path, threads, **options))
        )
        inputs, outputs = self._session.inputs, self._session.outputs
        if len(inputs) != 1 or len(outputs) != 1:
            received = f"{len(inputs)} and {len(outputs)}"
            raise ValueError(f"{self.path} must have one input and one output. Received: {received}")
        self._input, self._output = inputs[0], outputs[0]
        self.size: tuple[int, int] = self._checked_size()
        packed = metadata.unpack(self.path, PREPROCESSING)
        operations = self._session.operations() if packed is None else ()
        self._logits = ends_in_logits(operations, self._output["index"])
        self._check_quantization()
        found = metadata.labels_of(self.path, LABELS, self._counts()) if labels is None else tuple(labels)
        self.classes: int = self._checked_classes(found)
        self.has_labels = found is not None
        self.labels = numbered(self.classes) if found is None else found
        if len(self.labels) != self.classes:
            raise ValueError(f"{self.path} must hold {self.classes} labels. Received: {len(self.labels)}")
        expected = self._expected(packed) if preprocessing is None else preprocessing
        plain = expected == expected.without_normalization()
        self.preprocessing = expected.replace(size=self.size).with_channels(self._input["shape"][3])
        by_default = preprocessing is None and self.input_type is np.uint8
        self._takes_pixels = self.takes_bytes and (plain or by_default)
        self._check_range()

    def _checked_size(self) -> tuple[int, int]:
        """Return (height, width) of the input; raise ValueError if it does not take one image of a fixed size."""
        shape, signature, kind = (self._input[key] for key in ("shape", "signature", "kind"))
        if len(shape) != 4 or shape[0] != 1 or shape[3] not in (1, 3) or -1 in signature[1:] or kind not in KINDS:
            allowed = f"{', '.join(KINDS[:-1])} or {KINDS[-1]} [1, height, width, 3 or 1]"
            raise ValueError(f"{self.path} must take {allowed}. Received: {kind} {signature or shape}")
        if max(shape) > MAX_SIDE:
            raise ValueError(f"{self.path} must take images of at most {MAX_SIDE} pixels a side. Received: {shape}")
        return shape[1], shape[2]

    def _check_quantization(self) -> None:
        """Raise ValueError if an 8-bit tensor whose values are to be converted has no usable scale."""
        for name, tensor in {"input": self._input, "output": self._output}.items():
            scale = tensor["scale"]
            if "int" in tensor["kind"] and not (math.isfinite(scale) and scale >= 0):
                raise ValueError(f"{self.path} must have an {name} with a positive scale. Received: {scale}")

    def _counts(self) -> tuple[int, ...]:
        """Return how many labels the output can have."""
        scores = self._output["shape"][-1:]
        return (1, 2) if scores == [1] else tuple(scores)

    def _checked_classes(self, labels: Sequence[str] | None) -> int:
        """Return the number of classes; raise ValueError if the output is not one score for each class."""
        shape, kind = self._output["shape"], self._output["kind"]
        if len(shape) < 2 or {*shape[:-1]} != {1} or kind not in KINDS:
            raise ValueError(f"{self.path} must give [1, classes]. Received: {kind} {shape}")
        if shape[-1] > MAX_CLASSES:
            raise ValueError(f"{self.path} must give at most {MAX_CLASSES} classes. Received: {kind} {shape}")
        if shape[-1] > 1:
            return shape[-1]
        if self._logits or labels is None or len(labels) != 2:
            score = "logit" if self._logits else "score"
            received = f"one {score} and {'no labels' if labels is None else f'{len(labels)} labels'}"
            raise ValueError(
                f"{self.path} must give [1, classes] of two classes or more, or one sigmoid score, that of the second "
                f"of two labels. Received: {received}"
            )
        return 2

    def _expected(self, packed: str | None) -> Preprocessing:
        """Return the preprocessing that the file describes; raise ValueError if it describes none."""
        if packed is not None:
            try:
                return Preprocessing.from_json(packed)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{self.path} has an unusable {PREPROCESSING}: {_short(error)}") from None
        described = _described(self.path)
        if described is None and self.input_type is not np.uint8:
            raise ValueError(
                f"{self.path} does not say how its input is normalized: give `preprocessing` (--preprocessing), one of "
                f"{', '.join(NAMED)}, or a JSON file"
            )
        return described or DEFAULT

    def _check_range(self) -> None:
        """Raise ValueError if normalized pixels do not fit the range of an 8-bit input."""
        if self._takes_pixels or not self.takes_bytes:
            return
        scale, zero_point = self.quantization
        ends = np.array([[[[0.0] * 3, [255.0] * 3]]], np.float32)
        low, high = ((limit - zero_point) * scale for limit in self._limits)
        with np.errstate(all="ignore"):
            black, white = self.preprocessing.normalize(ends)[0, 0]
            inside = np.clip(white, low, high) - np.clip(black, low, high)
            fits = (inside >= 0.6 * (white - black)).all() and (inside >= 0.4 * (high - low)).all()  # NaN does not
        if not scale or not fits:
            received = f"{black.min():.4g} to {white.max():.4g} by `preprocessing`"
            raise ValueError(
                f"{self.path} takes {self.input_type.__name__} for values from {low:.4g} to {high:.4g}, and "
                f"pixels must be normalized to about this range. Received: {received}"
            )

    @property
    def quantization(self) -> tuple[float, int]:
        """Return (scale, zero point) of the input, or (0.0, 0) if it is a float."""
        return self._input["scale"], self._input["zero_point"]

    @property
    def takes_bytes(self) -> bool:
        """Return True if the input is uint8 or int8."""
        return self.input_type in (np.uint8, np.int8)

    @property
    def _limits(self) -> tuple[int, int]:
        """The lowest and the highest value of an 8-bit input."""
        limits: np.iinfo = np.iinfo(self.input_type)
        return int(limits.min), int(limits.max)

    def described(self) -> dict:
        """Return the properties that other runtimes need to run the file, as JSON-compatible values.

        Returns:
            ``shape`` and ``dtype`` of the input; ``output`` with ``scale`` and ``zeroPoint``, both 0 if it is float32;
            and ``preprocessing``, whose normalization applies to a float32 input.
        """
        return {
            "shape": self._input["shape"],
            "dtype": self._input["kind"],
            "output": {"scale": self._output["scale"], "zeroPoint": self._output["zero_point"]},
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
            ValueError: the images have another size, or values outside of 0 to 255; or the file gives scores that are
                not probabilities.
        """
        images = np.asarray(images)
        if images.shape[1:] != (*self.size, 3):
            allowed = "(n, {}, {}, 3)".format(*self.size)
            raise ValueError(f"`images` must be {allowed}. Received: {images.shape}")
        if images.size and not 0 <= images.min() <= images.max() <= 255:
            received = f"{images.min():g} to {images.max():g}"
            raise ValueError(f"`images` must be pixels from 0 to 255, not normalized. Received: {received}")
        probabilities = np.empty((len(images), self.classes), np.float32)
        for start in range(0, len(images), CHUNK):
            values = [self.as_input(image[None]) for image in images[start : start + CHUNK]]
            for done, output in enumerate(self._session.run(np.concatenate(values)), start=start):
                probabilities[done] = self.probabilities(output)
                self._check_scores(probabilities[done])
                if on_image:
                    on_image(done + 1)
        return probabilities

    def _check_scores(self, scores: np.ndarray) -> None:
        """Raise ValueError unless scores are probabilities, which logits, for example, are not."""
        if not np.isfinite(scores).all():
            raise ValueError(f"{self.path} gives NaN or infinity in place of probabilities")
        if scores.min() < -TOLERANCE or scores.max() > 1 + TOLERANCE:
            received = f"{scores.min():.4g} to {scores.max():.4g}"
            raise ValueError(
                f"{self.path} must give probabilities from 0 to 1: add a softmax to its network if these are logits. "
                f"Received: scores from {received}"
            )

    def latency_ms(self, runs: int = 30) -> float:
        """Return the median time of one inference in milliseconds, after a few warm-up runs."""
        return statistics.median(self._session.time(5 + runs)[5:])

    def as_input(self, images: np.ndarray) -> np.ndarray:
        """Convert images, as `predict` takes them, to the type, range and channels of the input, (n, h, w, 3 or 1)."""
        if self._takes_pixels:
            if self.preprocessing.channels == GRAY:
                images = images.astype(np.float32) @ self.preprocessing.mixing
            return raw_pixels(np.rint(images).astype(np.uint8), self.input_type)
        with np.errstate(all="ignore"):  # numbers of a damaged file; `predict` refuses what comes of them
            values = self.preprocessing.normalize(images.astype(np.float32))
            if not self.takes_bytes:
                return values.astype(self.input_type)
            scale, zero_point = self.quantization
            return np.clip(np.rint(values / scale) + zero_point, *self._limits).astype(self.input_type)

    @property
    def input_type(self) -> type:
        """Return the NumPy type of the input tensor."""
        return np.dtype(self._input["kind"]).type

    @property
    def output_type(self) -> type:
        """Return the NumPy type of the output tensor."""
        return np.dtype(self._output["kind"]).type

    def probabilities(self, output: np.ndarray) -> np.ndarray:
        """Convert values of the output tensor, (..., scores), to float32 probabilities, (..., classes)."""
        scale, zero_point = self._output["scale"], self._output["zero_point"]
        scores = output.astype(np.float32)
        with np.errstate(all="ignore"):  # a damaged file's scores; `predict` refuses them
            if output.dtype.kind != "f":
                scores = (scores - np.float32(zero_point)) * np.float32(scale)
            if self._logits:
                powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
                return powers / powers.sum(axis=-1, keepdims=True)
        return np.concatenate([1 - scores, scores], axis=-1) if scores.shape[-1] == 1 else scores


def raw_pixels(images: np.ndarray, kind: type) -> np.ndarray:
    """Return uint8 images as an 8-bit input that takes raw pixels: as they are for uint8, minus 128 for int8."""
    return images if kind is np.uint8 else (images ^ 0x80).view(np.int8)


def interpreter(model: str | os.PathLike | bytes, threads: int = 1, **options) -> "Interpreter":
    """Open a .tflite file in LiteRT's interpreter, ready to run. A harmful file may end this process.

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
    else:
        check_file(model)
        name, source = str(model), {"model_path": str(model)}
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


def _described(path: Path) -> Preprocessing | None:
    """Return the default preprocessing with the normalization of the file's TFLite metadata, or None without one."""
    normalization = metadata.normalization_of(metadata.read(path) or {})
    if not normalization:
        return None
    mean, std = normalization
    try:
        return DEFAULT.replace(mean=mean, std=std)
    except ValueError as error:
        raise ValueError(f"{path} has unusable metadata: {_short(error)}") from None


def _short(error: Exception) -> str:
    """Return an error as a line of limited length, since it may quote what a file holds."""
    return f"{' '.join(str(error).split()):.300}"
