"""Trace a network's layers in execution order, with the producer and the consumers of each tensor.

Only shapes are traced: nothing is computed, and weights are not read. Figures are for one image.
"""

import functools
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers

from keras_inception.layers import LocalResponseNormalization

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
# Operations without weights that still perform multiply-adds, such as `keras.ops.matmul`.
MULTIPLYING = {"Conv", "ConvTranspose", "DepthwiseConv", "Dot", "Einsum", "Matmul", "SeparableConv", "Tensordot"}
# Layers that a runtime fuses into the preceding layer or runs in place.
IN_PLACE = (
    *(layers.Activation, layers.ELU, layers.LeakyReLU, layers.PReLU, layers.ReLU, layers.Softmax),
    *(layers.BatchNormalization, layers.Dropout, layers.SpatialDropout2D, layers.Rescaling),
    *(layers.Flatten, layers.Reshape),
)


def multiply_adds(positions: Sequence[int], kernel: Sequence[int]) -> int:
    """Return the multiply-adds (MACs) of a kernel applied at every position.

    A 5×5 convolution from 192 to 32 channels on a 28×28 map is ``multiply_adds((28, 28), (5, 5, 192, 32))``, and a
    dense layer is ``multiply_adds((), (inputs, outputs))``.

    Args:
        positions: (height, width) of the output map.
        kernel: (height, width, input channels per group, output channels).
    """
    return math.prod(positions) * math.prod(kernel)


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a layer. A layer that is called twice has two steps.

    Attributes:
        name: name of the layer, ``{model}/{layer}`` for a layer of a nested model.
        operation: a Keras layer, or an operation such as ``x + y``.
        inputs: input tensors, with a batch size of 1.
        outputs: output tensors, with a batch size of 1.
        parameters: number of weights; 0 if an earlier step already counts them.
        trainable: number of trainable weights; 0 if an earlier step already counts them.
    """

    name: str
    operation: keras.Operation
    inputs: tuple[keras.KerasTensor, ...]
    outputs: tuple[keras.KerasTensor, ...]
    parameters: int
    trainable: int

    @property
    def kind(self) -> str:
        """Return the name of the layer's class."""
        return type(self.operation).__name__

    @property
    def values(self) -> int:
        """Return the number of output values."""
        return sum(map(size, self.outputs))

    @property
    def macs(self) -> int | None:
        """Return the multiply-adds of a convolution or dense layer, 0 for other layers, or None if they are unknown."""
        layer = self.operation
        if isinstance(layer, layers.Dense):
            return multiply_adds(self.outputs[0].shape[:-1], layer.kernel.shape)
        if isinstance(layer, CONVOLUTIONS):
            return multiply_adds(_positions(layer, self.outputs[0]), layer.kernel.shape)
        if isinstance(layer, TRANSPOSED):
            return multiply_adds(_positions(layer, self.inputs[0]), layer.kernel.shape)
        if isinstance(layer, SEPARABLE):
            kernels = layer.depthwise_kernel, layer.pointwise_kernel
            return sum(multiply_adds(_positions(layer, self.outputs[0]), kernel.shape) for kernel in kernels)
        weights = () if isinstance(layer, IN_PLACE) else getattr(layer, "weights", ())
        return None if self.kind in MULTIPLYING or any(len(weight.shape) > 1 for weight in weights) else 0

    @property
    def lrn_macs(self) -> int:
        """Return the multiply-adds of the banded 1×1 convolution in our LRN, zeros included; 0 for other layers."""
        if not isinstance(self.operation, LocalResponseNormalization):
            return 0
        *positions, channels = self.outputs[0].shape
        return multiply_adds(positions, (channels, channels))


@dataclass(frozen=True, eq=False)
class Graph:
    """A network's steps in execution order, with its input and output tensors."""

    steps: tuple[Step, ...]
    inputs: tuple[keras.KerasTensor, ...]
    outputs: tuple[keras.KerasTensor, ...]

    def made_by(self, x: keras.KerasTensor) -> Step | None:
        """Return the step that produces a tensor, or None for an input."""
        return self._makers.get(id(x))

    def only_reader(self, x: keras.KerasTensor) -> Step | None:
        """Return a tensor's only consumer, or None if there are several or it is a network output."""
        readers = self._readers[id(x)]
        return readers[0] if len(readers) == 1 and not any(x is output for output in self.outputs) else None

    @functools.cached_property
    def _makers(self) -> dict[int, Step]:
        return {id(x): step for step in self.steps for x in step.outputs}

    @functools.cached_property
    def _readers(self) -> defaultdict[int, list[Step]]:
        readers = defaultdict(list)
        for step in self.steps:
            for x in step.inputs:
                readers[id(x)].append(step)
        return readers

    def peaks(self) -> list[int]:
        """Return the number of live values at each step: its inputs and outputs, and tensors that later steps read.

        A layer in `IN_PLACE` reuses its input's memory if no other step reads that input. Scratch memory is not
        counted.
        """
        readers = Counter(id(x) for step in self.steps for x in step.inputs)
        readers.update(map(id, self.outputs))
        alive = {id(x): size(x) for x in self.inputs}
        peaks = []
        for step in self.steps:
            first = step.inputs[0]
            if isinstance(step.operation, IN_PLACE) and readers[id(first)] == 1 and size(first) == step.values:
                del alive[id(first)]
            alive.update((id(x), size(x)) for x in step.outputs)
            peaks.append(sum(alive.values()))
            readers.subtract(id(x) for x in step.inputs)
            for x in (*step.inputs, *step.outputs):
                if not readers[id(x)]:
                    alive.pop(id(x), None)
        return peaks


