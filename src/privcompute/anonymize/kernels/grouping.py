"""Equivalence classes of coded tuples at one node of the lattice.

A tuple's key is the sum of one contribution per column (its code at the node's level, times the column's place value):
one table look-up a column. Keys below a few million are counted in a dense table, larger ones in a hash table with
linear probing; both number the classes in the order in which they are first met, so both give the same answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from privcompute.kernels.compiled import kernel

Codes = npt.NDArray[Any]  # uint16, or uint32 where a column has more values
Ints = npt.NDArray[np.int64]
Slots = npt.NDArray[np.int32]

_MIX = np.uint64(0x9E3779B97F4A7C15)


@kernel
def classes_at(
    codes: Codes,
    rows: Ints,
    earlier: Slots,
    columns: Ints,
    low: Ints,
    high: Ints,
    widths: Ints,
    starts: Ints,
    steps: Ints,
    dense: bool,
    scratch: Slots,
    held: Ints,
    key: Ints,
    slot: Slots,
    size: Ints,
    first: Slots,
) -> np.int64:
    """Number the classes of a table's tuples at a node, by some of its columns, and sum the rows of each.

    Args:
        codes: (columns, tuples), at the levels `low`.
        rows: (tuples,), how many rows a tuple stands for.
        earlier: (tuples,), classes by other columns, which count as one more column; empty: there are none.
        columns: the columns that count here.
        low: (columns,), the levels of the table.
        high: (columns,), the levels of the node.
        widths: (columns, levels), how many labels there are.
        starts: (columns, levels, levels), where in `steps` it stands what the codes of one level become at another.
        steps: all such maps, one behind the other.
        dense: whether every key is below scratch.shape[0]; else `scratch` and `held` are a hash table of a power of two
            above twice the number of tuples.
        scratch: -1 everywhere, and so again at the end.
        held: as long as `scratch` for a hash table.
        key: (tuples,), overwritten.
        slot: (tuples,), overwritten with the class of each tuple.
        size: (tuples,), its head overwritten with the rows of each class.
        first: (tuples,), its head overwritten with the first tuple of each class.

    Returns:
        The number of classes.
    """
    count = rows.shape[0]
    place = np.int64(1)
    started = False
    for at in range(columns.shape[0]):
        column = columns[at]
        width = widths[column, high[column]]
        if width == 1:
            continue
        start = starts[column, low[column], high[column]]
        table = steps[start : start + widths[column, low[column]]] * place
        here = codes[column]
        if started:
            for i in range(count):
                key[i] += table[here[i]]
        else:
            for i in range(count):
                key[i] = table[here[i]]
            started = True
        place *= width
    if not started:
        key[:count] = 0
    if earlier.shape[0] > 0:
        for i in range(count):
            key[i] += earlier[i] * place
    found = np.int64(0)
    if dense:
        for i in range(count):
            one = scratch[key[i]]
            if one < 0:
                one = np.int32(found)
                scratch[key[i]] = one
                size[found] = 0
                first[found] = i
                found += 1
            slot[i] = one
            size[one] += rows[i]
        for one in range(found):
            scratch[key[first[one]]] = -1
        return found
    mask = np.uint64(scratch.shape[0] - 1)
    for i in range(count):
        mixed = np.uint64(key[i]) * _MIX
        cell = np.int64((mixed ^ (mixed >> np.uint64(32))) & mask)
        while scratch[cell] >= 0 and held[cell] != key[i]:
            cell = np.int64((np.uint64(cell) + np.uint64(1)) & mask)
        one = scratch[cell]
        if one < 0:
            one = np.int32(found)
            scratch[cell] = one
            held[cell] = key[i]
            size[found] = 0
            first[found] = i
            found += 1
        slot[i] = one
        size[one] += rows[i]
    scratch[:] = -1
    return found


@kernel
def smallest_below(node: Ints, nodes: Ints, sizes: Ints, count: int) -> np.int64:
    """Which of the first `count` tables has the fewest tuples among those at or below a node.

    Args:
        node: (columns,).
        nodes: (tables, columns), the levels of each table; the first is below all nodes.
        sizes: (tables,), tuples.
        count: how many tables there are.
    """
    best = np.int64(0)
    for i in range(1, count):
        if sizes[i] < sizes[best]:
            below = True
            for column in range(node.shape[0]):
                if nodes[i, column] > node[column]:
                    below = False
                    break
            if below:
                best = np.int64(i)
    return best


@kernel
def add_by_class(slot: Slots, weight: Ints, out: Ints) -> None:
    """out[class] = sum of the weights of its tuples; `out` holds as many entries as there are classes."""
    for i in range(out.shape[0]):
        out[i] = 0
    for i in range(slot.shape[0]):
        out[slot[i]] += weight[i]


@kernel
def recode(
    codes: Codes, first: Slots, classes: int, low: Ints, high: Ints, starts: Ints, steps: Ints, out: Codes
) -> None:
    """The codes of each class at the node: those of its first tuple.

    Args:
        codes: (columns, tuples), at the levels `low`.
        first: the first tuple of each class.
        classes: how many classes there are.
        low: (columns,), the levels of the table.
        high: (columns,), the levels of the node.
        starts: as in `classes_at`.
        steps: as in `classes_at`.
        out: (columns, classes), overwritten.
    """
    for column in range(codes.shape[0]):
        start = starts[column, low[column], high[column]]
        for one in range(classes):
            out[column, one] = steps[start + codes[column, first[one]]]


@kernel
def count_outside(
    codes: Codes,
    slot: Slots,
    rows: Ints,
    kept: npt.NDArray[np.bool_],
    low: Ints,
    high: Ints,
    starts: Ints,
    steps: Ints,
    out: Ints,
) -> None:
    """How often each label of each column stands in the suppressed rows.

    Args:
        codes: (columns, tuples), at the levels `low`.
        slot: the class of each tuple.
        rows: the rows of each tuple.
        kept: per class, whether it is released.
        low: (columns,), the levels of the table.
        high: (columns,), the levels of the node.
        starts: as in `classes_at`.
        steps: as in `classes_at`.
        out: (columns, labels), overwritten.
    """
    out[:] = 0
    for i in range(slot.shape[0]):
        if not kept[slot[i]]:
            for column in range(codes.shape[0]):
                start = starts[column, low[column], high[column]]
                out[column, steps[start + codes[column, i]]] += rows[i]
