"""Convert published weights to ``.keras`` and ``.safetensors``. Keras is imported only when needed."""

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from keras_inception import registry, runs
from keras_inception.preprocessing import Preprocessing
from keras_inception.utils import files
from keras_inception.weights.checkpoint import Checkpoint, checkpoint_of, read_weights
from keras_inception.weights.layouts import WeightsFile
from keras_inception.weights.publishers import PUBLISHERS, check_weights, is_published, name_maps
from keras_inception.weights.publishers.namemap import OWN, OWN_NAME, listed
from keras_inception.weights.readers.keras import lacks_layer_names

if TYPE_CHECKING:
    import keras


class Converted(NamedTuple):
    """The result of a conversion.

    Attributes:
        path: path of the new file.
        network: a key of `keras_inception.registry.NETWORKS`.
        publisher: the publisher of the weights, or "keras_inception".
        classes: number of classes; None without a classifier.
        tensors: number of weight tensors.
        preprocessing: the preprocessing that the network was trained with, from its run, its record or its publisher.
            The default for files in our own layout without a record.
    """

    path: Path
    network: str
    publisher: str
    classes: int | None
    tensors: int
    preprocessing: Preprocessing


def check_conversion(source: str | os.PathLike, target: str | os.PathLike, *, overwrite: bool) -> None:
    """Check the paths given to `convert` and raise its errors, before anything is read or imported."""
    target = Path(target)
    if target.suffix not in (".keras", ".safetensors"):
        raise ValueError(f"`target` must end in .keras or .safetensors. Received: '{target}'")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists: replace it with overwrite=True (--overwrite on the command line)")
    check_weights(source)


def convert(
    source: str | os.PathLike, target: str | os.PathLike, *, model: str | None = None, overwrite: bool = False
) -> Converted:
    """Convert weights to a ``.keras`` or ``.safetensors`` file in float32.

    A ``.keras`` file holds a network in its publisher's layout, without auxiliary classifiers; open it with
    `keras_inception.load`. A ``.safetensors`` file holds all tensors unchanged under their source names, and a record
    of their layout, so that it can be passed to a network as ``weights``.

    Args:
        source: a file in any format that `keras_inception.weights.read_tensors` knows, a run directory, or
            ``"imagenet"`` or ``"imagenet:PUBLISHER"``.
        target: path of the new file, ending in ``.keras`` or ``.safetensors``.
        model: name of the network; required if the tensor names do not identify it.
        overwrite: replace an existing file.

    Raises:
        ValueError: `target` has another suffix; the source cannot be read, or is not a network that can be built; or
            the network cannot be identified.
        FileExistsError: `target` exists and `overwrite` is False.
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
            dataclasses.replace(checkpoint, preprocessing=preprocessing or checkpoint.preprocessing).save(beside)
    found = (checkpoint.family, checkpoint.publisher, _classes(checkpoint), len(checkpoint.tensors))
    return Converted(target, *found, preprocessing or checkpoint.preprocessing)


def network_of(names: Iterable[str]) -> str:
    """Identify the network that has tensors of these names.

    Choose the network whose publisher knows most of the names, and among several the one with the fewest missing
    layers.

    Raises:
        ValueError: no publisher knows more than half of the names, or several networks match equally well.
    """
    names = list(names)
    fits = {network: max(_fits(names, network), default=(0, 0)) for network in PUBLISHERS}
    best = max(fits.values())
    networks = [network for network, fit in fits.items() if fit == best]
    if 2 * best[0] <= len(names):
        raise ValueError(f"`model` must name the network: no publisher uses these names. Received: {listed(names)}")
    if len(networks) > 1:
        raise ValueError(f"`model` must be one of {', '.join(networks)}, which all have tensors of these names")
    return networks[0]


def _fits(names: list[str], network: str) -> Iterator[tuple[int, int]]:
    """Yield (number of known names, minus the number of missing layers) for each publisher of a network."""
    for name_map in PUBLISHERS[network].values():
        known = {name for name in map(name_map.for_file(names).ours, names) if name}
        layers = {name.rpartition("/")[0] for name in known}
        yield len(known), len(layers) - len(name_map.layers)


def _checkpoint(source: str | os.PathLike, model: str | None) -> tuple[Checkpoint, Preprocessing | None]:
    """Return the weights of `source`, and the preprocessing if it is a run."""
    if is_published(source):
        if model is None:
            raise ValueError(f"`model` must name the network whose weights are {source!r}. Received: model=None")
        return read_weights(source, registry.resolve(model)), None
    run = runs.Run(Path(source)) if os.path.isdir(source) else None
    file = WeightsFile(run.path / runs.MODEL if run else source)
    if lacks_layer_names(file.tensors):
        raise ValueError(f"{file.path} lacks layer names: load it into its network and save the network as .keras")
    network = registry.resolve(model) if model else _network_in(file)
    return checkpoint_of(file, network), run.preprocessing if run else None


def _network_in(file: WeightsFile) -> str:
    """Return the network that one of our files names, or else that the tensor names identify."""
    if file.record:
        return registry.resolve(file.record.network)
    with contextlib.suppress(ValueError):  # another Keras model
        if file.description and file.description.name in registry.NETWORKS:
            return file.description.name
    try:
        return network_of(file.tensors)
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from None


def _network(checkpoint: Checkpoint) -> "keras.Model":
    """Build the network in the layout of the weights, and load them."""
    from keras_inception.models.inference import inference_model

    description = checkpoint.description
    if description and description.input_shape:  # a whole model
        return inference_model(runs.load(checkpoint.path))
    return _built(_in_its_layout(checkpoint))


def _in_its_layout(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with the publisher whose layout the file describes, if it describes one."""
    if checkpoint.description is None:
        return checkpoint
    reasons = []
    maps = {OWN_NAME: OWN, **name_maps(checkpoint.family)}
    candidates = {
        publisher: dataclasses.replace(checkpoint, publisher=publisher, preprocessing=name_map.preprocessing)
        for publisher, name_map in maps.items()
    }
    for candidate in candidates.values():
        try:
            return candidates[_built(candidate).publisher]  # which may be another, if the file describes the network
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError(
        f"{checkpoint.path} is not a {checkpoint.family} that can be rebuilt from its weights in any layout: keep "
        f"it as it is, or convert it to .keras. In our own layout: {reasons[0]}"
    )


def _built(checkpoint: Checkpoint) -> "keras.Model":
    """Build the network of a checkpoint from its weights. Raise ValueError if they do not fit."""
    classes = _classes(checkpoint)
    shape = checkpoint.description.input_shape if checkpoint.description else None
    options = {"include_top": False} if classes is None else {"classes": classes}
    return registry.create(checkpoint.family, weights=checkpoint, input_shape=shape, **options)


def _classes(checkpoint: Checkpoint) -> int | None:
    """Return the number of classes, not counting a background class, or None if the weights have no classifier."""
    names = checkpoint.names
    for name, tensor in checkpoint.tensors.items():
        if names.ours(name) in ("predictions/bias", "predictions_conv/bias"):
            return tensor.size - (names.background and tensor.size == 1001)  # ImageNet plus TF-slim's background class
    return None
