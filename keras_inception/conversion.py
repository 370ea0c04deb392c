"""Other people's files of weights to ``.keras`` and ``.safetensors``."""

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from safetensors.numpy import save_file

from keras_inception import registry, runs
from keras_inception.models.inference import inference_model
from keras_inception.preprocessing import Preprocessing
from keras_inception.utils import files
from keras_inception.weights import published
from keras_inception.weights.checkpoint import OWN_NAME, Checkpoint, checkpoint_of, read_weights
from keras_inception.weights.layouts import Record, description_of, record_of
from keras_inception.weights.publishers import PUBLISHERS, listed
from keras_inception.weights.readers import read_tensors
from keras_inception.weights.readers.keras import lacks_layer_names
from keras_inception.weights.targets import check_conversion

CLASSIFIER_BIASES = ("predictions/bias", "predictions_conv/bias")
BACKGROUND_CLASSES = 1001  # ImageNet's and TF-slim's background


class Converted(NamedTuple):
    """What came of a conversion.

    Attributes:
        path: of the new file.
        network, publisher: whose weights they are: keys of `names.PUBLISHERS`.
        classes: number of classes; None without a classifier.
        tensors: number of arrays of weights.
        preprocessing: what the network takes, by its run, its record or its publisher; a network of our own layout
            does not tell.
    """

    path: Path
    network: str
    publisher: str
    classes: int | None
    tensors: int
    preprocessing: Preprocessing


def convert(
    source: str | os.PathLike, target: str | os.PathLike, *, model: str | None = None, overwrite: bool = False
) -> Converted:
    """Write weights as a ``.keras`` or a ``.safetensors`` file, float32.

    A ``.keras`` file is a network in its publisher's layout, without auxiliary heads; open it by
    `keras_inception.load`. A ``.safetensors`` has all tensors as they are, by the names of the source, and says which
    layout they are of, so that a network's ``weights=`` builds it again.

    Args:
        source: a file of any kind that `keras_inception.weights.read_tensors` knows, a run directory, or
            ``"imagenet"`` or ``"imagenet:PUBLISHER"``.
        target: of the new file, which ends in ``.keras`` or ``.safetensors``.
        model: name of the network, if the tensors' names do not tell.
        overwrite: replace a file at `target`.

    Raises:
        ValueError: another ending; the source is not understood, or is not a network that can be built; or nothing
            tells which network it is.
        FileExistsError: there is a file at `target`.
        OSError: a file cannot be read or written.
    """
    check_conversion(source, target, overwrite=overwrite)
    target = Path(target)
    checkpoint, preprocessing = _checkpoint(source, model)
    with files.replacing(target) as beside:
        if target.suffix == ".keras":
            _network(checkpoint).save(beside)
        else:
            checkpoint = _in_its_layout(checkpoint)
            preprocessing = preprocessing or checkpoint.preprocessing
            tensors = {name: np.ascontiguousarray(tensor) for name, tensor in checkpoint.tensors.items()}
            record = Record(checkpoint.family, checkpoint.publisher, preprocessing)
            save_file(tensors, beside, metadata=record.metadata())
    return Converted(
        target,
        checkpoint.family,
        checkpoint.publisher,
        _classes(checkpoint),
        len(checkpoint.tensors),
        preprocessing or checkpoint.preprocessing,
    )


def network_of(names: Iterable[str]) -> str:
    """The network whose publishers name most of these tensors so; of several, that of which the fewest are missing.

    Raises:
        ValueError: nobody names most of them so, or several networks have the same names.
    """
    names = list(names)
    fits = {network: max(_fits(names, network), default=(0, 0)) for network in PUBLISHERS}
    best = max(fits.values())
    networks = [network for network, fit in fits.items() if fit == best]
    if 2 * best[0] <= len(names):
        raise ValueError(
            f"`model` must name the network: no publisher of one has tensors of these names. Received: {listed(names)}"
        )
    if len(networks) > 1:
        raise ValueError(f"`model` must be one of {', '.join(networks)}, which all have tensors of these names")
    return networks[0]


def _fits(names: list[str], network: str) -> Iterator[tuple[int, int]]:
    """For each publisher of a network the number of names that it knows, and less the number of layers without one.

    This project is none of them: its map knows every name.
    """
    for publisher, name_map in PUBLISHERS[network].items():
        if publisher != OWN_NAME:
            known = {name for name in map(name_map.for_file(names).ours, names) if name}
            layers = {name.rpartition("/")[0] for name in known}
            yield len(known), len(layers) - len(name_map.layers)


def _checkpoint(source: str | os.PathLike, model: str | None) -> tuple[Checkpoint, Preprocessing | None]:
    """The weights of `source`, and a run's preprocessing if it is one."""
    if published.is_published(source):
        if model is None:
            raise ValueError(f"`model` must name the network whose weights are {source!r}. Received: model=None")
        return read_weights(source, registry.resolve(model)), None
    path = Path(source)
    run = runs.Run(path) if path.is_dir() else None
    if run:
        path = run.path / runs.MODEL
    tensors = read_tensors(path)
    if lacks_layer_names(tensors):
        raise ValueError(f"{path} lacks the names of its layers: load it into its network, and save that as .keras")
    network = registry.resolve(model) if model else _network_in(path, tensors)
    return checkpoint_of(path, tensors, network), run.preprocessing if run else None


def _network_in(path: Path, tensors: Iterable[str]) -> str:
    """The network that a file of ours names, or that the tensors' names tell."""
    if record := record_of(path):
        return registry.resolve(record.network)
    with contextlib.suppress(ValueError):  # a foreign one
        description = description_of(path)
        if description and description.name in registry.NETWORKS:
            return description.name
    try:
        return network_of(tensors)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _network(checkpoint: Checkpoint) -> keras.Model:
    """The network with the weights, in their layout."""
    description = checkpoint.description
    if description and description.input_shape:  # a whole model
        return inference_model(runs.load(checkpoint.path))
    return _built(_in_its_layout(checkpoint))


def _in_its_layout(checkpoint: Checkpoint) -> Checkpoint:
    """The same weights with the publisher whose layout the file describes, if it has our names and describes one."""
    if checkpoint.description is None:
        return checkpoint
    publishers = PUBLISHERS[checkpoint.family]
    reasons = []
    for publisher in (OWN_NAME, *(name for name in publishers if name != OWN_NAME)):
        candidate = dataclasses.replace(
            checkpoint, publisher=publisher, preprocessing=publishers[publisher].preprocessing
        )
        try:
            _built(candidate)
            return candidate
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError(
        f"{checkpoint.path} is not a {checkpoint.family} that can be built anew from its weights, in any layout; keep "
        f"it as it is, or write a .keras of it. In our own layout: {reasons[0]}"
    )


def _built(checkpoint: Checkpoint) -> keras.Model:
    classes = _classes(checkpoint)
    shape = checkpoint.description.input_shape if checkpoint.description else None
    options = {"include_top": False} if classes is None else {"classes": classes}
    return registry.create(checkpoint.family, weights=checkpoint, input_shape=shape, **options)


def _classes(checkpoint: Checkpoint) -> int | None:
    """Number of classes of the classifier; None if the weights have none. A background class does not count."""
    names = checkpoint.names
    for name, tensor in checkpoint.tensors.items():
        if names.ours(name) in CLASSIFIER_BIASES:
            return tensor.size - (names.background and tensor.size == BACKGROUND_CLASSES)
    return None
