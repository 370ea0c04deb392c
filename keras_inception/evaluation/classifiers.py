"""A common interface for classifiers: a run directory, an exported file or a model of one's own."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from keras_inception import model_files
from keras_inception.preprocessing import NAMED, Preprocessing
from keras_inception.runs import RECIPE, Run, is_run, load, run_of
from keras_inception.tflite import exported
from keras_inception.utils import files

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)
NETWORKS = (".tflite", ".keras", ".h5")  # endings of files that can be meant by their folder
SOME = 3  # of them are named


class Classifier(Protocol):
    """The interface that `open_classifier` returns.

    Attributes:
        labels: names of the classes.
        preprocessing: turns an image into the network's input.
    """

    labels: tuple[str, ...]
    preprocessing: Preprocessing

    def predict(self, pictures: np.ndarray, /) -> np.ndarray:
        """Return probabilities, (n, classes), for RGB images, (n, height, width, 3), from `preprocessing.fit`."""


Labels = str | os.PathLike | Sequence[str]
Source = str | os.PathLike | Run | Classifier


class KerasClassifier:
    """A Keras model with class names and preprocessing, as a `Classifier`. The model is used as it is.

    Args:
        model: a functional classifier (`keras_inception.models.scores.ending`).
        labels: names of the classes.
        preprocessing: turns an image into the model's input.
        output_name: name of the output to use if there are several (`keras_inception.models.inference.without_heads`).

    Attributes:
        ending: what the output of the model means.
        has_labels: whether `labels` are names, and not missing or numbers.

    Raises:
        ValueError: the model is not a classifier of images of this preprocessing.
    """

    def __init__(
        self,
        model: "keras.Model",
        labels: tuple[str, ...],
        preprocessing: Preprocessing,
        output_name: str | None = None,
    ):
        from keras_inception.evaluation.metrics import keras_predictor
        from keras_inception.models.inference import without_heads
        from keras_inception.models.scores import ending

        self.labels = labels
        self.has_labels = bool(labels)
        self.preprocessing = preprocessing
        self.network = without_heads(model, output_name)
        check_input(self.network, preprocessing)
        probes = np.random.default_rng(0).integers(0, 256, (8, *preprocessing.size, 3))
        probes[4:] = np.array([(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255)])[:, None, None]
        self.ending = ending(self.network, self._inputs(probes))
        self._predict = keras_predictor(self.network)

    def predict(self, pictures: np.ndarray) -> np.ndarray:
        """Return scores, (n, classes), for RGB images, (n, height, width, 3), from `preprocessing.fit`."""
        return self.ending.scores(self._predict(self._inputs(pictures)))

    @property
    def classes(self) -> int:
        """The number of classes, each of which has a score."""
        return 2 if self.ending.kind == "binary" else self.network.outputs[0].shape[-1]

    def __str__(self) -> str:
        return self.network.name

    def _inputs(self, pictures: np.ndarray) -> np.ndarray:
        """Return a batch of the network's inputs for RGB images."""
        x = self.preprocessing.normalize(np.asarray(pictures, np.float32))
        dtype = self.network.inputs[0].dtype
        return np.rint(x).astype(dtype) if "int" in dtype else x


def check_input(model: "keras.Model", preprocessing: Preprocessing) -> None:
    """Raise ValueError unless a model takes images of this preprocessing."""
    wanted = (None, *preprocessing.size, preprocessing.mixing.shape[1])
    shapes = [tuple(x.shape) for x in model.inputs]
    fits = len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][0] in (None, 1)
    if not fits or any(got not in (None, want) for got, want in zip(shapes[0][1:], wanted[1:], strict=True)):
        expected = "(batch, {}, {}, {}) with a batch of any size or of 1".format(*wanted[1:])
        raise ValueError(f"`model` must take images, {expected}. Received: a model that takes {shapes}")


def located(source: Source) -> Run | Path | Classifier:
    """Return the run, file or SavedModel at a path, and a `Run` or `Classifier` as it is. Nothing heavy is loaded.

    The ``model.keras`` of a run stands for the run, and a folder that `export` wrote for its smallest file.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: the path is a directory but not a run directory, the run has no finished epoch, or `source` is of
            another kind.
    """
    if isinstance(source, (str, os.PathLike)):
        source = Path(source)
        if not source.exists():
            raise FileNotFoundError(f"there is no run directory, .tflite file or model at {source}")
        if exported.is_export(source) and not (source / RECIPE).exists():
            source = exported.smallest(source)
        source = run_of(source) or source
        if is_run(source):
            source = _run(Path(source))
        else:
            model_files.check_runnable(source)
    if isinstance(source, Run):
        source.check_trained()
    elif not isinstance(source, Path) and not all(hasattr(source, part) for part in ("predict", "labels")):
        wrapped = "; a Keras model becomes one as KerasClassifier(model, class_names, preprocessing)"
        raise ValueError(
            "the network must be a run directory, a .tflite file, a model file or a Classifier"
            f"{wrapped * hasattr(source, 'layers')}. Received: {type(source).__name__}"
        )
    return source


