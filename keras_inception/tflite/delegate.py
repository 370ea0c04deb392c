"""Find the operations of a .tflite file that a delegate, XNNPACK or the GPU's, leaves to the slower interpreter."""

import os
from typing import TYPE_CHECKING, NamedTuple

from keras_inception.tflite.classifier import interpreter

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

# Operations that the GPU delegate supports, by https://ai.google.dev/edge/litert/performance/gpu (2026-11). Its source
# lists more.
ON_GPU = frozenset(
    (
        "ADD",
        "AVERAGE_POOL_2D",
        "CONCATENATION",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "EXP",
        "FULLY_CONNECTED",
        "LOGISTIC",
        "LSTM",
        "MAX_POOL_2D",
        "MAXIMUM",
        "MINIMUM",
        "MUL",
        "PAD",
        "PRELU",
        "RELU",
        "RELU6",
        "RESHAPE",
        "RESIZE_BILINEAR",
        "SOFTMAX",
        "STRIDED_SLICE",
        "SUB",
        "TRANSPOSE_CONV",
    )
)


def outside_delegate(path: str | os.PathLike) -> list[str]:
    """Return the operations that the interpreter runs itself in graph order, such as ``["SOFTMAX"]``."""
    nodes, partitions = delegation(path)
    producer = {tensor: position for position, node in enumerate(nodes) for tensor in node["outputs"]}
    inside: set[int] = set()
    for partition in partitions:
        # A partition replaces every operation between its outputs and its inputs.
        inputs = set(partition["inputs"])
        pending = list(partition["outputs"])
        while pending:
            tensor = pending.pop()
            position = producer.get(tensor)
            if tensor not in inputs and position is not None and position not in inside:
                inside.add(position)
                pending.extend(nodes[position]["inputs"])
    return [node["op_name"] for position, node in enumerate(nodes) if position not in inside]


def outside_gpu(path: str | os.PathLike) -> list[str]:
    """Return the sorted kinds of operations that the GPU delegate does not list in `ON_GPU`."""
    return sorted({node["op_name"] for node in delegation(path).nodes} - ON_GPU)


class Delegation(NamedTuple):
    """How the default delegate runs a file. Between two partitions, the interpreter runs operations itself.

    Attributes:
        nodes: LiteRT's descriptions of the operations, in graph order.
        partitions: descriptions of the nodes with which the delegate replaces parts of the graph.
    """

    nodes: list[dict]
    partitions: list[dict]


def delegation(path: str | os.PathLike) -> Delegation:
    """Return the operations of a file and the partitions that the default delegate makes of them."""
    details = interpreter(path)._get_ops_details()
    nodes = [node for node in details if node["op_name"] != "DELEGATE"]
    return Delegation(nodes, details[len(nodes) :])


def undelegated(file: str | os.PathLike | bytes, *, keep: bool = False) -> "Interpreter":
    """Open a file, or its content, in an interpreter that runs each operation itself, without delegates.

    Args:
        file: the .tflite file, or its content.
        keep: keep every tensor, to be read after a run.
    """
    from ai_edge_litert.interpreter import OpResolverType

    return interpreter(
        file,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=keep,
    )
