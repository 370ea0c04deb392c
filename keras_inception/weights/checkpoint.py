"""Load the weights of any publisher into one of our networks."""

import dataclasses
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_inception.preprocessing import Preprocessing
from keras_inception.utils import files
from keras_inception.utils.names import bare
from keras_inception.weights.download import fetch
from keras_inception.weights.layouts import Description, Record, WeightsFile, description_of_layers, differences
from keras_inception.weights.publishers import find, is_published, name_maps, publisher_of, without_prefix
from keras_inception.weights.publishers.namemap import OWN, OWN_NAME, NameMap, listed
from keras_inception.weights.readers.keras import lacks_layer_names, layer_paths

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

Tensors = dict[str, np.ndarray]

# Name prefixes of the layers in auxiliary classifiers and tops, which a network may be built without.
CLASSIFIERS = ("aux", "fc", "predictions")
TOPS = CLASSIFIERS[1:]
# A variable of ours in a network of another name, ``left-conv1/kernel``.
PREFIXED = re.compile(r"[^/]+-[^/-]+/\w+")
WAYS_OUT = (
    " Pass skip_mismatch=True to load those that fit, or include_top=False if only the classifier is another one."
)


class LayoutError(ValueError):
    """The network in a file has another layout than the one that its weights are loaded into."""


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a file, under their publisher's names and in the publisher's layout.

    Attributes:
        path: path of the file, for messages.
        family: the network that the weights are for, a key of `keras_inception.registry.NETWORKS`.
        publisher: the publisher whose layout the weights are for, a key of
            `keras_inception.weights.publishers.name_maps` of the network.
        tensors: float32 arrays by name.
        preprocessing: the preprocessing that the network was trained with.
        own_names: whether the tensors have our names, regardless of the publisher.
        description: the network in the file, if it is a Keras file with our names.
        is_run: whether `preprocessing` is that of the run that trained the network, whatever the publisher.
    """

    path: str | os.PathLike
    family: str
    publisher: str
    tensors: Tensors
    preprocessing: Preprocessing
    own_names: bool = False
    description: Description | None = None
    is_run: bool = False

    @property
    def names(self) -> NameMap:
        """The map from the tensors' names to ours."""
        return OWN if self.own_names else name_maps(self.family)[self.publisher].for_file(self.tensors)

    @property
    def is_own(self) -> bool:
        """Whether the weights are for this project's own layout."""
        return self.publisher == OWN_NAME

    def save(self, path: str | os.PathLike) -> None:
        """Write the tensors unchanged to a ``.safetensors`` file, with a record of their layout and preprocessing."""
        from safetensors.numpy import save_file

        record = Record(self.family, self.publisher, self.preprocessing)
        tensors = {name: np.ascontiguousarray(tensor) for name, tensor in self.tensors.items()}
        save_file(tensors, path, metadata=record.metadata())

    def has(self, variable: str) -> bool:
        """Return whether there is a tensor for one of our variables, such as ``"conv1_bn/beta"``."""
        return variable in map(self.names.ours, self.tensors)

    def check_option(self, argument: str, value, needed) -> None:
        """Raise ValueError unless a network's argument is None or has the value that the weights need."""
        if value not in (None, needed):
            raise ValueError(
                f"`{argument}` must be {needed!r} with the {self.publisher} weights of {self.path}. "
                f"Received: {argument}={value!r}"
            )

    def in_other_layouts(self) -> Iterator["Checkpoint"]:
        """Yield the checkpoint in the layout of each other publisher, if the file describes a network of our names."""
        described = self.own_names and self.description is not None and self.description.name is not None
        for publisher, name_map in name_maps(self.family).items() if described else ():
            if publisher != self.publisher:
                preprocessing = self.preprocessing if self.is_run else name_map.preprocessing
                yield dataclasses.replace(self, publisher=publisher, preprocessing=preprocessing)

    def load_into(
        self,
        model: "keras.Model",
        *,
        layers: Sequence["keras.layers.Layer"] | None = None,
        skip_mismatch: bool = False,
    ) -> None:
        """Load the weights into every variable of `model`, or into none.

        Tensors of auxiliary classifiers or of a top that `model` does not have are skipped and logged. If it has no
        top, so are tensors of a classifier with a name of its own. The kernel for three channels is summed over them
        for a network of one channel, which then sees a gray image as the other one sees its three equal channels.

        Args:
            model: one of our networks.
            layers: the layers of `model` that are the network's; all by default.
            skip_mismatch: load the tensors that fit and log the others, instead of raising an error.

        Raises:
            LayoutError: the network in the file has another layout than `model`.
            ValueError: a variable has no tensor, a tensor has no variable, or their shapes differ.
        """
        layers = model.layers if layers is None else layers
        self._check_layout(layers)
        variables = {f"{bare(layer.name)}/{weight.name}": weight for layer in layers for weight in layer.weights}
        maps = _flattened_maps(layers)
        name_map = self.names
        tensors, nameless = self.tensors, lacks_layer_names(self.tensors)
        if nameless:
            tensors = _named_by_order(self.path, tensors, model)
        values, left_over, skipped, misfits = {}, [], [], []
        for name, tensor in tensors.items():
            key = name_map.ours(name)
            if key in variables and key not in values:
                shape = tuple(variables[key].shape)
                value = _for_one_channel(name_map.in_keras_layout(tensor, shape, maps.get(key)), shape)
                if value.shape == shape:
                    values[key] = value
                else:
                    misfits.append(f"{name} {tensor.shape} for {key} {shape}")
            elif key and key not in variables and key.startswith(CLASSIFIERS):
                skipped.append(name)
            else:
                left_over.append(name)
        taken = {name_map.ours(name) for name in tensors}
        missing = [key for key in variables if key not in taken]
        if not any(key.startswith(TOPS) for key in variables):
            roots = {_root(name) for name in tensors if name_map.ours(name) in variables}
            skipped += [name for name in left_over if _root(name) not in roots]
            left_over = [name for name in left_over if _root(name) in roots]
        problems = {"missing": missing, "left over": left_over, "of another shape": misfits}
        found = "; ".join(f"{problem}: {listed(names)}" for problem, names in problems.items() if names)
        if found and (nameless or not skip_mismatch):
            raise ValueError(f"{self.path} does not fit the network.{'' if nameless else WAYS_OUT} Tensors {found}")
        if found:
            text = "%s does not fully fit the network and was loaded in part. Tensors %s"
            logger.warning(text, self.path, found)
        if skipped:
            logger.info("%s: skipped tensors of classifiers that the network lacks: %s", self.path, listed(skipped))
        for key, value in values.items():
            variables[key].assign(value)

    def _check_layout(self, layers: Sequence["keras.layers.Layer"]) -> None:
        """Raise LayoutError if layers in the file differ from the network's in settings or connections."""
        if self.description is None:
            return
        if found := differences(self.description, description_of_layers(layers), ignored=CLASSIFIERS):
            raise LayoutError(
                f"{self.path} holds {self.family} in another layout, with which its outputs differ: it "
                f"differs in {listed(found)}. Open it with keras_inception.load, or convert it with keras-inception "
                "convert-weights to a .safetensors file, which records the layout"
            )


