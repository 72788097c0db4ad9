"""Distances and tails of the sensitive values of each class, from histograms without zeros."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from privcompute.kernels.compiled import kernel

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


@kernel
def class_histograms(
    slot: npt.NDArray[np.int32],
    holder: npt.NDArray[np.int32],
    value: Ints,
    count: Ints,
    values: int,
    start: Ints,
    out_value: Ints,
    out_count: Ints,
) -> np.int64:
    """Entries (tuple, value, count) become entries by class, values ascending.

    Args:
        slot: the class of each tuple, -1: not counted.
        holder: (entries,), the tuple of each entry.
        value: (entries,), codes below `values`.
        count: (entries,), rows.
        values: how many codes there are.
        start: (classes + 1,), overwritten.
        out_value: (entries,), head overwritten.
        out_count: (entries,), head overwritten.

    Returns:
        The number of entries written.
    """
    classes = start.shape[0] - 1
    written = np.int64(0)
    if classes * values <= 4 * holder.shape[0] + 65_536:
        # Few classes: a table of all counts, in one pass.
        table = np.zeros(classes * values, np.int64)
        for e in range(holder.shape[0]):
            owner = slot[holder[e]]
            if owner >= 0:
                table[owner * values + value[e]] += count[e]
        for owner in range(classes):
            start[owner] = written
            for code in range(values):
                rows = table[owner * values + code]
                if rows > 0:
                    out_value[written] = code
                    out_count[written] = rows
                    written += 1
        start[classes] = written
        return written
    # Counting sort of the entries by class, then one pass a class over a row of counters.
    begin = np.zeros(classes + 1, np.int64)
    for e in range(holder.shape[0]):
        one = slot[holder[e]]
        if one >= 0:
            begin[one + 1] += 1
    for one in range(classes):
        begin[one + 1] += begin[one]
    order = np.empty(holder.shape[0], np.int32)
    cursor = begin.copy()
    for e in range(holder.shape[0]):
        one = slot[holder[e]]
        if one >= 0:
            order[cursor[one]] = e
            cursor[one] += 1
    row = np.zeros(values, np.int64)
    met = np.empty(values, np.int64)
    for one in range(classes):
        start[one] = written
        found = 0
        for place in range(begin[one], begin[one + 1]):
            e = order[place]
            if row[value[e]] == 0:
                met[found] = value[e]
                found += 1
            row[value[e]] += count[e]
        met[:found].sort()
        for place in range(found):
            out_value[written] = met[place]
            out_count[written] = row[met[place]]
            row[met[place]] = 0
            written += 1
    start[classes] = written
    return written


@kernel
def descending_tail(start: Ints, count: Ints, place: int, first: Ints, tail: Ints) -> None:
    """Of each class, the largest count, and the sum of the counts from the place-th largest on (0 if there are
    fewer)."""
    widest = np.int64(1)
    for one in range(first.shape[0]):
        widest = max(widest, start[one + 1] - start[one])
    ordered = np.empty(widest, np.int64)
    for one in range(first.shape[0]):
        size = start[one + 1] - start[one]
        # Most classes have few values: they are sorted by insertion.
        if size <= 32:
            for i in range(size):
                value, at = count[start[one] + i], i
                while at > 0 and ordered[at - 1] < value:
                    ordered[at] = ordered[at - 1]
                    at -= 1
                ordered[at] = value
        else:
            ascending = np.sort(count[start[one] : start[one + 1]])
            for i in range(size):
                ordered[i] = ascending[size - 1 - i]
        first[one] = ordered[0]
        total = np.int64(0)
        for i in range(place - 1, size):
            total += ordered[i]
        tail[one] = total


@kernel
def ordered_distance(start: Ints, value: Ints, share: Doubles, everywhere: Doubles, out: Doubles) -> None:
    """1/(m-1) times the sum over i of |sum over j <= i of (p_j - q_j)|; 0 for a column of one value."""
    values = everywhere.shape[0]
    for one in range(out.shape[0]):
        entry, end = start[one], start[one + 1]
        moved, total = 0.0, 0.0
        for v in range(values):
            if entry < end and value[entry] == v:
                moved += share[entry]
                entry += 1
            moved -= everywhere[v]
            total += abs(moved)
        out[one] = total / (values - 1) if values > 1 else 0.0


@kernel
def hierarchical_distance(
    start: Ints, value: Ints, share: Doubles, everywhere: Doubles, maps: Ints, width: Ints, out: Doubles
) -> None:
    """The sum over labels above the leaves of level/height times the mass that must cross the label.

    Args:
        start: (classes + 1,).
        value: (entries,).
        share: (entries,), part of the class.
        everywhere: (values,), part of the table.
        maps: (levels, values), the code of each value's label.
        width: (levels,), how many labels there are.
        out: (classes,), overwritten.
    """
    levels, values = maps.shape
    widest = 0
    for level in range(levels):
        widest = max(widest, width[level])
    below = np.empty(widest, np.float64)
    positive = np.empty(widest, np.float64)
    negative = np.empty(widest, np.float64)
    # The label above each label, from level to level.
    parent = np.zeros((levels, widest), np.int64)
    for level in range(levels - 1):
        for v in range(values):
            parent[level, maps[level, v]] = maps[level + 1, v]
    for one in range(out.shape[0]):
        for i in range(width[0]):
            below[i] = 0.0
        for v in range(values):
            below[maps[0, v]] -= everywhere[v]
        for entry in range(start[one], start[one + 1]):
            below[maps[0, value[entry]]] += share[entry]
        total = 0.0
        for level in range(1, levels):
            for i in range(width[level]):
                positive[i] = 0.0
                negative[i] = 0.0
            for i in range(width[level - 1]):
                up = parent[level - 1, i]
                if below[i] > 0.0:
                    positive[up] += below[i]
                else:
                    negative[up] -= below[i]
            for i in range(width[level]):
                total += level / (levels - 1) * min(positive[i], negative[i])
                below[i] = positive[i] - negative[i]
        out[one] = total
