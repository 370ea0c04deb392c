"""Determine the layout of weights that have our own names.

A publisher's tensor names imply how its network pads, pools and so on. Our names are the same in every layout, so the
layout of a saved network must come from elsewhere in the file. ``.keras`` files and old ``.h5`` files of whole models
describe the layers, ``.weights.h5`` files list the layer names, and the ``.safetensors`` files that `convert` writes
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
from keras_inception.utils.names import bare
from keras_inception.weights.formats import CONFIG, SIGNATURE
from keras_inception.weights.readers import keras as keras_files
from keras_inception.weights.readers import read_tensors
from keras_inception.weights.readers.archives import Archive

if TYPE_CHECKING:
    import keras

KEY = "keras_inception"
# Errors raised by a description that Keras did not write.
STRANGE = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError, struct.error)

# Layer settings that change what a layer computes but do not show in its weights.
SETTINGS = (
    *("strides", "padding", "kernel_size", "pool_size", "dilation_rate", "groups"),  # convolutions and poolings
    *("epsilon", "scale", "offset"),  # batch norm, rescaling
    *("depth_radius", "bias", "alpha", "beta"),  # LRN
    *("negative_slope", "max_value", "threshold"),  # ReLU
)
# Layers that are not part of the layout: inputs, dropout, and the layers of a top that take any map.
INDIFFERENT = ("InputLayer", "Dropout", "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D")


class Layer(NamedTuple):
    """A layer of a network: its class, its `SETTINGS` as in JSON, and the names of its input layers."""

    kind: str
    settings: Mapping[str, object]
    inputs: frozenset[str]


class Description(NamedTuple):
    """A network as a Keras file describes it.

    Attributes:
        layers: the layers by name, without that of the network; None for a layer of which only the name is known.
        name: name of the network; None if only the names of its layers are known.
        input_shape: (height, width, channels) of an image; None if only the names of its layers are known.
    """

    layers: Mapping[str, Layer | None]
    name: str | None = None
    input_shape: tuple[int | None, ...] | None = None


class Record(NamedTuple):
    """Metadata in a ``.safetensors`` file that this project wrote.

    Attributes:
        network: a key of `keras_inception.registry.NETWORKS`.
        publisher: the publisher whose layout the network has.
        preprocessing: the preprocessing that the network was trained with.
    """

    network: str
    publisher: str
    preprocessing: Preprocessing

    def metadata(self) -> dict[str, str]:
        """Return the record as metadata for a ``.safetensors`` file."""
        record = {**self._asdict(), "preprocessing": json.loads(self.preprocessing.to_json())}
        return {KEY: json.dumps(record)}


class WeightsFile:
    """A weights file. Each part is read once, on first use.

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
        """The record in the file, or None. Raise ValueError if it is damaged."""
        if not os.path.isfile(self.path):  # a TF-slim checkpoint, given by its prefix
            return None
        try:
            with safetensors.safe_open(self.path, framework="numpy") as file:
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
            raise ValueError(f"{self.path} has a damaged record of its network: {error}") from None

    @functools.cached_property
    def description(self) -> Description | None:
        """The network that a Keras file describes; None for files of other kinds and weights without a description.

        Raises:
            ValueError: the file describes something other than a functional network.
        """
        if not os.path.isfile(self.path):
            return None
        with open(self.path, "rb") as file:
            head = file.read(len(SIGNATURE))
        try:
            if head.startswith(b"PK"):
                with Archive(self.path) as archive:
                    return _of_config(json.loads(archive.content(CONFIG))) if CONFIG in archive else None
            return _of_hdf5(*keras_files.read_description(self.path)) if head == SIGNATURE else None
        except STRANGE as error:
            reason = f"{error!r:.200}"
            raise ValueError(f"{self.path} does not describe a functional network as Keras does: {reason}") from None


def description_of_model(model: "keras.Model") -> Description:
    """Return the description of a built network."""
    return _of_config(json.loads(model.to_json()))


def description_of_layers(layers: Iterable["keras.layers.Layer"]) -> Description:
    """Return the description of layers in a model, which may have others before and after them."""
    layers = list(layers)
    own, found = {layer.name for layer in layers}, {}
    for layer in layers:
        config = layer.get_config()
        settings = json.loads(json.dumps({key: config[key] for key in SETTINGS if key in config}))
        tensors = [tensor for node in layer._inbound_nodes for tensor in node.input_tensors]
        sources = {tensor._keras_history.operation.name for tensor in tensors}
        found[bare(layer.name)] = Layer(type(layer).__name__, settings, frozenset(map(bare, sources & own)))
    return Description(dict(_rounding_alike(found)))


def differences(one: Description, other: Description, *, ignored: tuple[str, ...] = ()) -> list[str]:
    """Return the layers that both networks have but with different settings or inputs.

    Args:
        one: a network.
        other: another network.
        ignored: name prefixes of layers to ignore.
    """
    names = {name for name in (*one.layers, *other.layers) if not name.startswith(ignored)}
    both = names & one.layers.keys() & other.layers.keys()
    known = {name for name in both if _matters(one.layers[name]) and _matters(other.layers[name])}
    found = []
    for name in sorted(both):
        ours, theirs = one.layers[name], other.layers[name]
        if ours is None or theirs is None:
            # Padding before, or a ReLU after, a convolution or pooling in only one of the two networks.
            only = sorted(other for other in names - both if other.rpartition("_")[0] == name)
            found += only if not _rounds(ours or theirs) else [other for other in only if other != f"{name}_pad"]
        elif name in known:
            shared = ours.settings.keys() & theirs.settings.keys()
            alike = ours.kind == theirs.kind and all(ours.settings[key] == theirs.settings[key] for key in shared)
            if not alike or ours.inputs & known != theirs.inputs & known:
                found.append(name)
    return found


def _rounds(layer: Layer | None) -> bool:
    """Return whether a layer is a pooling that may need preceding padding, depending on its input size."""
    return layer is not None and layer.kind == "MaxPooling2D" and layer.settings.get("padding") == "same"


def _matters(layer: Layer | None) -> bool:
    return layer is not None and layer.kind not in INDIFFERENT


def _of_hdf5(config: str | None, names: Iterable[str]) -> Description | None:
    if config is not None:
        return _of_config(json.loads(config))
    layers: dict[str, Layer | None] = dict.fromkeys(map(bare, names))
    return Description(layers) if layers else None  # Keras 2's weights alone do not name layers without weights


def _of_config(config) -> Description:
    """Return the description of a functional network, given its Keras configuration."""
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
        kind = str(row["class_name"]).rpartition(">")[2]  # an .h5 names our layers ``keras_inception>Class``
        yield bare(str(config["name"])), Layer(kind, settings, inputs)


def _rounding_alike(layers: Mapping[str, Layer]) -> Iterator[tuple[str, Layer]]:
    """Yield the layers without the padding that `blocks.max_pool` adds at the bottom and right to round up sizes.

    This padding depends on the image size, and no two of our layouts differ only in it.
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
            yield bare(str(value["keras_history"][0]))
        for item in value.values():
            yield from _sources(item)
    elif isinstance(value, list):
        for item in value:
            yield from _sources(item)