def _named_by_order(path: str | os.PathLike, tensors: Tensors, model: "keras.Model") -> Tensors:
    """Name the tensors of a file without layer names by matching its layers to the model's by class and order.

    Raises:
        ValueError: The file does not have as many layers of each class as `model`.
    """
    paths = layer_paths(json.loads(model.to_json()))
    weighted = {layer.name for layer in model.layers if layer.weights}
    ours = {place for place, name in paths.items() if name in weighted}
    theirs = {name.rpartition("/")[0] for name in tensors}
    if ours != theirs:
        raise ValueError(
            f"{path} lacks layer names, like any .weights.h5 from Keras 3.5 or earlier, and cannot be "
            f"matched by class and order: it has {len(theirs)} layers with weights, {model.name} has {len(ours)}, and "
            f"only one of them has {listed(sorted(ours ^ theirs))}. Build the network with the same top and auxiliary "
            "heads, or save the weights as .keras"
        )
    split = ((name.rpartition("/"), tensor) for name, tensor in tensors.items())
    return {f"{bare(paths[place])}/{variable}": tensor for (place, _, variable), tensor in split}


def _for_one_channel(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the sum of a kernel for three channels if the variable of this shape is for one; else the kernel."""
    if kernel.ndim == 4 and kernel.shape[2] == 3 and shape == (*kernel.shape[:2], 1, kernel.shape[3]):
        return kernel.sum(axis=2, keepdims=True)
    return kernel


def _root(name: str) -> str:
    """Return the first part of a tensor's name, of the module or layer that it is in."""
    return re.split(r"[./]", name, maxsplit=1)[0]


def _flattened_maps(network: Sequence["keras.layers.Layer"]) -> dict[str, tuple[int, ...]]:
    """Return the (height, width, channels) of each flattened map, by the dense kernel that reads it."""
    from keras import layers

    maps = {id(layer.output): layer.input.shape[1:] for layer in network if isinstance(layer, layers.Flatten)}
    dense = [layer for layer in network if isinstance(layer, layers.Dense)]
    return {f"{bare(layer.name)}/kernel": maps[id(layer.input)] for layer in dense if id(layer.input) in maps}


def read_weights(weights: str | os.PathLike | Checkpoint, family: str, *, transform_input: bool = False) -> Checkpoint:
    """Read a weights file and recognize its publisher by the tensor names.

    Args:
        weights: the path of a file in any format that `read_tensors` supports; ``"imagenet"`` for the network's
            published weights, or ``"imagenet:PUBLISHER"`` for those of a specific publisher, which are downloaded once;
            a run directory or its model.keras, whose preprocessing is the checkpoint's; or a checkpoint, which is
            returned as is.
        family: the network that the weights are for, a key of `keras_inception.registry.NETWORKS`.
        transform_input: torchvision's argument of that name, with which its networks convert ImageNet's normalization
            back to (x - 0.5) / 0.5. The checkpoint's preprocessing then includes this conversion. Published weights do
            not need the argument.

    Raises:
        ValueError: the file is damaged or of an unknown kind, a weight is not finite, no publisher of the network uses
            its tensor names, `transform_input` does not apply to its publisher, or there are no such published weights.
        OSError: the file cannot be read or downloaded.
    """
    if isinstance(weights, Checkpoint):
        return weights
    if is_published(weights):
        entry = find(weights, family)
        checkpoint = checkpoint_of(WeightsFile(fetch(entry)), family, transform_input=transform_input)
        return dataclasses.replace(checkpoint, preprocessing=entry.preprocessing)
    run = run_of(weights)
    checkpoint = checkpoint_of(
        WeightsFile(run / files.MODEL if run else weights), family, transform_input=transform_input
    )
    if run is None:
        return checkpoint
    preprocessing = Preprocessing.named(str(run / files.PREPROCESSING))
    return dataclasses.replace(checkpoint, preprocessing=preprocessing, is_run=True)


def run_of(weights: str | os.PathLike) -> Path | None:
    """Return the run directory that `weights`, or the directory of a model.keras, is; None for any other file.

    Raises:
        ValueError: `weights` is a directory, but not that of a run that has finished an epoch.
    """
    path = Path(weights)
    if path.is_dir():
        for name in (files.PREPROCESSING, files.MODEL):
            if not (path / name).is_file():
                raise ValueError(f"`weights` must be a file or a run directory. Received: {path}, which has no {name}")
        return path
    return path.parent if path.name == files.MODEL and (path.parent / files.PREPROCESSING).is_file() else None


def checkpoint_of(file: WeightsFile, family: str, *, transform_input: bool = False) -> Checkpoint:
    """Return the checkpoint of a weights file. See `read_weights` for arguments and errors."""
    path, tensors = file.path, _renamed(file.tensors, family)
    try:
        publisher = OWN_NAME if lacks_layer_names(tensors) else publisher_of(tensors, family)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    maps = name_maps(family)
    names = maps[publisher].for_file(tensors)
    own_names = all(names.ours(name) == name for name in tensors)
    record = file.record
    description = file.description if own_names and not record else None
    if own_names and record and record.network == family and record.publisher in maps:
        publisher = record.publisher
    elif description and any(name.endswith("_relu") for name in description.layers):  # VGG's names are also Keras'
        publisher = OWN_NAME
    name_map = maps[publisher]
    preprocessing = record.preprocessing if record else name_map.preprocessing
    if transform_input:
        if name_map.transformed is None:
            raise ValueError(f"`transform_input` is for torchvision's weights, and {path} has {publisher}'s")
        preprocessing = name_map.transformed
    if publisher != OWN_NAME:
        description = None
    return Checkpoint(path, family, publisher, tensors, preprocessing, own_names, description)


def _renamed(tensors: Tensors, family: str) -> Tensors:
    """Return the tensors without the prefix of a network with a name of its own, or of a module around it."""
    names = {name: name for name in tensors}
    if all(map(PREFIXED.fullmatch, tensors)):
        names = {name: bare(name) for name in tensors}
    elif not lacks_layer_names(tensors):
        names = without_prefix(tensors, family)
    if len({*names.values()}) < len(tensors):  # two networks
        return tensors
    return {names[name]: tensor for name, tensor in tensors.items()}
