"""A publisher's weights on their way into one of our networks."""

import dataclasses
import json
import logging
import os
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from keras_inception.preprocessing import Preprocessing
from keras_inception.weights import published
from keras_inception.weights.layouts import Description, description_of, description_of_model, differences, record_of
from keras_inception.weights.publishers import PUBLISHERS, listed, publisher_of
from keras_inception.weights.publishers.namemap import OWN, NameMap
from keras_inception.weights.readers import read_tensors
from keras_inception.weights.readers.keras import lacks_layer_names, layer_paths

logger = logging.getLogger(__name__)

OWN_NAME = "keras_inception"
# What the layers of heads and tops begin with: a network may be built without them.
CLASSIFIERS = ("aux", "fc", "predictions")


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a file, by their publisher's names and in the publisher's layout.

    Attributes:
        path: of the file, for messages.
        family: the network that the weights are for, a key of `names.PUBLISHERS`.
        publisher: whose layout the weights are for, a key of `names.PUBLISHERS` of the family.
        tensors: float32 arrays by name.
        preprocessing: what the publisher feeds the network.
        own_names: the tensors have our names, whoever the publisher is.
        description: of the network in the file, if it has our names and is of Keras.
    """

    path: str | os.PathLike
    family: str
    publisher: str
    tensors: dict[str, np.ndarray]
    preprocessing: Preprocessing
    own_names: bool = False
    description: Description | None = None

    @property
    def names(self) -> NameMap:
        """The map from the tensors' names to ours."""
        return OWN if self.own_names else PUBLISHERS[self.family][self.publisher].for_file(self.tensors)

    def check_option(self, argument: str, given, of_the_weights) -> None:
        """Raise ValueError if an argument of the network is `given`, not None, and is not what the weights need."""
        if given not in (None, of_the_weights):
            raise ValueError(
                f"`{argument}` must be {of_the_weights!r} with the {self.publisher} weights of {self.path}. "
                f"Received: {argument}={given!r}"
            )

    def load_into(self, model: keras.Model, *, skip_mismatch: bool = False) -> None:
        """Set every variable of `model`, or none.

        Tensors of heads or of a top that `model` does not have are skipped, and logged.

        Args:
            skip_mismatch: set what fits, and log what does not instead of raising.

        Raises:
            ValueError: a variable has no tensor, a tensor has no variable, or their shapes differ; or the file is of
                a network in another layout than `model`.
        """
        variables = {f"{layer.name}/{weight.name}": weight for layer in model.layers for weight in layer.weights}
        maps = _flattened_maps(model)
        name_map = self.names
        tensors, nameless = self.tensors, lacks_layer_names(self.tensors)
        if nameless:
            tensors = _named_by_order(self.path, tensors, model)
        values, left_over, skipped, misfits = {}, [], [], []
        for name, tensor in tensors.items():
            key = name_map.ours(name)
            if key in variables and key not in values:
                shape = tuple(variables[key].shape)
                value = name_map.in_keras_layout(tensor, shape, maps.get(key))
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
        problems = {"missing": missing, "left over": left_over, "of another shape": misfits}
        found = "; ".join(f"{problem}: {listed(names)}" for problem, names in problems.items() if names)
        if found and (nameless or not skip_mismatch):
            raise ValueError(f"{self.path} does not fit the network. Tensors {found}")
        self._check_layout(model)
        if found:
            logger.warning(
                "%s does not fit the network everywhere, and was loaded in part. Tensors %s", self.path, found
            )
        if skipped:
            logger.info("%s: skipped the tensors of heads or top not asked for: %s", self.path, listed(skipped))
        for key, value in values.items():
            variables[key].assign(value)

    def _check_layout(self, model: keras.Model) -> None:
        """Raise ValueError if the network in the file has `model`'s layers, but they are set or joined differently."""
        if self.description is None:
            return
        if layers := differences(self.description, description_of_model(model), ignored=CLASSIFIERS):
            raise ValueError(
                f"{self.path} holds {model.name} in another layout, in which its weights give other numbers: it "
                f"differs in {listed(layers)}. Open it by keras_inception.load; or let keras-inception convert-weights "
                "make a .safetensors of it, which tells the layout"
            )


