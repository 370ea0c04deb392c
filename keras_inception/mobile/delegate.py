"""Which operations of a .tflite file the default delegate, XNNPACK, leaves to the slow path."""

import os

from keras_inception.quiet import silenced


def outside_delegate(path: str | os.PathLike) -> list[str]:
    """The operations that the interpreter runs itself, in the order of the graph, such as ``["SOFTMAX"]``."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    plain.allocate_tensors()
    with silenced():
        delegated = Interpreter(str(path))
        delegated.allocate_tensors()
    nodes = plain._get_ops_details()
    producer = {tensor: position for position, node in enumerate(nodes) for tensor in node["outputs"]}
    inside: set[int] = set()
    for node in delegated._get_ops_details()[len(nodes) :]:
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
