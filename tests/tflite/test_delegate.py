"""The operations of exported files that the delegates run."""

import pytest

from keras_inception.tflite.delegate import delegation, outside_delegate
from keras_inception.tflite.operations import nodes


@pytest.mark.parametrize(("variant", "outside"), [("float32", []), ("int8", ["QUANTIZE", "SOFTMAX", "QUANTIZE"])])
def test_the_delegate_runs_the_network_in_one_partition(exported, variant, outside):
    path = exported[0] / f"colours_{variant}.tflite"
    assert outside_delegate(path) == outside
    assert len(delegation(path).partitions) == 1
    kinds = [node["op_name"] for node in delegation(path).nodes]
    assert kinds == [node.kind for node in nodes(path)]
