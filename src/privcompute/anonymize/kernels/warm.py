"""Loads all kernels of the anonymization half, or compiles them, and proves them by a table of four tuples.

A kernel is compiled for the types that it is called with. They are those of a release here: a release compiles nothing
afterwards (tests/anonymize/test_warm.py).
"""

from __future__ import annotations

import numpy as np

from privcompute.anonymize.kernels.closeness import (
    class_histograms,
    descending_tail,
    hierarchical_distance,
    ordered_distance,
)
from privcompute.anonymize.kernels.grouping import (
    Codes,
    Ints,
    Slots,
    add_by_class,
    classes_at,
    count_outside,
    recode,
    smallest_below,
)
from privcompute.anonymize.kernels.mdav import mdav_groups
from privcompute.anonymize.kernels.mondrian import split
from privcompute.errors import IntegrityError


def warm_up() -> None:
    """Load the kernels, or compile them: some twenty seconds, once after an installation.

    Raises:
        IntegrityError: `bad_kernel`: this machine computes something else.
    """
    right = [_groups(np.array([[0, 1, 2, 2]], kind)) for kind in (np.uint16, np.uint32)]
    right += [_boxes(np.array([[0, 0, 1, 1]], kind)) for kind in (np.uint8, np.uint16, np.uint32)]
    if not all([*right, _distances(), _near_rows()]):
        raise IntegrityError("the kernels of anonymization do not group a known table", code="bad_kernel")


def _ints(*values: int) -> Ints:
    return np.array(values, np.int64)


def _slots(*values: int) -> Slots:
    return np.array(values, np.int32)


def _same(found: object, wanted: object) -> bool:
    return bool(np.allclose(np.array(found), np.array(wanted), rtol=0, atol=1e-12))


def _groups(codes: Codes) -> bool:
    """Three values under two labels: the tuples are two classes, of 2 and of 3 rows."""
    rows, low, high = _ints(1, 1, 1, 2), _ints(0), _ints(1)
    widths, starts = _ints(3, 2).reshape(1, 2), _ints(1, 4, 0, 7).reshape(1, 2, 2)
    steps = _ints(0, 0, 1, 2, 0, 0, 1, 0, 1)
    slot, first = np.empty(4, np.int32), np.empty(4, np.int32)
    key, size, held = np.empty(4, np.int64), np.empty(4, np.int64), np.empty(16, np.int64)
    right = True
    for dense in (True, False):
        scratch = np.full(2 if dense else 16, -1, np.int32)
        none = _slots()
        found = classes_at(
            codes, rows, none, _ints(0), low, high, widths, starts, steps, dense, scratch, held, key, slot, size, first
        )
        right &= int(found) == 2 and _same(slot, [0, 0, 1, 1]) and _same([*size[:2], *first[:2]], [2, 3, 0, 2])
    total, shown, outside = _ints(0, 0), np.empty((1, 2), codes.dtype), np.empty((1, 3), np.int64)
    add_by_class(slot, rows, total)
    recode(codes, first[:2].copy(), 2, low, high, starts, steps, shown)
    count_outside(codes, slot, rows, np.array([True, False]), low, high, starts, steps, outside)
    best = smallest_below(high, _ints(0, 1, 2).reshape(3, 1), _ints(9, 4, 1), 3)
    return right and _same(total, [2, 3]) and _same(shown, [[0, 1]]) and _same(outside, [[0, 3, 0]]) and int(best) == 1


def _boxes(codes: Codes) -> bool:
    """Two values of two rows each are two boxes of two."""
    right = True
    for relaxed in (False, True):
        ends = np.empty(4, np.int64)
        held, weight, who = codes.copy(), np.ones(4, np.int64), np.arange(4, dtype=np.int32)
        found = split(held, weight, who, np.array([0.0, 1.0]), _ints(0), 2, relaxed, 0, 4, 0, ends)
        right &= int(found) == 2 and _same(ends[:2], [2, 4])
    return right


def _distances() -> bool:
    """Two classes of a sensitive column of two values: one row of each, three rows of the second."""
    start, value, count = np.empty(3, np.int64), np.empty(4, np.int64), np.empty(4, np.int64)
    slot, holder = _slots(0, 0, 1, 1), _slots(0, 1, 2, 3)
    written = class_histograms(slot, holder, _ints(1, 0, 1, 1), _ints(1, 1, 1, 2), 2, start, value, count)
    value, count = value[: int(written)], count[: int(written)]
    if not _same([written, *start], [3, 0, 2, 3]):
        return False  # what follows would read beyond the ends
    first, tail, out = np.empty(2, np.int64), np.empty(2, np.int64), np.empty(2)
    descending_tail(start, count, 2, first, tail)
    right = _same([*start, *value, *count, *first, *tail], [0, 2, 3, 0, 1, 1, 1, 1, 3, 1, 3, 1, 0])
    share, everywhere = np.array([0.5, 0.5, 1.0]), np.array([0.2, 0.8])
    ordered_distance(start, value, share, everywhere, out)
    right &= _same(out, [0.3, 0.2])
    hierarchical_distance(start, value, share, everywhere, _ints(0, 1, 0, 0).reshape(2, 2), _ints(2, 1), out)
    return right and _same(out, [0.3, 0.2])


def _near_rows() -> bool:
    """Of four rows the near ones are together."""
    groups = np.empty(4, np.int64)
    mdav_groups(np.array([[0.0], [5.0], [0.1], [5.1]]), 2, groups)
    return bool(groups[0] == groups[2] != groups[1] == groups[3])
