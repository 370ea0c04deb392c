"""Find the oldest runtime that can run a .tflite file.

A runtime knows each operation up to some version. An older one refuses a file with an error such as "Didn't find op for
builtin opcode 'FULLY_CONNECTED' version '12'".
"""

import os
from pathlib import Path
from typing import NamedTuple

from keras_inception.tflite.model_entries import operator_codes

# The release of TensorFlow Lite that brought each version of an operation, from version 1 on, for the operations of
# image classifiers. Source: tflite/tools/versioning/runtime_version.cc of LiteRT (2025-10); SQRT 2: TensorFlow 2.21.
RELEASES = {
    name: tuple(releases)
    for name, *releases in map(
        str.split,
        """
        ABS                         1.13.0 2.4.0 2.5.0 2.6.0 2.12.0
        ADD                         1.5.0 1.14.0 2.4.0 2.6.0 2.13.0
        ARG_MAX                     1.9.0 1.14.0 2.9.0
        AVERAGE_POOL_2D             1.5.0 1.14.0 2.3.0
        BATCH_MATMUL                2.3.0 2.3.0 2.4.0 2.5.0
        BATCH_TO_SPACE_ND           1.6.0 1.14.0 2.3.0 2.12.0
        BROADCAST_TO                2.5.0 2.5.0 2.5.0
        CAST                        1.5.0 2.7.0 2.8.0 2.9.0 2.12.0 2.15.0 2.17.0
        CONCATENATION               1.5.0 1.14.0 2.3.0 2.14.0
        CONV_2D                     1.5.0 1.14.0 1.14.0 2.3.0 2.4.0 2.9.0 2.11.0 2.15.0
        DEPTHWISE_CONV_2D           1.5.0 1.12.0 1.14.0 2.2.0 2.3.0 2.3.0 2.11.0
        DEPTH_TO_SPACE              2.1.0 2.5.0
        DEQUANTIZE                  1.13.1 1.14.0 1.15.0 2.2.0 2.7.0 2.18.0
        DIV                         1.6.0 2.3.0
        ELU                         1.14.0
        EXP                         1.7.0 2.12.0
        EXPAND_DIMS                 1.10.0
        FILL                        1.13.0 2.3.0 2.5.0 2.12.0
        FLOOR                       1.9.0
        FULLY_CONNECTED             1.5.0 1.10.0 1.14.0 1.14.0 2.0.0 2.1.0 2.3.0 2.3.0 2.3.0 2.11.0 2.15.0 2.17.0 2.18.0
        GATHER                      1.6.0 1.14.0 1.15.0 2.4.0 2.5.0 2.13.0 2.15.0
        GELU                        2.9.0 2.9.0
        HARD_SWISH                  1.15.0
        L2_NORMALIZATION            1.5.0 1.14.0
        LEAKY_RELU                  1.13.1 2.3.0
        LOCAL_RESPONSE_NORMALIZATION 1.5.0
        LOG                         1.14.0 2.15.0
        LOGISTIC                    1.14.0 1.14.0 2.3.0
        LOG_SOFTMAX                 1.14.0 1.14.0
        MAXIMUM                     1.14.0 1.14.0 2.3.0 2.3.0
        MAX_POOL_2D                 1.5.0 1.14.0 2.3.0
        MEAN                        1.6.0 1.14.0 2.4.0
        MINIMUM                     1.14.0 1.14.0 2.3.0 2.3.0
        MIRROR_PAD                  1.13.1 2.3.0 2.12.0
        MUL                         1.5.0 1.14.0 1.15.0 2.3.0 2.6.0 2.11.0 2.13.0
        NEG                         1.9.0
        PACK                        1.11.0 1.14.0 2.3.0 2.13.0
        PAD                         1.5.0 1.14.0 2.4.0 2.6.0
        PADV2                       1.9.0 1.14.0 2.4.0 2.6.0
        POW                         1.10.0
        PRELU                       1.8.0
        QUANTIZE                    1.14.0 1.15.0 2.7.0
        REDUCE_MAX                  1.11.0 1.14.0 2.5.0
        RELU                        1.5.0 2.1.0 2.5.0
        RELU6                       1.5.0 1.14.0 2.5.0
        RELU_0_TO_1                 2.10.0
        RELU_N1_TO_1                1.5.0
        RESHAPE                     1.5.0
        RESIZE_BILINEAR             1.7.0 1.14.0 2.2.0 2.5.0
        RESIZE_NEAREST_NEIGHBOR     1.13.1 1.14.0 2.3.0 2.4.0
        REVERSE_V2                  1.14.0 2.2.0 2.5.0
        RSQRT                       1.10.0 2.5.0 2.15.0
        SELECT_V2                   2.2.0 2.12.0
        SHAPE                       1.10.0
        SIGN                        2.11.0 2.12.0
        SLICE                       1.14.0 1.14.0 1.14.0 2.4.0 2.5.0 2.14.0
        SOFTMAX                     1.5.0 1.14.0 2.3.0
        SPACE_TO_BATCH_ND           1.6.0 1.14.0 2.3.0 2.12.0
        SPACE_TO_DEPTH              1.5.0 1.14.0
        SPLIT                       1.5.0 1.14.0 1.14.0 2.3.0
        SPLIT_V                     1.13.1 2.3.0
        SQRT                        1.10.0 2.21.0
        SQUARE                      1.12.0
        SQUARED_DIFFERENCE          1.13.1 2.5.0
        SQUEEZE                     1.6.0 2.5.0
        STRIDED_SLICE               1.6.0 1.14.0 2.1.0 2.2.0 2.5.0 2.6.0 2.14.0 2.14.0
        SUB                         1.6.0 1.14.0 2.3.0 2.4.0 2.4.0
        SUM                         1.10.0 1.15.0
        TANH                        1.14.0 1.14.0 2.3.0
        TILE                        1.10.1 2.2.0 2.8.0
        TRANSPOSE                   1.6.0 1.14.0 1.15.0 2.3.0 2.4.0 2.12.0 2.14.4
        TRANSPOSE_CONV              1.9.0 2.2.0 2.3.0 2.13.0 2.15.0
        UNPACK                      1.11.0 1.14.0 2.2.0 2.3.0
        """.strip().splitlines(),
    )
}