def walk(model: keras.Model, input_shape: Sequence[int] | None = None) -> Graph:
    """Trace a functional or sequential model, including nested models, in execution order.

    Args:
        model: the model to trace; it is not modified.
        input_shape: (height, width, channels) to trace at; None uses the model's own.

    Raises:
        ValueError: the model is not functional, its input size is unknown and `input_shape` is not given, or the
            model cannot take `input_shape`.
    """
    check_functional(model)
    shapes = _shapes(model, input_shape)
    inputs = [keras.KerasTensor((1, *shape), x.dtype) for shape, x in zip(shapes, model.inputs, strict=True)]
    recorder = _Recorder(input_shape)
    outputs = recorder.run(model, inputs)
    if not recorder.steps:
        raise ValueError(f"`model` must have at least one layer. Received: {model.name}, which has none")
    return Graph(tuple(recorder.steps), tuple(inputs), tuple(keras.tree.flatten(outputs)))


def check_functional(model) -> None:
    """Raise ValueError unless `model` is a functional or sequential Keras model with known inputs."""
    if is_functional(model):
        return
    received, remedy = type(model).__name__, ""
    if isinstance(model, keras.Sequential):
        remedy = " that is not built: call its build((None, height, width, channels)), or let it begin with keras.Input"
    elif isinstance(model, keras.Model):
        remedy = ", a subclass: call it on a keras.Input, and make a keras.Model of both tensors"
    raise ValueError(f"`model` must be a functional Keras model. Received: {received}{remedy}")


def is_functional(model) -> bool:
    """Return True for a functional or sequential Keras model with known inputs."""
    return isinstance(model, keras.Model) and bool(getattr(model, "inputs", None))


def size(x: keras.KerasTensor) -> int:
    """Return the number of values in a tensor."""
    return math.prod(x.shape)


class _Recorder:
    """Runs models on symbolic tensors and records the steps."""

    def __init__(self, input_shape: Sequence[int] | None):
        self.input_shape = input_shape
        self.steps: list[Step] = []

    def run(self, model: keras.Model, inputs, prefix: str = ""):
        """Record a model's steps and return its outputs as a list."""
        graph = keras.Function(model.inputs, model.outputs)
        return graph._run_through_graph(inputs, operation_fn=lambda operation: self._recorded(operation, prefix))

    def _recorded(self, operation: keras.Operation, prefix: str):
        name = prefix + operation.name

        def call(*args, **kwargs):
            if is_functional(operation):
                return self.run(operation, args[0], f"{name}/")
            inputs = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
            outputs = self._outputs(operation, name, args, kwargs)
            seen = any(step.operation is operation for step in self.steps)
            counts = (0, 0) if seen else (_count(operation, "weights"), _count(operation, "trainable_weights"))
            self.steps.append(Step(name, operation, tuple(inputs), tuple(keras.tree.flatten(outputs)), *counts))
            return outputs

        return call

    def _outputs(self, operation: keras.Operation, name: str, args, kwargs):
        try:
            if isinstance(operation, layers.Dense) and args[0].shape[-1] != operation.kernel.shape[0]:
                raise ValueError(f"it expects {operation.kernel.shape[0]} inputs, not {args[0].shape[-1]}")
            outputs = _known(operation, args)
            if outputs is None:
                outputs = operation.compute_output_spec(*args, **kwargs)
            # Copies, because some operations return their input tensor itself.
            outputs = keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape, x.dtype), outputs)
            if any((side or 0) < 1 for x in keras.tree.flatten(outputs) for side in x.shape):
                raise ValueError(f"its output would be empty for an input of {args[0].shape[1:]}")
        except ValueError as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"`input_shape` must be one that {name} can work with: {reason}. "
                f"Received: input_shape={self.input_shape}"
            ) from None
        return outputs


def _known(operation: keras.Operation, args: tuple) -> keras.KerasTensor | None:
    """Return the output of a layer built for this exact shape, because some layers are slow to compute it."""
    if not isinstance(operation, layers.Layer) or not isinstance(operation.output, keras.KerasTensor):
        return None
    built_for, given = (keras.tree.flatten(x) for x in (operation.input, args))
    if [x.shape[1:] for x in built_for] != [getattr(x, "shape", ())[1:] for x in given]:
        return None
    return keras.KerasTensor((1, *operation.output.shape[1:]), operation.output.dtype)


def _shapes(model: keras.Model, input_shape: Sequence[int] | None) -> list[tuple[int, ...]]:
    own = [tuple(x.shape[1:]) for x in model.inputs]
    if input_shape is not None:
        given = tuple(input_shape)
        if len(own) != 1:
            raise ValueError(
                f"`input_shape` requires a model with one input: {model.name} has {len(own)}. Received: {given}"
            )
        if len(given) != len(own[0]) or not all(isinstance(side, int) and side > 0 for side in given):
            raise ValueError(f"`input_shape` must be {len(own[0])} positive integers. Received: input_shape={given}")
        if own[0][-1] not in (None, given[-1]):
            raise ValueError(f"`input_shape` must end in {own[0][-1]} channels. Received: input_shape={given}")
        return [given]
    for shape in own:
        if None in shape:
            raise ValueError(
                f"`input_shape` must be given as (height, width, channels): {model.name} takes any size, {shape}. "
                "Received: input_shape=None"
            )
    return own


def _positions(layer: layers.Layer, x: keras.KerasTensor) -> tuple[int, ...]:
    return x.shape[2:] if layer.data_format == "channels_first" else x.shape[1:-1]


def _count(operation: keras.Operation, weights: str) -> int:
    return sum(math.prod(weight.shape) for weight in getattr(operation, weights, ()))
