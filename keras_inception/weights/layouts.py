"""Layouts of weights that have our own names, which are the same in every layout.

A publisher's names tell how its network is padded, pooled and so on. But a network of ours that was built in a
publisher's layout and then saved has our names. A ``.keras`` file holds the network's layers beside the weights, and so
does an old ``.h5`` of a whole model; a ``.weights.h5`` holds their names. The ``.safetensors`` that `convert` writes
hold a record.
"""

import functools
import json
import operator
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import safetensors

from keras_inception.preprocessing import Preprocessing
from keras_inception.weights.readers import keras as keras_files
from keras_inception.weights.readers import read_tensors
from keras_inception.weights.readers.archives import Archive

if TYPE_CHECKING:
    import keras

KEY = "keras_inception"
CONFIG = "config.json"
# Errors raised by a description that is not as Keras writes it.
STRANGE = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError, struct.error)

# The settings of a layer that change what it computes and that its weights do not show.
SETTINGS = (
    *("strides", "padding", "kernel_size", "pool_size", "dilation_rate", "groups"),  # convolutions and poolings
    *("epsilon", "scale", "offset"),  # batch norm, rescaling
    *("depth_radius", "bias", "alpha", "beta"),  # LRN
    *("negative_slope", "max_value", "threshold"),  # ReLU
)
# Layers that are no part of the layout: inputs; dropout, which is only its rate; and those of a top that take any map.
INDIFFERENT = ("InputLayer", "Dropout", "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D")


class Layer(NamedTuple):
    """A layer of a network: its class, its `SETTINGS` as in JSON, and the layers that it reads."""

    kind: str
    settings: Mapping[str, object]
    inputs: frozenset[str]


class Description(NamedTuple):
    """A network that Keras has written.

    Attributes:
        layers: the layers by name; None for a layer of which nothing but the name is known.
        name: name of the network, if more is known than the names of the layers.
        input_shape: (height, width, channels) of an image, likewise.
    """

    layers: Mapping[str, Layer | None]
    name: str | None = None
    input_shape: tuple[int | None, ...] | None = None


class Record(NamedTuple):
    """The metadata that a ``.safetensors`` of ours holds beside its tensors.

    Attributes:
        network: a key of `keras_inception.registry.NETWORKS`.
        publisher: the publisher whose layout the network has.
        preprocessing: the preprocessing that the network was trained with.
    """

    network: str
    publisher: str
    preprocessing: Preprocessing

    def metadata(self) -> dict[str, str]:
        """Return the record as metadata of a ``.safetensors``."""
        record = {**self._asdict(), "preprocessing": json.loads(self.preprocessing.to_json())}
        return {KEY: json.dumps(record)}


class WeightsFile:
    """A file of weights, each part of which is read once, when it is first asked for.

    Attributes:
        path: path of the file.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = path

    @functools.cached_property
    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays by name, as `keras_inception.weights.read_tensors` returns them."""
        return read_tensors(self.path)

    @functools.cached_property
    def record(self) -> Record | None:
        """The result of `record_of`."""
        return record_of(self.path)

    @functools.cached_property
    def description(self) -> Description | None:
        """The result of `description_of`."""
        return description_of(self.path)


def record_of(path: str | os.PathLike) -> Record | None:
    """Return the record in a file of weights; None if it has none.

    Raises:
        ValueError: the record is damaged.
    """
    if not os.path.isfile(path):  # TF-slim's checkpoints are named by the prefix of their files
        return None
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(KEY)
    except safetensors.SafetensorError:  # another kind of file
        return None
    if text is None:
        return None
    try:
        values = json.loads(text)
        preprocessing = Preprocessing.from_json(json.dumps(values["preprocessing"]))
        return Record(str(values["network"]), str(values["publisher"]), preprocessing)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} has a damaged record of its network: {error}") from None


def description_of(path: str | os.PathLike) -> Description | None:
    """Return the network that a Keras file describes; None if it describes none, like files of other kinds.

    Raises:
        ValueError: the file describes something other than a functional network.
    """
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        head = file.read(len(keras_files.SIGNATURE))
    try:
        if head.startswith(b"PK"):
            with Archive(path) as archive:
                return _of_config(json.loads(archive.read(CONFIG))) if CONFIG in archive else None
        return _of_hdf5(*keras_files.read_description(path)) if head == keras_files.SIGNATURE else None
    except STRANGE as error:
        raise ValueError(f"{path} does not describe a functional network as Keras does: {error!r:.200}") from None


