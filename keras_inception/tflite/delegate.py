"""Find the operations of a .tflite file that the XNNPACK delegate leaves to the slower interpreter."""

import os
from typing import TYPE_CHECKING, NamedTuple

from keras_inception.preprocessing import Preprocessing
from keras_inception.tflite.classifier import TFLiteClassifier, interpreter

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter


def outside_delegate(path: str | os.PathLike) -> list[str]:
    """Return the operations that the default delegate does not run, in graph order, such as ``["SOFTMAX"]``."""
    nodes, partitions = delegation(path)
    producer = {tensor: position for position, node in enumerate(nodes) for tensor in node["outputs"]}
    inside: set[int] = set()
    for partition in partitions:
        # A partition replaces every operation between its outputs and its inputs.
        seen, pending = set(partition["inputs"]), list(partition["outputs"])
        while pending:
            tensor = pending.pop()
            if tensor in producer and tensor not in seen:
                seen.add(tensor)
                inside.add(producer[tensor])
                pending.extend(nodes[producer[tensor]]["inputs"])
    return [node["op_name"] for position, node in enumerate(nodes) if position not in inside]


class Delegation(NamedTuple):
    """The operations of a file and the parts of its graph that the default delegate takes over.

    Attributes:
        nodes: LiteRT's descriptions of the operations, in graph order.
        partitions: LiteRT's descriptions of the nodes that the delegate puts in place of parts of the graph.
    """

    nodes: list[dict]
    partitions: list[dict]


def delegation(path: str | os.PathLike) -> Delegation:
    """Return the operations of a file and the partitions of the default delegate."""
    details = interpreter(path)._get_ops_details()
    nodes = [node for node in details if node["op_name"] != "DELEGATE"]
    return Delegation(nodes, details[len(nodes) :])


def undelegated(file: str | os.PathLike | bytes, *, keep: bool = False) -> "Interpreter":
    """Open a file, or its content, in an interpreter that runs each operation itself, without delegates.

    Args:
        file: the .tflite file, or its content.
        keep: keep the value of every tensor, so that it can be read after a run.
    """
    return interpreter(file, experimental_preserve_all_tensors=keep, **_no_delegates())


def without_delegates(path: str | os.PathLike, preprocessing: Preprocessing | None = None) -> TFLiteClassifier:
    """Open a classifier that runs in LiteRT's own kernels instead of XNNPACK's.

    Args:
        path: the .tflite file.
        preprocessing: how the file's input is normalized; None takes what the file's metadata say.
    """
    return TFLiteClassifier(path, os.cpu_count() or 1, preprocessing=preprocessing, **_no_delegates())


def _no_delegates() -> dict:
    from ai_edge_litert.interpreter import OpResolverType

    return {"experimental_op_resolver_type": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}