def _named_by_order(
    path: str | os.PathLike, tensors: dict[str, np.ndarray], model: keras.Model
) -> dict[str, np.ndarray]:
    """Name the tensors of a file without the names of layers: its layers are the model's by class and order.

    Raises:
        ValueError: The file does not have as many layers of each class as `model`.
    """
    paths = layer_paths(json.loads(model.to_json()))
    weighted = {layer.name for layer in model.layers if layer.weights}
    ours = {place for place, name in paths.items() if name in weighted}
    theirs = {name.rpartition("/")[0] for name in tensors}
    if ours != theirs:
        raise ValueError(
            f"{path} lacks the names of its layers, as a .weights.h5 of Keras 3.5 and earlier does, and cannot be "
            f"matched by class and order: it has {len(theirs)} layers with weights, {model.name} has {len(ours)}, and "
            f"only one of them has {listed(sorted(ours ^ theirs))}. Build the network with the same top and auxiliary "
            "heads, or save the weights as .keras"
        )
    split = ((name.rpartition("/"), tensor) for name, tensor in tensors.items())
    return {f"{paths[place]}/{variable}": tensor for (place, _, variable), tensor in split}


def _flattened_maps(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Kernels of the dense layers that read a flattened map, with the (height, width, channels) of that map."""
    maps = {id(layer.output): layer.input.shape[1:] for layer in model.layers if isinstance(layer, layers.Flatten)}
    dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
    return {f"{layer.name}/kernel": maps[id(layer.input)] for layer in dense if id(layer.input) in maps}


def read_weights(weights: str | os.PathLike | Checkpoint, family: str, *, transform_input: bool = False) -> Checkpoint:
    """Read a file of weights and tell by its tensors' names who published them.

    Args:
        weights: a file of a kind that `read_tensors` knows, by its content; or ``"imagenet"`` for the family's
            published weights, ``"imagenet:PUBLISHER"`` for those of one of several (`published.PUBLISHED`), which are
            downloaded once; or a checkpoint, which is given back.
        family: the network that the weights are meant for, a key of `names.PUBLISHERS`.
        transform_input: torchvision's argument of that name: its networks then take their ImageNet normalisation back
            to (x - 0.5) / 0.5, which is composed into the checkpoint's preprocessing. Published weights know by
            themselves.

    Raises:
        ValueError: the file is damaged or of an unknown kind, a weight is not finite, no publisher of the family
            names its tensors so, or `transform_input` is asked of a publisher that has no such thing; or there are no
            such published weights.
        OSError: the file cannot be read, or not be downloaded.
    """
    if isinstance(weights, Checkpoint):
        return weights
    entry = published.find(weights, family) if published.is_published(weights) else None
    path = published.fetch(entry) if entry else weights
    checkpoint = checkpoint_of(path, read_tensors(path), family, transform_input=transform_input)
    return dataclasses.replace(checkpoint, preprocessing=entry.preprocessing) if entry else checkpoint


def checkpoint_of(
    path: str | os.PathLike, tensors: dict[str, np.ndarray], family: str, *, transform_input: bool = False
) -> Checkpoint:
    """The checkpoint of a file's tensors, told by their names and by what else the file says, as in `read_weights`."""
    try:
        publisher = OWN_NAME if lacks_layer_names(tensors) else publisher_of(tensors, family)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    names = PUBLISHERS[family][publisher].for_file(tensors)
    own_names = all(names.ours(name) == name for name in tensors)
    record = record_of(path)
    description = description_of(path) if own_names and not record else None
    if own_names and record and record.network == family and record.publisher in PUBLISHERS[family]:
        publisher = record.publisher
    elif description and any(name.endswith("_relu") for name in description.layers):  # VGG's names are Keras' too
        publisher = OWN_NAME
    name_map = PUBLISHERS[family][publisher]
    preprocessing = record.preprocessing if record else name_map.preprocessing
    if transform_input:
        if name_map.transformed is None:
            raise ValueError(f"`transform_input` is for torchvision's weights, and {path} has {publisher}'s")
        preprocessing = name_map.transformed
    if publisher != OWN_NAME:
        description = None
    return Checkpoint(path, family, publisher, tensors, preprocessing, own_names, description)
