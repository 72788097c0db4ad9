"""Microaggregation: rows into groups of k or a few more that are alike, each value replaced by its group's mean.

MDAV: from the mean of what is left, the row farthest away and the row farthest from that one each take their k-1
nearest rows; again while 3k or more are left; then once more if 2k are; the rest is a group. Distances are Euclidean
on columns of mean 0 and sample variance 1. Of rows equally far the first in canonical order is taken.

Source: Domingo-Ferrer and Torra, Data Mining and Knowledge Discovery 11 (2005); Hundepool et al., the mu-Argus manual
(2003).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privcompute.anonymize.kernels.mdav import mdav_groups
from privcompute.errors import UsageError

Doubles = npt.NDArray[np.float64]


def mdav(values: Doubles, k: int, tie: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.int64]:
    """The group of each row.

    Args:
        values: (rows, columns), finite.
        k: the least rows a group, at least 1; fewer rows than k are one group.
        tie: (rows,), what decides between rows of equal values; None: their order.

    Returns:
        (rows,), group numbers from 0.
    """
    count = len(values)
    if not count:
        return np.empty(0, np.int64)
    order = np.lexsort([*([] if tie is None else [tie]), *values.T[::-1]])
    groups = np.empty(count, np.int64)
    mdav_groups(np.ascontiguousarray(standardized(values)[order]), max(1, min(k, count)), groups)
    found = np.empty(count, np.int64)
    found[order] = groups
    return found


def standardized(values: Doubles) -> Doubles:
    """Columns of mean 0 and sample variance 1; a constant column is 0."""
    spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
    out: Doubles = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return out


def means(values: Doubles, groups: npt.NDArray[np.int64]) -> Doubles:
    """(rows, columns), each row's group mean."""
    size = np.bincount(groups)
    out = np.empty_like(values)
    for column in range(values.shape[1]):
        out[:, column] = (np.bincount(groups, weights=values[:, column]) / size)[groups]
    return out


def information_loss(values: Doubles, groups: npt.NDArray[np.int64]) -> float:
    """100 * SSE / SST on standardized columns; 0 if nothing varies."""
    scaled = standardized(values)
    total = float((scaled**2).sum())
    return 100 * float(((scaled - means(scaled, groups)) ** 2).sum()) / total if total else 0.0


def microaggregate(
    columns: Mapping[str, pa.ChunkedArray[Any]], k: int, tie: npt.NDArray[np.int64]
) -> dict[str, pa.ChunkedArray[Any]]:
    """Columns with each value replaced by the mean of its group; groups are built over all of them together.

    Means are rounded to 12 significant digits, so that equal groups look equal. `tie` decides between equal rows.

    Raises:
        UsageError: `bad_column` for a column that is not numeric or holds NULLs.
    """
    for name, column in columns.items():
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)) or column.null_count:
            raise UsageError(
                f"column {name!r} cannot be microaggregated: it is not numeric, or holds NULLs",
                code="bad_column",
                remedy="fill or cap it first, or give it a hierarchy",
            )
    values = np.column_stack([column.to_numpy().astype(np.float64) for column in columns.values()])
    groups = mdav(values, k, tie)
    averaged = means(values, groups)
    result = {}
    for place, name in enumerate(columns):
        rounded = [float(f"{value:.12g}") for value in averaged[:, place].tolist()]
        result[name] = pa.chunked_array([pa.array(rounded, pa.float64())])
    return result
