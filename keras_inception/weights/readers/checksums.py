"""CRC-32C, the checksum of TensorFlow's checkpoints (RFC 3720, appendix B.4), by numpy."""

from functools import cache

import numpy as np

POLYNOMIAL = np.uint32(0x82F63B78)
BITS = np.arange(32, dtype=np.uint32)


def crc32c(data: bytes | memoryview) -> int:
    """The checksum of `data`.

    It is linear: the data are cut into lanes that all run at once from a register of zeros, and neighbours are joined
    after that. Zeros in front change nothing then; a register that begins with ones is the first four bytes inverted.
    """
    length = len(data)
    count = 2 ** min(14, max(0, length.bit_length() - 8))
    columns = length // (2 * count) + 1
    padded = np.zeros(2 * count * columns, np.uint8)
    padded[padded.size - length :] = np.frombuffer(data, np.uint8)
    padded[padded.size - length :][:4] ^= 0xFF
    # Further lanes find the effect of as many zeros on each bit of a register.
    words = np.zeros((columns, count + len(BITS)), np.uint16)
    words[:, :count] = padded.view("<u2").reshape(count, columns).T
    registers = np.concatenate([np.zeros(count, np.uint32), np.uint32(1) << BITS])
    table = _table()
    for column in words:
        registers = table[(registers ^ column) & 0xFFFF] ^ (registers >> np.uint32(16))
    lanes, zeros = registers[:count], registers[count:]
    while lanes.size > 1:
        lanes = _apply(zeros, lanes[::2]) ^ lanes[1::2]
        zeros = _apply(zeros, zeros)
    return int(lanes[0]) ^ 0xFFFFFFFF ^ (0xFFFFFFFF >> 8 * length)


def masked(checksum: int) -> int:
    """A checksum as TensorFlow stores it (tensorflow/core/lib/hash/crc32c.h)."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _table() -> np.ndarray:
    """The effect of two bytes on a register."""
    table = np.arange(2**16, dtype=np.uint32)
    for _ in range(16):
        table = (table >> np.uint32(1)) ^ (table & np.uint32(1)) * POLYNOMIAL
    return table


def _apply(effects: np.ndarray, registers: np.ndarray) -> np.ndarray:
    """The sum, modulo 2, of the effects of the bits of each register."""
    bits = (registers[:, None] >> BITS) & np.uint32(1)
    return np.bitwise_xor.reduce(bits * effects, axis=1)
