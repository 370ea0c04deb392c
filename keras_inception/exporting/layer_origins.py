"""Trace the operations of a .tflite file back to the layers of its network."""

import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from keras_inception.tflite.operations import MULTIPLYING, Node, nodes

if TYPE_CHECKING:
    import keras

CONVERTING = ("QUANTIZE", "DEQUANTIZE", "FAKE_QUANT")  # type conversions, which belong to no layer


@contextmanager
def recorded_scopes(model: "keras.Model") -> Iterator[dict[str, str]]:
    """Record TensorFlow's name scope of each layer while a model around `model` is traced inside the block.

    Layer names do not determine the scopes: with layers ``conv`` and ``conv_1``, the scope ``conv_1`` may belong to
    ``conv``.

    Yields:
        A dict from scope to layer name, filled as the model is traced.
    """
    import tensorflow as tf

    scopes: dict[str, str] = {}

    def recording(layer: "keras.layers.Layer"):
        call = layer.call

        @functools.wraps(call)
        def function(*args, **kwargs):
            scope = tf.get_current_name_scope()
            if scope.count("/") > 1:  # inside both models; Keras also traces the inner one alone
                scopes[scope] = layer.name
            return call(*args, **kwargs)

        return function

    for layer in model.layers:
        layer.call = recording(layer)
    try:
        yield scopes
    finally:
        for layer in model.layers:
            del layer.call


class LayerOrigins:
    """Find the layer of the original model that an operation of a .tflite file comes from.

    Args:
        original: the functional model before rewrites.
        model: the model after rewrites, which name new layers ``{layer}_{what}``. The file was converted from it.
        scopes: the scopes of `model`, from `recorded_scopes`.
        size: (height, width) of the images.
    """

    def __init__(self, original: "keras.Model", model: "keras.Model", scopes: Mapping[str, str], size: tuple[int, int]):
        from keras_inception.graph import IN_PLACE, walk
        from keras_inception.layers import FakeQuantization

        self._known = {layer.name for layer in original.layers}
        self._scopes = scopes
        graph = walk(model, (*size, 3))
        makers = {id(x): step.name.split("/")[0] for step in graph.steps for x in step.outputs}
        self._last = makers[id(graph.outputs[0])]
        self._before = {  # from each layer that can be fused to the layer that it is fused into
            step.name: makers[id(step.inputs[0])]
            for step in graph.steps
            if isinstance(step.operation, (*IN_PLACE, FakeQuantization)) and graph.made_by(step.inputs[0])
        }

    def operations(self, path: str | os.PathLike) -> list[tuple[str | None, Node]]:
        """Return (layer, operation) for each operation of a file, in order; the layer is None if it belongs to none."""
        found = nodes(path)
        output = found[-1].outputs[0]["name"]
        return [(None if node.kind in CONVERTING else self._origin(node, output), node) for node in found]

    def _origin(self, node: Node, output: str) -> str | None:
        """Return the layer of an operation. Of fused layers, return the first: the convolution, not its ReLU.

        The converter names a fused operation after all layers in it, and also after layers that merely have equal
        constants. So only layers that directly precede the first named layer count.
        """
        name = node.outputs[0]["name"]
        if name.startswith(output):  # named after the output of the file, not after a layer
            return self._original(self._last)
        named = [self._layer(part) for part in name.split(";")]
        row = [named[0]] if named[0] else []
        while row and row[-1] in self._before:
            row.append(self._before[row[-1]])
        if node.kind not in MULTIPLYING:
            row = [layer for layer in row if layer in named]
        return self._original(row[-1]) if row else None

    def _layer(self, name: str) -> str | None:
        path = name.split("/")
        scopes = ("/".join(path[:length]) for length in range(len(path), 0, -1))
        return next((self._scopes[scope] for scope in scopes if scope in self._scopes), None)

    def _original(self, layer: str) -> str | None:
        while layer and layer not in self._known:
            layer = layer.rpartition("_")[0]
        return layer or None
