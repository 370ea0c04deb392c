"""What is in a .tflite file: its multiplications, and the weights that do them."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_inception.tflite.delegate import undelegated

MULTIPLYING = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


class Node(NamedTuple):
    """An operation of a file: TFLite's name of it, and LiteRT's descriptions of its tensors."""

    kind: str
    inputs: list[dict]
    outputs: list[dict]


def nodes(path: str | os.PathLike) -> list[Node]:
    """The operations of a file in their order."""
    plain = undelegated(path)
    tensors = {tensor["index"]: tensor for tensor in plain.get_tensor_details()}
    return [
        Node(node["op_name"], *([tensors[i] for i in node[side] if i in tensors] for side in ("inputs", "outputs")))
        for node in plain._get_ops_details()
    ]


def operations(path: str | os.PathLike) -> tuple[int, str]:
    """Multiply-adds of a file's convolutions and dense layers, and what most of them are of: "int8" or "float32"."""
    macs = {"int8": 0, "float32": 0}
    for given, kernel, made in _multiplications(path):
        positions = int(np.prod(made["shape"][:-1]))
        kind = "int8" if given["dtype"] == np.int8 else "float32"
        macs[kind] += positions * int(np.prod(kernel["shape"]))
    return sum(macs.values()), max(macs, key=lambda kind: macs[kind])


def sparsity(path: str | os.PathLike) -> float:
    """Share of the weights of convolutions and dense layers that are zero, as they lie in the file."""
    plain = undelegated(path)
    zeros = total = 0
    for _, kernel, _ in _multiplications(path):
        values = plain.get_tensor(kernel["index"])
        zero_points = kernel["quantization_parameters"]["zero_points"]
        zeros += int((values == (zero_points[0] if len(zero_points) else 0)).sum())
        total += values.size
    return zeros / max(total, 1)


def gzip_mb(path: str | os.PathLike) -> float:
    """Size of the file in MB after gzip, which is what a phone downloads."""
    return len(gzip.compress(Path(path).read_bytes(), mtime=0)) / 1e6


def _multiplications(path: str | os.PathLike) -> Iterator[tuple[dict, dict, dict]]:
    """Input, kernel as it is stored, and output of every operation that has a kernel."""
    found = nodes(path)
    stored = {node.outputs[0]["index"]: node.inputs[0] for node in found if node.kind == "DEQUANTIZE"}
    for node in found:
        if node.kind in MULTIPLYING:
            given, kernel, *_ = node.inputs
            yield given, stored.get(kernel["index"], kernel), node.outputs[0]
