"""Equivalence classes of coded tuples at one node of the lattice.

A tuple's key is the sum of one contribution per column (its code at the node's level, times the column's place value): one
table look-up a column. Keys below a few million are counted in a dense table, larger ones in a hash table with linear
probing; both number the classes in the order in which they are first met, so both give the same answer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from privcompute.kernels.compiled import kernel

Codes = npt.NDArray[np.uint16]
Ints = npt.NDArray[np.int64]
Slots = npt.NDArray[np.int32]

_MIX = np.uint64(0x9E3779B97F4A7C15)


@kernel
def keys(codes: Codes, active: Ints, offsets: Ints, contributions: Ints, out: Ints) -> None:
    """The key of every tuple.

    Args:
        codes: (columns, tuples), the codes of the table that is grouped.
        active: the columns with more than one value at the node; the others add nothing.
        offsets: per column, where its contributions start.
        contributions: per column and code, the code at the node's level times the place value.
        out: (tuples,), overwritten.
    """
    size = out.shape[0]
    if active.shape[0] == 0:
        for i in range(size):
            out[i] = 0
        return
    first = active[0]
    start = offsets[first]
    for i in range(size):
        out[i] = contributions[start + codes[first, i]]
    for place in range(1, active.shape[0]):
        column = active[place]
        start = offsets[column]
        for i in range(size):
            out[i] += contributions[start + codes[column, i]]


@kernel
def dense_classes(
    key: Ints, weight: Ints, scratch: Slots, slot: Slots, size: Ints, first: Slots
) -> np.int64:
    """Number the classes of keys below scratch.shape[0] and sum the weights of each.

    Args:
        key: (tuples,).
        weight: (tuples,), how many rows a tuple stands for.
        scratch: at least as long as the key space; overwritten.
        slot: (tuples,), overwritten with the class of each tuple.
        size: (tuples,), its head overwritten with the rows of each class.
        first: (tuples,), its head overwritten with the first tuple of each class.

    Returns:
        The number of classes.
    """
    for i in range(scratch.shape[0]):
        scratch[i] = -1
    found = np.int64(0)
    for i in range(key.shape[0]):
        at = scratch[key[i]]
        if at < 0:
            at = np.int32(found)
            scratch[key[i]] = at
            size[found] = 0
            first[found] = i
            found += 1
        slot[i] = at
        size[at] += weight[i]
    return found


@kernel
def hashed_classes(
    key: Ints, weight: Ints, table: Slots, held: Ints, slot: Slots, size: Ints, first: Slots
) -> np.int64:
    """As `dense_classes`, for keys of any size.

    Args:
        key: (tuples,).
        weight: (tuples,).
        table: a power of two above twice the number of tuples; overwritten.
        held: as long as `table`; overwritten with the keys that lie there.
        slot: (tuples,), overwritten.
        size: (tuples,), head overwritten.
        first: (tuples,), head overwritten.
    """
    mask = np.uint64(table.shape[0] - 1)
    for i in range(table.shape[0]):
        table[i] = -1
    found = np.int64(0)
    for i in range(key.shape[0]):
        mixed = np.uint64(key[i]) * _MIX
        at = np.int64((mixed ^ (mixed >> np.uint64(32))) & mask)
        while table[at] >= 0 and held[at] != key[i]:
            at = np.int64((np.uint64(at) + np.uint64(1)) & mask)
        one = table[at]
        if one < 0:
            one = np.int32(found)
            table[at] = one
            held[at] = key[i]
            size[found] = 0
            first[found] = i
            found += 1
        slot[i] = one
        size[one] += weight[i]
    return found


@kernel
def add_by_class(slot: Slots, weight: Ints, out: Ints) -> None:
    """out[class] = sum of the weights of its tuples; `out` holds as many entries as there are classes."""
    for i in range(out.shape[0]):
        out[i] = 0
    for i in range(slot.shape[0]):
        out[slot[i]] += weight[i]


@kernel
def recode(codes: Codes, first: Slots, classes: int, offsets: Ints, maps: Codes, out: Codes) -> None:
    """The codes of each class at the node: those of its first tuple, one level table a column.

    Args:
        codes: (columns, tuples).
        first: the first tuple of each class.
        classes: how many classes there are.
        offsets: per column, where its map starts.
        maps: per column and code, the code at the node's level.
        out: (columns, classes), overwritten.
    """
    for column in range(codes.shape[0]):
        start = offsets[column]
        for one in range(classes):
            out[column, one] = maps[start + codes[column, first[one]]]


@kernel
def count_outside(
    codes: Codes, slot: Slots, weight: Ints, kept: npt.NDArray[np.bool_], offsets: Ints, maps: Codes, out: Ints
) -> None:
    """How often each value of each column stands in the suppressed rows, at the node's level.

    Args:
        codes: (columns, tuples).
        slot: the class of each tuple.
        weight: the rows of each tuple.
        kept: per class, whether it is released.
        offsets: per column, where its map and its counters start.
        maps: per column and code, the code at the node's level.
        out: per column and code at the node's level; overwritten.
    """
    for i in range(out.shape[0]):
        out[i] = 0
    for i in range(slot.shape[0]):
        if not kept[slot[i]]:
            for column in range(codes.shape[0]):
                start = offsets[column]
                out[start + maps[start + codes[column, i]]] += weight[i]
