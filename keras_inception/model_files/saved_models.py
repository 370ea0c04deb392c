"""Open a SavedModel folder as a functional Keras model of one layer."""

import re
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from keras_inception.model_files.kinds import SAVED_MODEL_FILE
from keras_inception.model_files.operations import check_operations
from keras_inception.model_files.tensorflow_layer import TensorFlowLayer

SIGNATURES = ("serving_default", "serve")  # the ones to prefer, in this order
INITIALIZER = "__saved_model_init_op"


def open_saved_model(path: Path) -> keras.Model:
    """Open a SavedModel by its serving signature, after a search for operations that do more than compute.

    The model's inputs have the signature's names, shapes and types. Several outputs become a dict by name.

    Raises:
        ValueError: the SavedModel is damaged, was written by TensorFlow 1, has an operation that could reach outside,
            or has no signature of numeric tensors that can be chosen.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"`KERAS_BACKEND` must be tensorflow to open {path}. Received: {keras.backend.backend()}")
    meta_graph = _meta_graph(path)
    check_operations(path, meta_graph)
    signature = _signature(path, [name for name in meta_graph.signature_def if name != INITIALIZER])
    try:
        loaded = tf.saved_model.load(str(path))
        function = loaded.signatures[signature]
    except Exception as error:  # a damaged SavedModel can make TensorFlow raise anything
        reason = " ".join(str(error).split()).partition(" You may be trying to load on a different device")[0]
        raise ValueError(f"{path} cannot be opened by TensorFlow: {reason}") from None
    specs = function.structured_input_signature[1]
    inputs = {name: _input(path, name, spec) for name, spec in specs.items()}
    if not inputs:
        raise ValueError(f"{path} cannot be opened: its signature {signature!r} takes no tensor")

    def call(tensors):
        # An export feeds float32 pixels to networks of any type.
        outputs = function(**{name: tf.cast(x, specs[name].dtype) for name, x in tensors.items()})
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    name = re.sub(r"[^\w.-]", "_", path.resolve().name)
    layer = TensorFlowLayer(call, function.variables, owner=loaded, name=f"{name}_{signature}")
    return keras.Model(
        list(inputs.values()) if len(inputs) > 1 else next(iter(inputs.values())), layer(inputs), name=name
    )


def _meta_graph(path: Path) -> Any:
    """Read the only graph of a SavedModel of TensorFlow 2, as data."""
    saved_model = saved_model_pb2.SavedModel()
    try:
        saved_model.ParseFromString((path / SAVED_MODEL_FILE).read_bytes())
    except DecodeError as error:
        raise ValueError(f"{path} is not a SavedModel that can be opened: {error}") from None
    graphs = saved_model.meta_graphs
    if len(graphs) != 1 or not graphs[0].HasField("object_graph_def"):
        raise ValueError(f"{path} is not a SavedModel of TensorFlow 2: save the model again with TensorFlow 2")
    return graphs[0]


def _signature(path: Path, names: list[str]) -> str:
    for name in SIGNATURES:
        if name in names:
            return name
    if len(names) == 1:
        return names[0]
    found = ", ".join(sorted(names)) or "none"
    raise ValueError(f"{path} must have a signature named {' or '.join(SIGNATURES)}, or one in all. Received: {found}")


def _input(path: Path, name: str, spec: tf.TensorSpec) -> keras.KerasTensor:
    if not (spec.dtype.is_floating or spec.dtype.is_integer) or spec.shape.rank is None:
        raise ValueError(
            f"{path} cannot be opened: it must take images as tensors of numbers. Received: its input {name!r} takes "
            f"{spec.dtype.name} of shape {spec.shape}"
        )
    return keras.Input(batch_shape=tuple(spec.shape), dtype=spec.dtype.name, name=name)
