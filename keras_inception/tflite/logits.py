"""Tell from the operations of a .tflite file whether its outputs are logits or probabilities."""

from collections.abc import Mapping, Sequence

# Operations after which logits are still logits, and probabilities still probabilities. The first input is the data.
KEEPING = (
    *("DEQUANTIZE", "QUANTIZE", "CAST", "MEAN", "AVERAGE_POOL_2D"),
    *("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SLICE", "STRIDED_SLICE"),
)
COMBINING = ("ADD", "SUB", "MUL", "DIV")  # such as a bias, or the mean of several networks
# Operations that give logits. The logarithms of probabilities are logits too: their softmax is the probabilities.
SUMMING = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "LOG_SOFTMAX")


def ends_in_logits(operations: Sequence[Mapping], output: int) -> bool:
    """Return True if a tensor is the output of one of `SUMMING`, apart from operations that keep logits as they are.

    Args:
        operations: LiteRT's descriptions of the operations.
        output: index of the tensor.
    """
    own = [operation for operation in operations if operation["op_name"] != "DELEGATE"]  # those stand for some of them
    makers = {index: operation for operation in own for index in operation["outputs"]}
    seen, pending = set(), [output]
    while pending:
        tensor = pending.pop()
        if tensor in seen or tensor not in makers:  # a damaged file may refer to itself
            continue
        seen.add(tensor)
        kind, inputs = makers[tensor]["op_name"], list(makers[tensor]["inputs"])
        if kind in SUMMING:
            return True
        pending += inputs if kind in COMBINING else inputs[:1] if kind in KEEPING else []
    return False
