"""Which operations of a .tflite file a delegate leaves to the slow path: the default one, XNNPACK, and the GPU's."""

import os
from typing import TYPE_CHECKING

from keras_inception.utils.quiet import silenced

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

# What the GPU delegate runs, by https://ai.google.dev/edge/litert/performance/gpu (2026-11). Its source knows more.
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
    """The operations that the interpreter runs itself, in the order of the graph, such as ``["SOFTMAX"]``."""
    nodes = undelegated(path)._get_ops_details()
    producer = {tensor: position for position, node in enumerate(nodes) for tensor in node["outputs"]}
    inside: set[int] = set()
    for node in _delegate_nodes(path, len(nodes)):
        # A delegate's node stands for everything between its outputs and its inputs.
        given = set(node["inputs"])
        pending = list(node["outputs"])
        while pending:
            tensor = pending.pop()
            position = producer.get(tensor)
            if tensor not in given and position is not None and position not in inside:
                inside.add(position)
                pending.extend(nodes[position]["inputs"])
    return [node["op_name"] for position, node in enumerate(nodes) if position not in inside]


def partitions(path: str | os.PathLike) -> int:
    """In how many pieces the delegate runs the graph; between them, the interpreter does."""
    return len(_delegate_nodes(path, len(undelegated(path)._get_ops_details())))


def _delegate_nodes(path: str | os.PathLike, count: int) -> list[dict]:
    """What the delegate has put in place of some of a file's `count` operations."""
    from ai_edge_litert.interpreter import Interpreter

    with silenced():
        delegated = Interpreter(str(path))
        delegated.allocate_tensors()
    return delegated._get_ops_details()[count:]


def outside_gpu(path: str | os.PathLike) -> list[str]:
    """The kinds of operations that the GPU delegate does not list, `ON_GPU`, by name."""
    return sorted({node["op_name"] for node in undelegated(path)._get_ops_details()} - ON_GPU)


def undelegated(file: str | os.PathLike | bytes, *, keep: bool = False) -> "Interpreter":
    """LiteRT's interpreter of a file, or of what is in one, that runs each operation itself.

    Args:
        keep: every tensor, to be read after it has run.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = Interpreter(
        **({"model_content": file} if isinstance(file, bytes) else {"model_path": str(file)}),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=keep,
    )
    plain.allocate_tensors()
    return plain