class Runtime(NamedTuple):
    """What a file asks of the runtime.

    Attributes:
        version: oldest release of TensorFlow Lite with all operations of the file, such as "2.4.0"; None if it is not
            known of the operation.
        operation: the operation that asks for it, such as "CONV_2D".
        operation_version: version of this operation.
    """

    version: str | None
    operation: str
    operation_version: int

    def __str__(self) -> str:
        release = f"TensorFlow Lite {self.version}" if self.version else "a runtime of unknown version"
        return f"{release} ({self.operation} version {self.operation_version})"

    def runs_on(self, release: str) -> bool:
        """Return True if this release of TensorFlow Lite, such as "2.8", has the operations."""
        return self.version is not None and numbers(self.version) <= numbers(release)


def oldest_runtime(path: str | os.PathLike) -> Runtime:
    """Return the oldest runtime that can run a .tflite file, and the operation that asks for it.

    Raises:
        ValueError: the file is damaged or has no operations.
    """
    try:
        asked = [_asked(name, version) for name, version in operator_codes(Path(path).read_bytes())]
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if not asked:
        raise ValueError(f"{path} has no operations")
    return max(asked, key=lambda each: (each.version is None, numbers(each.version or "0")))


def numbers(release: str) -> tuple[int, ...]:
    """Return a release as three numbers, so that releases can be compared.

    Raises:
        ValueError: it is not one to three numbers with dots between them.
    """
    parts = release.split(".")
    if len(parts) > 3 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"`runtime` must be a release of TensorFlow Lite, such as 2.8. Received: {release!r}")
    return tuple(map(int, [*parts, "0", "0"][:3]))


def _asked(operation: str, version: int) -> Runtime:
    releases = RELEASES.get(operation, ())
    return Runtime(releases[version - 1] if 1 <= version <= len(releases) else None, operation, version)
