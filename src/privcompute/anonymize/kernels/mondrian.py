"""Mondrian's loop on codes: spans, counting medians, partitions moved in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from privcompute.kernels.compiled import kernel

Codes = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Slots = npt.NDArray[np.int32]


@kernel
def split(
    codes: Codes,
    weight: Ints,
    who: Slots,
    scale: Doubles,
    offset: Ints,
    k: int,
    relaxed: bool,
    begin: int,
    end: int,
    least: int,
    bounds: Ints,
) -> np.int64:
    """Cut boxes in two, at the median of the widest column that can be cut, until none can.

    Args:
        codes: (columns, tuples), reordered in place: each box becomes a run of tuples.
        weight: (tuples,), rows of each tuple, reordered alike; all 1 if `relaxed`.
        who: (tuples,), which tuple it was, reordered alike.
        scale: per column and code, its place in the column's range, within [0, 1].
        offset: (columns,), where each column's scale begins.
        k: the least rows of a box.
        relaxed: whether tuples of equal codes may be parted where no other cut is left.
        begin: first tuple of the box that is cut.
        end: behind its last.
        least: boxes of at most so many tuples stay whole, for other calls to cut; 0: none do.
        bounds: overwritten with the ends of the boxes, ascending; long enough for all.

    Returns:
        The number of boxes.
    """
    columns = codes.shape[0]
    widest = np.int64(0)
    for column in range(columns):
        stop = offset[column + 1] if column + 1 < columns else scale.shape[0]
        widest = max(widest, stop - offset[column])
    counts = np.empty(widest, np.int64)
    span = np.empty(columns, np.float64)
    low, high = np.empty(columns, np.int64), np.empty(columns, np.int64)
    spare_codes = np.empty(end - begin, codes.dtype)
    spare_weight = np.empty(end - begin, np.int64)
    spare_who = np.empty(end - begin, np.int32)
    left_side = np.empty(end - begin, np.uint8)
    stack = np.empty((256, 2), np.int64)
    stack[0, 0], stack[0, 1] = begin, end
    depth, found = 1, np.int64(0)
    while depth > 0:
        depth -= 1
        start, stop = stack[depth, 0], stack[depth, 1]
        rows = np.int64(0)
        for i in range(start, stop):
            rows += weight[i]
        middle = np.int64(-1)
        if rows >= 2 * k and stop - start > least:
            for column in range(columns):
                here = codes[column, start:stop]
                smallest, largest = here[0], here[0]
                for i in range(here.shape[0]):
                    smallest = min(smallest, here[i])
                    largest = max(largest, here[i])
                low[column], high[column] = smallest, largest
                span[column] = scale[offset[column] + largest] - scale[offset[column] + smallest]
            for turn in range(2 if relaxed else 1):
                width = span.copy()
                for _ in range(columns):
                    column = 0
                    for one in range(1, columns):
                        if width[one] > width[column]:
                            column = one
                    if width[column] <= 0.0:
                        break
                    middle = _cut(
                        codes, weight, column, start, stop, low[column], high[column], rows, k, turn == 1, counts,
                        left_side,
                    )  # fmt: skip
                    if middle >= 0:
                        break
                    width[column] = -1.0
                if middle >= 0:
                    break
        if middle < 0:
            bounds[found] = stop
            found += 1
            continue
        size = stop - start
        for column in range(columns):
            _part(codes[column, start:stop], left_side, spare_codes, size)
        _part(weight[start:stop], left_side, spare_weight, size)
        _part(who[start:stop], left_side, spare_who, size)
        # The right half waits, so that boxes come out from left to right.
        stack[depth, 0], stack[depth, 1] = start + middle, stop
        stack[depth + 1, 0], stack[depth + 1, 1] = start, start + middle
        depth += 2
    return found


@kernel
def _cut(
    codes: Codes,
    weight: Ints,
    column: int,
    start: int,
    stop: int,
    low: int,
    high: int,
    rows: np.int64,
    k: int,
    relaxed: bool,
    counts: Ints,
    left_side: npt.NDArray[np.uint8],
) -> np.int64:
    """Mark the tuples left of the cut nearest to the median with k rows on both sides; how many they are, -1: no
    cut."""
    for code in range(low, high + 1):
        counts[code] = 0
    for i in range(start, stop):
        counts[codes[column, i]] += weight[i]
    if relaxed:
        half = rows // 2
        seen, code = np.int64(0), low
        while seen + counts[code] < half:
            seen += counts[code]
            code += 1
        ties = half - seen
        taken = np.int64(0)
        for i in range(start, stop):
            mine = codes[column, i]
            left = mine < code
            if mine == code and ties > 0:
                left = True
                ties -= 1
            left_side[i - start] = left
            taken += left
        return taken
    best, border, seen = np.int64(-1), np.int64(-1), np.int64(0)
    for code in range(low, high):
        seen += counts[code]
        if seen >= k and rows - seen >= k:
            off = abs(2 * seen - rows)
            if best < 0 or off < best:
                best, border = off, np.int64(code)
        if rows - seen < k:
            break
    if border < 0:
        return np.int64(-1)
    taken = np.int64(0)
    for i in range(start, stop):
        left = codes[column, i] <= border
        left_side[i - start] = left
        taken += left
    return taken


@kernel
def _part(values: Codes, left_side: npt.NDArray[np.uint8], spare: Codes, size: int) -> None:
    """Move the marked values to the front; both parts keep their order."""
    left, right = 0, 0
    for i in range(size):
        value = values[i]
        values[left] = value
        spare[right] = value
        left += left_side[i]
        right += 1 - left_side[i]
    for i in range(right):
        values[left + i] = spare[i]
