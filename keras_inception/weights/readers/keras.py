"""Keras' files of weights: legacy .h5, .weights.h5, and .keras."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_inception.weights.readers import hdf5
from keras_inception.weights.readers.archives import Archive
from keras_inception.weights.readers.arrays import distinct

WEIGHTS, CONFIG = "model.weights.h5", "config.json"
MAX_DEPTH = 16
# Members of Keras 3's groups that are no weights.
STATE = ("optimizer", "seed_generator")
# What TensorFlow 2.12 called the group of layers.
OLD_LAYERS = "_layer_checkpoint_dependencies"

# Names of the variables by the class of their layer and their number, in Keras 3's order.
VARIABLES = {
    **{(layer, count): ("kernel", "bias") for layer in ("conv1d", "conv2d", "conv3d", "dense") for count in (1, 2)},
    ("batch_normalization", 4): ("gamma", "beta", "moving_mean", "moving_variance"),
    ("batch_normalization", 3): ("beta", "moving_mean", "moving_variance"),  # without scale
}
# Keras 1's names, which keras.applications' first files have. Its running_std holds the variance.
KERAS_1 = re.compile(r"(?:.+_)?(W|b|gamma|beta|running_mean|running_std)(?:_\d+)?")
SINCE_KERAS_2 = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance"}


def read_archive(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """The weights of a .keras file, ``layer/variable``."""
    with Archive(path) as archive:
        root = hdf5.read(archive.read(WEIGHTS))
        config = archive.read(CONFIG) if CONFIG in archive else b"{}"
    yield from distinct(_weights(root, config), path)


def read_hdf5(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """The weights of a .h5 or .weights.h5 file, ``layer/variable``."""
    root = hdf5.read(Path(path).read_bytes())
    group = root["model_weights"] if "model_weights" in root else root  # noqa: SIM401
    layers = list(_texts(group, "layer_names"))
    legacy = (weight for layer in layers for weight in _legacy(group[layer], layer))
    yield from distinct(legacy if layers else _weights(root, b"{}"), path)


def _texts(group: hdf5.Node, name: str) -> Iterator[str]:
    """An attribute of names. If they are too many for one attribute, Keras counts: ``layer_names0`` and so on."""
    index, texts = 0, group.strings(name)
    if texts is None:
        texts = group.strings(f"{name}0")
    while texts is not None:
        yield from texts
        index += 1
        texts = group.strings(f"{name}{index}")


def _legacy(group: hdf5.Node, layer: str) -> Iterator[tuple[str, np.ndarray]]:
    """The weights of a layer; of its layers, if it is a model."""
    paths = list(_texts(group, "weight_names"))
    variables = [_variable(path) for path in paths]
    nested = len(set(variables)) < len(variables)
    for path, variable in zip(paths, variables, strict=True):
        owner = path.split("/")[-2] if nested and "/" in path else layer
        yield f"{owner}/{variable}", group[path].array()


def _variable(path: str) -> str:
    """``kernel`` of ``conv1/kernel:0``, and of Keras 1's ``conv1_W:0``."""
    name = re.sub(r":\d+$", "", path.rpartition("/")[2])
    old = KERAS_1.fullmatch(name)
    return SINCE_KERAS_2.get(old[1], old[1]) if old else name


def _weights(root: hdf5.Node, config: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """Keras 3's form: ``layers/conv2d_1/vars/0``, the layer's name an attribute, or in the model's `config` only."""
    names: dict[str, str] | None = None
    found = False
    for path, group in _groups(root):
        found = True
        if not group.members:
            continue
        layer = group.strings("name")
        if layer is None:
            names = _names(config) if names is None else names
            if path not in names:
                raise ValueError(
                    "it lacks the layers' names, as a .weights.h5 of Keras 3.5 and before does: save .keras"
                )
            layer = [names[path]]
        kind = re.sub(r"_\d+$", "", path.rpartition("/")[2])
        count = len(group.members)
        variables = VARIABLES.get((kind, count), map(str, range(count)))
        for index, variable in zip(range(count), variables, strict=False):
            yield f"{'/'.join(layer)}/{variable}", group[str(index)].array()
    if not found:
        raise ValueError("it is an HDF5 file, but not one of Keras' weights")


def _groups(group: hdf5.Node, path: str = "", depth: int = 0) -> Iterator[tuple[str, hdf5.Node]]:
    """The groups ``vars``, by the path of their layer."""
    if depth > MAX_DEPTH:
        raise ValueError(f"its groups must not nest more than {MAX_DEPTH} deep")
    for name in group.members:
        if name == "vars":
            yield path, group[name]
        elif name not in STATE:
            inner = "layers" if name == OLD_LAYERS else name
            yield from _groups(group[name], f"{path}/{inner}" if path else inner, depth + 1)


def _names(config: bytes) -> dict[str, str]:
    """Names of the layers by path, as Keras counts them: classes in snake case, the second with ``_1``."""

    def named(model: dict, folder: str) -> Iterator[tuple[str, str]]:
        counts: Counter[str] = Counter()
        for layer in model.get("layers", []):
            kind = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", layer["class_name"])
            kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", kind).lower()
            path = f"{folder}/{kind}" + (f"_{counts[kind]}" if counts[kind] else "")
            counts[kind] += 1
            yield path, layer["config"]["name"]
            yield from named(layer["config"], f"{path}/layers")

    try:
        return dict(named(json.loads(config).get("config", {}), "layers"))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"its {CONFIG} is not that of a Keras model: {error}") from None
