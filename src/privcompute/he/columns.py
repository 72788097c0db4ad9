"""A party's own columns: two-limb form, and the check against their public bounds before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from privcompute.errors import UsageError
from privcompute.kernels import limbs

Words = npt.NDArray[np.uint64]


def limbs_of(column: npt.NDArray[Any], first: int, count: int) -> tuple[Words, Words]:
    """Lower and upper limbs of rows first ... first + count, zeros beyond the column's end.

    Args:
        column: int64 (n,), or uint64 (n, 2), little-endian limbs in two's complement.
        first: first row.
        count: rows.

    Returns:
        Two uint64 arrays of length count.
    """
    part = column[first : first + count]
    low, high = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
    if part.ndim == 2:
        low[: len(part)], high[: len(part)] = part[:, 0], part[:, 1]
    else:
        low[: len(part)] = part.view(np.uint64)
        np.right_shift(part, 63, out=high[: len(part)].view(np.int64))
    return low, high


def check_columns(columns: Sequence[npt.NDArray[Any]], bounds: Sequence[int], rows: int) -> None:
    """Refuses columns of the wrong type or length, or with a value beyond its public bound.

    Raises:
        UsageError: "bad_columns" or "range_exceeded"; the message names the column by number and no value.
    """
    if len(columns) != len(bounds):
        raise UsageError("there are as many columns as bounds", code="bad_columns")
    lengths = {len(column) for column in columns}
    if len(lengths) > 1 or max(lengths, default=0) > rows:
        raise UsageError("all columns have the same length, at most the agreed rows", code="bad_columns")
    step = 1 << 20
    for number, (column, bound) in enumerate(zip(columns, bounds, strict=True)):
        narrow = column.ndim == 1 and column.dtype == np.int64
        wide = column.ndim == 2 and column.shape[1] == 2 and column.dtype == np.uint64
        if not (narrow or wide):
            raise UsageError("a column is int64 (n,) or uint64 (n, 2)", code="bad_columns")
        low_bound, high_bound = np.uint64(bound & (2**64 - 1)), np.uint64(bound >> 64)
        for first in range(0, len(column), step):
            low, high = limbs_of(column, first, min(step, len(column) - first))
            if limbs.count_beyond(low, high, low_bound, high_bound):
                raise UsageError(
                    f"column {number} holds a value beyond its public bound",
                    code="range_exceeded",
                    remedy="widen the column's range, or correct the data",
                )
