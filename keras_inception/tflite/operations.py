"""Read the operations of a .tflite file: their kinds, multiply-adds and weights."""

import gzip
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_inception.tflite.delegate import undelegated
from keras_inception.tflite.isolation import IsolatedSession

MULTIPLYING = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


class Node(NamedTuple):
    """An operation of a file.

    Attributes:
        kind: TFLite's name of the operation, such as "CONV_2D".
        inputs: LiteRT's descriptions of the input tensors.
        outputs: LiteRT's descriptions of the output tensors.
    """

    kind: str
    inputs: list[dict]
    outputs: list[dict]


def nodes(path: str | os.PathLike) -> list[Node]:
    """Return the operations of a file in graph order."""
    plain = undelegated(path)
    return _nodes(plain._get_ops_details(), plain.get_tensor_details())


class Arithmetic(NamedTuple):
    """The multiplications of a file.

    Attributes:
        macs: multiply-adds of its convolutions and dense layers.
        kind: the type of most of them, "int8" or "float32".
        weights: the type in which most of their weights are stored, such as "float16".
    """

    macs: int
    kind: str
    weights: str


def arithmetic(path: str | os.PathLike) -> Arithmetic:
    """Return the multiply-adds of a file and their types."""
    kinds, weights = Counter({"float32": 0}), Counter({"float32": 0})
    opened = IsolatedSession(path, delegates=False)
    for inputs, kernel, outputs in _multiplications(_nodes(opened.operations(), opened.tensors())):
        macs = math.prod(outputs["shape"][:-1]) * math.prod(kernel["shape"])
        kinds["int8" if inputs["kind"] == "int8" else "float32"] += macs
        weights[kernel["kind"]] += macs
    return Arithmetic(kinds.total(), *(found.most_common(1)[0][0] for found in (kinds, weights)))


def sparsity(path: str | os.PathLike) -> float:
    """Return the share of zeros, from 0 to 1, in the stored weights of convolutions and dense layers."""
    plain = undelegated(path)
    zeros = total = 0
    for _, kernel, _ in _multiplications(_nodes(plain._get_ops_details(), plain.get_tensor_details())):
        values = plain.get_tensor(kernel["index"])
        zero_points = kernel["quantization_parameters"]["zero_points"]
        zeros += int((values == (zero_points[0] if len(zero_points) else 0)).sum())
        total += values.size
    return zeros / max(total, 1)


def gzip_mb(path: str | os.PathLike) -> float:
    """Return the size of the file in MB after gzip, which is what a phone downloads."""
    return len(gzip.compress(Path(path).read_bytes(), mtime=0)) / 1e6


def _nodes(operations: Sequence[Mapping], tensors: Sequence[dict]) -> list[Node]:
    numbered = {tensor["index"]: tensor for tensor in tensors}
    return [
        Node(node["op_name"], *([numbered[i] for i in node[side] if i in numbered] for side in ("inputs", "outputs")))
        for node in operations
    ]


def _multiplications(found: Sequence[Node]) -> Iterator[tuple[dict, dict, dict]]:
    """Yield the input, stored kernel and output of every operation that has a kernel."""
    complete = [node for node in found if node.inputs and node.outputs]  # all are, but in a damaged file
    stored = {node.outputs[0]["index"]: node.inputs[0] for node in complete if node.kind == "DEQUANTIZE"}
    for node in complete:
        if node.kind in MULTIPLYING and len(node.inputs) > 1:
            inputs, kernel, *_ = node.inputs
            yield inputs, stored.get(kernel["index"], kernel), node.outputs[0]
