"""Read the HDF5 of Keras' weights files with h5py, in a child process; see `isolation`.

The job has ``path`` (HDF5 file) and ``folder`` (for the answer). With ``describe``, the answer has the model's
``config`` and the names of its ``layers`` instead of weights; with ``check``, it is empty. Both check that the file
needs no other file. ``config`` is the path of the configuration that a .keras file stores next to its weights.
"""

import itertools
import math
import re
from collections.abc import Iterator

import h5py
import ml_dtypes
import numpy as np

from keras_inception.utils.subprocesses import answer
from keras_inception.weights.readers import isolation
from keras_inception.weights.readers.arrays import MAX_AXES
from keras_inception.weights.readers.keras import LAYERS, layer_paths, read_config

MAX_DEPTH = 16
# Maximum compression ratio of a dataset. Pruned and clustered weights compress about 20-fold; anything far beyond that
# is a decompression bomb.
MAX_RATIO = 64
LINKS = "links other than hard ones are not followed"
OUTSIDE = "data in another file are not read"
# Groups of Keras 3 that hold no weights.
STATE = ("optimizer", "seed_generator")
# Name of the group of layers in TensorFlow 2.12.
OLD_LAYERS = "_layer_checkpoint_dependencies"

# Variable names in Keras 3's order, by layer class and number of variables.
VARIABLES = {
    **{(layer, count): ("kernel", "bias") for layer in ("conv1d", "conv2d", "conv3d", "dense") for count in (1, 2)},
    ("batch_normalization", 4): ("gamma", "beta", "moving_mean", "moving_variance"),
    ("batch_normalization", 3): ("beta", "moving_mean", "moving_variance"),  # without scale
}
# Keras 1's names, used by the first files of keras.applications. Its running_std holds the variance.
KERAS_1 = re.compile(r"(?:.+_)?(W|b|gamma|beta|running_mean|running_std)(?:_\d+)?")
SINCE_KERAS_2 = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance"}


def main(job: dict) -> None:
    """Read the file and write the answer."""
    isolation.reply(job["folder"], lambda: _answer(job))


def _answer(job: dict) -> dict:
    with h5py.File(job["path"], "r") as file:
        if not job.get("describe") and not job.get("check"):
            return isolation.saved(job["folder"], _weights(file, job.get("config")))
        check_self_contained(file)
        if job.get("check"):
            return {}
        config = texts(file, "model_config")
        layers = [name for _, group in _groups(file) for name in texts(group, "name") or ()]
        return {"config": config[0] if config else None, "layers": layers}


def check_self_contained(file: h5py.File) -> None:
    """Raise ValueError if a file has links other than hard ones, or arrays that are stored in another file."""

    def of_link(_: str, link: object) -> str | None:
        return None if isinstance(link, h5py.HardLink) else LINKS

    def of_object(_: str, node: h5py.Group | h5py.Dataset) -> str | None:
        return OUTSIDE if isinstance(node, h5py.Dataset) and (node.external or node.is_virtual) else None

    # An exception in a visitor ends in h5py's own; visits stop at the first value that is not None.
    if problem := file.visititems_links(of_link) or file.visititems(of_object):
        raise ValueError(problem)


