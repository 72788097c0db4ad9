"""Numbers as rows: arrays (count, words) int64 of little-endian 64-bit words, one number a row."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def words_of(bits: int) -> int:
    """64-bit words that a number of so many bits takes."""
    return -(-bits // 64)


def to_rows(numbers: Iterable[int], words: int) -> Rows:
    """Numbers below 2^(64 words), one a row."""
    return np.frombuffer(bytearray().join(int(v).to_bytes(8 * words, "little") for v in numbers), "<i8").reshape(
        -1, words
    )


def from_rows(rows: Rows) -> list[int]:
    """The numbers of the rows."""
    data, width = rows.tobytes(), 8 * rows.shape[1]
    return [int.from_bytes(data[i : i + width], "little") for i in range(0, len(data), width)]
