"""Selections hidden in values: which keys share each frequent value of a level, for the ledger to compare.

`SUM(bmi * LEAST(ABS(age - 57), 1))` leaves out the people of 57 as WHERE age <> 57 does. So the ledger looks at the
people of each value that at least its minimum of them share, as if that value had been a filter: whom a sum treats
unlike everybody else is then seen as a difference of a few, from the query's own selection or from another query's.
Values that fewer people share, or fewer than an eighth of those whom the sum looks at, are no sets of their own:
otherwise two questions about measured numbers would refuse each other, because of the dozen people of 46 in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from privcompute.tables.features import Level, LevelValues

Keys = npt.NDArray[np.bool_]

MOST_VALUES = 8
"""So many values of a level can become sets: each has at least that part of the keys."""


def hidden_sets(levels: Sequence[Level], values: Sequence[LevelValues], least: int) -> list[Keys]:
    """The sets of all levels of one side.

    Of two sets of one group that nearly coincide one stands for both: LEAST(x, 30) is 30 from 30 on, and differs from
    x above 30; that few are exactly 30 gives away nobody.

    Args:
        levels: The plan's.
        values: What they are, in the same order.
        least: How many keys two sets have to differ by, and fewest keys of a set.
    """
    groups: dict[int, list[Keys]] = {}
    for level, value in zip(levels, values, strict=True):
        kept = groups.setdefault(level.group, [])
        for one in shared_values(value, least):
            if all(not 0 < np.count_nonzero(one ^ other) < least for other in kept):
                kept.append(one)
    return [one for kept in groups.values() for one in kept]


def shared_values(level: LevelValues, least: int) -> list[Keys]:
    """The sets of keys whose selected rows all have one value, for each value that many keys share.

    Args:
        level: The hashed values.
        least: Fewest keys of a set.

    Returns:
        At most `MOST_VALUES` arrays (keys,), the largest set first.
    """
    single = level.selected & (level.low == level.high)
    values, counts = np.unique(level.low[single], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_VALUES]
    fewest = max(least, -(-int(counts.sum()) // MOST_VALUES))
    return [single & (level.low == values[i]) for i in order if counts[i] >= fewest]
