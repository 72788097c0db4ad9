"""MDAV's loop: distances, the farthest row, the k nearest rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from privcompute.kernels.compiled import kernel

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@kernel
def mdav_groups(values: Doubles, k: int, groups: Ints) -> None:
    """Number the groups of rows.

    Args:
        values: (rows, columns), standardized.
        k: the least rows a group, at most the number of rows.
        groups: (rows,), overwritten.
    """
    count, width = values.shape
    left = np.arange(count)
    many = count
    distance = np.empty(count, np.float64)
    centre = np.empty(width, np.float64)
    number = 0
    while many >= 2 * k:
        centre[:] = 0.0
        for i in range(many):
            centre += values[left[i]]
        centre /= many
        far = _farthest(values, left, many, centre, distance)
        one = values[left[far]].copy()
        # With 3k or more left, two groups at opposite ends; else one, and the rest is the last group.
        if many >= 3 * k:
            other = _farthest(values, left, many, one, distance)
            second = values[left[other]].copy()
            many = _take(values, left, many, one, k, distance, groups, number)
            number += 1
            many = _take(values, left, many, second, k, distance, groups, number)
        else:
            many = _take(values, left, many, one, k, distance, groups, number)
        number += 1
    for i in range(many):
        groups[left[i]] = number


@kernel
def _distances(values: Doubles, left: Ints, many: int, point: Doubles, distance: Doubles) -> None:
    for i in range(many):
        total = 0.0
        for column in range(values.shape[1]):
            off = values[left[i], column] - point[column]
            total += off * off
        distance[i] = total


@kernel
def _farthest(values: Doubles, left: Ints, many: int, point: Doubles, distance: Doubles) -> int:
    _distances(values, left, many, point, distance)
    best = 0
    for i in range(1, many):
        if distance[i] > distance[best]:
            best = i
    return best


@kernel
def _take(
    values: Doubles, left: Ints, many: int, point: Doubles, k: int, distance: Doubles, groups: Ints, number: int
) -> int:
    """Give the k rows nearest to a point a number, and take them out of those left, whose order stays."""
    _distances(values, left, many, point, distance)
    border = np.partition(distance[:many], k - 1)[k - 1]
    nearer = 0
    for i in range(many):
        nearer += distance[i] < border
    ties = k - nearer
    kept = 0
    for i in range(many):
        take = distance[i] < border
        if not take and distance[i] == border and ties > 0:
            take = True
            ties -= 1
        if take:
            groups[left[i]] = number
        else:
            left[kept] = left[i]
            kept += 1
    return kept
