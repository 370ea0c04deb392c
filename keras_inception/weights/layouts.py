"""Find the layout of weights that have our own names.

A publisher's names tell how its network pads, pools and so on. Our names are the same in every layout, so the layout of
a saved network must come from elsewhere in the file. A ``.keras`` file and an old ``.h5`` of a whole model describe the
layers; a ``.weights.h5`` lists the names of the layers; and the ``.safetensors`` that `convert` writes holds a record.
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
    """A network as a Keras file describes it.

    Attributes:
        layers: the layers by name; None for a layer of which nothing but the name is known.
        name: name of the network; None if only the names of its layers are known.
        input_shape: (height, width, channels) of an image; None likewise.
    """

    layers: Mapping[str, Layer | None]
    name: str | None = None
    input_shape: tuple[int | None, ...] | None = None


class Record(NamedTuple):
    """The metadata in a ``.safetensors`` that this project wrote.

    Attributes:
        network: a key of `keras_inception.registry.NETWORKS`.
        publisher: the publisher in whose layout the network is built.
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
    """A file of weights. Each part is read once, when it is first used.

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
        """The record in the file; None if it has none. Raise ValueError if it is damaged."""
        if not os.path.isfile(self.path):  # TF-slim's checkpoints are named by the prefix of their files
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
            head = file.read(len(keras_files.SIGNATURE))
        try:
            if head.startswith(b"PK"):
                with Archive(self.path) as archive:
                    return _of_config(json.loads(archive.content(CONFIG))) if CONFIG in archive else None
            return _of_hdf5(*keras_files.read_description(self.path)) if head == keras_files.SIGNATURE else None
        except STRANGE as error:
            reason = f"{error!r:.200}"
            raise ValueError(f"{self.path} does not describe a functional network as Keras does: {reason}") from None


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
    both = names & one.layers.keys() & other.layers.keys()
    known = {name for name in both if _matters(one.layers[name]) and _matters(other.layers[name])}
    found = []
    for name in sorted(both):
        ours, theirs = one.layers[name], other.layers[name]
        if ours is None or theirs is None:
            # Zeros before or a ReLU after a convolution or pooling, in one of the two networks only.
            only = sorted(other for other in names - both if other.rpartition("_")[0] == name)
            found += only if not _rounds(ours or theirs) else [other for other in only if other != f"{name}_pad"]
        elif name in known:
            shared = ours.settings.keys() & theirs.settings.keys()
            alike = ours.kind == theirs.kind and all(ours.settings[key] == theirs.settings[key] for key in shared)
            if not alike or ours.inputs & known != theirs.inputs & known:
                found.append(name)
    return found


def _rounds(layer: Layer | None) -> bool:
    """Return whether a layer is a pooling that may need padding before it, depending on the size of its input."""
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
        kind = str(row["class_name"]).rpartition(">")[2]  # an .h5 names our layers ``keras_inception>Class``
        yield str(config["name"]), Layer(kind, settings, inputs)


def _rounding_alike(layers: Mapping[str, Layer]) -> Iterator[tuple[str, Layer]]:
    """Yield the layers without the padding that `blocks.max_pool` adds at the bottom and right to round sizes up.

    It depends on the size of the image. No two of our layouts differ in it alone.
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