def member(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset:
    """Return the member at a path.

    Raises:
        ValueError: There is none, or the path contains a soft or external link.
    """
    node = group
    for name in path.split("/"):
        if not isinstance(node, h5py.Group) or not name or name not in node:
            raise ValueError(f"it has no {path:.200}")
        if not isinstance(node.get(name, getlink=True), h5py.HardLink):
            raise ValueError(LINKS)
        node = node[name]
    return node


def texts(group: h5py.Group, name: str) -> list[str] | None:
    """Return a text attribute as a list of strings, or None if there is no such attribute."""
    if name not in group.attrs:
        return None
    value = group.attrs[name]
    if isinstance(value, h5py.Empty):
        return []
    values = value.ravel().tolist() if isinstance(value, np.ndarray) else [value]
    if not all(isinstance(text, str | bytes) for text in values):
        raise ValueError(f"its attribute {name:.200} is not text")
    return [text.decode() if isinstance(text, bytes) else str(text) for text in values]


class Datasets:
    """Reads the datasets of a file and limits their total size to the size of the file."""

    def __init__(self, file: h5py.File):
        self._left = file.id.get_filesize()

    def read(self, dataset: h5py.Dataset | h5py.Group) -> np.ndarray:
        """Return a dataset as an array.

        Raises:
            ValueError: It is not a numeric dataset, is not stored entirely in this file, or shares its storage.
        """
        if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
            raise ValueError("an object in it is not an array")
        if dataset.external or dataset.is_virtual:
            raise ValueError(OUTSIDE)
        dtype = dataset.dtype
        is_bfloat16 = dtype.kind == "V" and dtype.itemsize == 2  # as h5py stores it
        if not (dtype.kind in "fiu" or is_bfloat16) or dataset.ndim > MAX_AXES:
            raise ValueError(f"a dataset does not hold numbers, or has more than {MAX_AXES} axes")
        size = math.prod(dataset.shape) * dataset.id.get_type().get_size()
        stored = dataset.id.get_storage_size()
        if dataset.chunks:
            grid = zip(dataset.shape, dataset.chunks, strict=True)
            whole = dataset.id.get_num_chunks() == math.prod(-(-side // chunk) for side, chunk in grid)
        else:
            whole = stored == size
        if not whole or size > MAX_RATIO * stored:
            raise ValueError(f"a dataset of {size} bytes has only {stored} in the file")
        self._left -= stored
        if self._left < 0:
            raise ValueError("its datasets take more bytes than the file has: they share them")
        values = dataset[()]
        return np.asarray(values).view(ml_dtypes.bfloat16) if is_bfloat16 else np.asarray(values)


def _weights(file: h5py.File, config: str | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the weights of a file as (``layer/variable``, array)."""
    datasets = Datasets(file)
    group = member(file, "model_weights") if "model_weights" in file else file
    layers = list(_all_texts(group, "layer_names"))
    nodes = (node for layer in layers for node in _legacy(member(group, layer), layer))
    for name, node in nodes if layers else _since_keras_3(file, config):
        yield name, datasets.read(node)


def _legacy(group: h5py.Group, layer: str) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield the weights of a layer in an old .h5 file, or those of a nested model's layers."""
    paths = list(_all_texts(group, "weight_names"))
    variables = [_variable(path) for path in paths]
    nested = len(set(variables)) < len(variables)
    for path, variable in zip(paths, variables, strict=True):
        owner = path.split("/")[-2] if nested and "/" in path else layer
        yield f"{owner}/{variable}", member(group, path)


def _since_keras_3(file: h5py.File, config: str | None) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield the weights in Keras 3's format: ``layers/conv2d_1/vars/0``, with the layer's name as an attribute.

    Keras 3.5 and earlier did not write this attribute. A .keras file has the names in its configuration; in a
    .weights.h5 file, the path takes the place of the name.
    """
    paths: dict[str, str] | None = None
    groups = list(_groups(file))
    if not groups:
        raise ValueError("it is an HDF5 file, but not one of Keras' weights")
    for path, group in groups:
        count = len(group)
        if not count:
            continue
        layer = texts(group, "name")
        if layer is None and config is None and path.startswith(LAYERS):
            layer = [path]
        elif layer is None:
            paths = layer_paths(read_config(config) if config else {}) if paths is None else paths
            if path not in paths:
                raise ValueError(f"it lacks the name of the layer {path:.200}, and so does its configuration")
            layer = [paths[path]]
        kind = re.sub(r"_\d+$", "", path.rpartition("/")[2])
        variables = VARIABLES.get((kind, count), map(str, range(count)))
        for index, variable in zip(range(count), variables, strict=False):
            yield f"{'/'.join(layer)}/{variable}", member(group, str(index))


def _all_texts(group: h5py.Group, name: str) -> Iterator[str]:
    """Yield the strings of an attribute. Long lists are split into ``layer_names0``, ``layer_names1``, ..."""
    yield from texts(group, name if name in group.attrs else f"{name}0") or ()
    for index in itertools.count(1):
        values = texts(group, f"{name}{index}")
        if values is None:
            return
        yield from values


def _variable(path: str) -> str:
    """Return ``kernel`` for ``conv1/kernel:0``, and for Keras 1's ``conv1_W:0``."""
    name = re.sub(r":\d+$", "", path.rpartition("/")[2])
    old = KERAS_1.fullmatch(name)
    return SINCE_KERAS_2.get(old[1], old[1]) if old else name


def _groups(group: h5py.Group, path: str = "", depth: int = 0) -> Iterator[tuple[str, h5py.Group]]:
    """Yield the ``vars`` groups with the paths of their layers."""
    if depth > MAX_DEPTH:
        raise ValueError(f"its groups must not nest more than {MAX_DEPTH} deep")
    for name in group:
        if name in STATE:
            continue
        node = member(group, name)
        if isinstance(node, h5py.Group) and name == "vars":
            yield path, node
        elif isinstance(node, h5py.Group):
            inner = "layers" if name == OLD_LAYERS else name
            yield from _groups(node, f"{path}/{inner}" if path else inner, depth + 1)


if __name__ == "__main__":
    answer(main)