def description_of_model(model: "keras.Model") -> Description:
    """Return the description of a network that is built."""
    return _of_config(json.loads(model.to_json()))


def differences(one: Description, other: Description, *, ignored: tuple[str, ...] = ()) -> list[str]:
    """Return the layers that both networks have but that compute different things, or read different layers.

    Args:
        one: a network.
        other: another network.
        ignored: prefixes of the names of layers that do not matter.
    """
    names = {name for name in (*one.layers, *other.layers) if not name.startswith(ignored)}
    both = {name for name in names if name in one.layers and name in other.layers}
    found = []
    for name in sorted(both):
        ours, theirs = one.layers[name], other.layers[name]
        if ours is None or theirs is None:
            # Zeros before or a ReLU after a convolution or pooling, in one of the two networks only.
            only = sorted(other for other in names - both if other.rpartition("_")[0] == name)
            found += only if not _rounds(ours or theirs) else [other for other in only if other != f"{name}_pad"]
        elif {ours.kind, theirs.kind} & {*INDIFFERENT}:
            continue
        elif ours.kind != theirs.kind or any(
            ours.settings[key] != theirs.settings[key] for key in ours.settings.keys() & theirs.settings.keys()
        ):
            found.append(name)
        else:
            known = {each for each in both if _matters(one.layers[each]) and _matters(other.layers[each])}
            if ours.inputs & known != theirs.inputs & known:
                found.append(name)
    return found


def _rounds(layer: Layer | None) -> bool:
    """Return whether a layer is a pooling that has zeros before it or not depending on the size of its map."""
    return layer is not None and layer.kind == "MaxPooling2D" and layer.settings.get("padding") == "same"


def _matters(layer: Layer | None) -> bool:
    return layer is not None and layer.kind not in INDIFFERENT


def _of_hdf5(config: str | None, names: Iterable[str]) -> Description | None:
    if config is not None:
        return _of_config(json.loads(config))
    layers: dict[str, Layer | None] = dict.fromkeys(names)
    return Description(layers) if layers else None  # Keras 2's weights alone do not name layers without weights


def _of_config(config) -> Description:
    """Return the description of a functional network from its Keras configuration."""
    rows = config["config"]["layers"]
    (shape,) = (row["config"]["batch_shape"][1:] for row in rows if row["class_name"] == "InputLayer")
    sides = tuple(side if side is None else operator.index(side) for side in shape)
    return Description(dict(_rounding_alike(dict(_layers(rows)))), str(config["config"]["name"]), sides)


def _layers(rows: list) -> Iterator[tuple[str, Layer]]:
    """Yield the layers of a network, including those of models inside it."""
    for row in rows:
        config = row["config"]
        if "layers" in config:
            yield from _layers(config["layers"])
        settings = {key: config[key] for key in SETTINGS if key in config}
        inputs = frozenset(_sources(row["inbound_nodes"]))
        yield str(config["name"]), Layer(str(row["class_name"]), settings, inputs)


def _rounding_alike(layers: Mapping[str, Layer]) -> Iterator[tuple[str, Layer]]:
    """Yield the layers without the zeros that `blocks.max_pool` puts below and right of a map to round up.

    They depend on the size of the image. No two layouts of ours differ in them alone.
    """
    rounds = {name: layers.get(f"{name}_pad") for name in layers}
    rounds = {name: pad for name, pad in rounds.items() if pad and pad.settings.get("padding") == [[0, 1], [0, 1]]}
    for name, layer in layers.items():
        if pad := rounds.get(name):
            yield name, Layer(layer.kind, {**layer.settings, "padding": "same"}, pad.inputs)
        elif name.removesuffix("_pad") not in rounds:
            yield name, layer


def _sources(value) -> Iterator[str]:
    """Yield the names of the layers whose tensors are anywhere in a layer's ``inbound_nodes``."""
    if isinstance(value, dict):
        if "keras_history" in value:
            yield value["keras_history"][0]
        for item in value.values():
            yield from _sources(item)
    elif isinstance(value, list):
        for item in value:
            yield from _sources(item)