def _run(folder: Path) -> Run:
    """Return the run in a folder. If there is none, the error names what could be meant in it."""
    try:
        return Run(folder)
    except ValueError as error:
        inside = [each for each in sorted(folder.iterdir()) if each.suffix in NETWORKS or (each / RECIPE).is_file()]
        if not inside:
            raise
        some = ", ".join(map(str, inside[:SOME])) + ", …" * (len(inside) > SOME)
        raise ValueError(f"{error}; what is in it can be given: {some}") from None


def open_classifier(
    source: Source,
    preprocessing: str | os.PathLike | Preprocessing | None = None,
    labels: Labels | None = None,
    custom_objects: str | os.PathLike | None = None,
) -> Classifier:
    """Open the classifier of a run, of a ``.tflite`` file or of a model file.

    Args:
        source: a run directory, a `Run`, a ``.tflite`` file, a folder that `export` wrote, or a model file
            (`keras_inception.load`). A `Classifier` is returned as it is.
        preprocessing: preprocessing of a file: a `Preprocessing`, the name of one, or its JSON file. It takes
            precedence over the metadata of a ``.tflite`` file, and is required for a model file.
        labels: class names of a file, or a text file with one per line. They take precedence, too.
        custom_objects: as for `keras_inception.load`, for a run or a model file.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: the path is neither a run directory nor a classifier; or `preprocessing` or `labels` is invalid,
            missing, or given for anything but a file.
    """
    found = located(source)
    described = _description(found, preprocessing, labels)
    if isinstance(found, Path) and found != Path(name_of(source)):
        log.warning("%s: taking %s, the smallest file of this export", source, found)
    if isinstance(found, Run):
        return KerasClassifier(found.model(custom_objects), found.labels, found.preprocessing)
    if isinstance(found, Path):
        if model_files.is_model_file(found):
            return _open_model(found, *described, custom_objects)
        from keras_inception.tflite.classifier import TFLiteClassifier

        return TFLiteClassifier(found, preprocessing=described[0], labels=described[1])
    return found


def needs_keras(source: Source) -> bool:
    """Return True for a run or a model file, which Keras runs, and False for a .tflite file."""
    found = located(source)
    return isinstance(found, Run) or (isinstance(found, Path) and model_files.is_model_file(found))


def _open_model(
    path: Path,
    preprocessing: Preprocessing | None,
    labels: tuple[str, ...] | None,
    custom_objects: str | os.PathLike | None,
) -> KerasClassifier:
    """Open a model file, whose input gives the size and the channels of the images."""
    from keras_inception.tflite.classifier import numbered

    assert preprocessing is not None  # checked by `_description`
    model = load(path, custom_objects)
    _, height, width, channels = (*model.inputs[0].shape, None, None, None, None)[:4]
    if height and width:
        preprocessing = preprocessing.replace(size=(height, width))
    preprocessing = preprocessing.with_channels(channels)
    opened = KerasClassifier(model, labels or (), preprocessing)
    if labels is None:
        opened.labels = numbered(opened.classes)
    elif len(labels) != opened.classes:
        received = f"{len(labels)}: {', '.join(labels):.200}"
        raise ValueError(f"`labels` must be {opened.classes}, one for each class of {path}. Received: {received}")
    return opened


def check_description(
    source: Source, preprocessing: str | os.PathLike | Preprocessing | None, labels: Labels | None
) -> None:
    """Raise the errors of `open_classifier` that can be found without loading a network."""
    _description(located(source), preprocessing, labels)


def _description(
    found: Run | Path | Classifier, preprocessing: str | os.PathLike | Preprocessing | None, labels: Labels | None
) -> tuple[Preprocessing | None, tuple[str, ...] | None]:
    """Return the given preprocessing and class names of a file."""
    for argument, value in {"preprocessing": preprocessing, "labels": labels}.items():
        if value is not None and not isinstance(found, Path):
            raise ValueError(f"`{argument}` is only for a file. Received: {name_of(found)}, which has its own")
    if preprocessing is None and isinstance(found, Path) and model_files.is_model_file(found):
        model_files.check_source(found)
        raise ValueError(
            f"`preprocessing` (--preprocessing) must say what {found} expects: raw if it normalizes pixels itself, "
            f"another of {', '.join(NAMED)}, or a JSON file. Received: none"
        )
    if isinstance(preprocessing, (str, os.PathLike)):
        preprocessing = Preprocessing.named(str(preprocessing))
    return preprocessing, None if labels is None else files.given_labels(labels)


def name_of(source: Source) -> str:
    """Return the path of a run or a file, or the name of another classifier."""
    return str(getattr(source, "path", source))
