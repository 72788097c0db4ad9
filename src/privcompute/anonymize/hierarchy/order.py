"""Categories with an order into runs of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from privcompute.anonymize.hierarchy.tree import ROOT, Hierarchy, Label
from privcompute.errors import UsageError


def ordering(order: Sequence[str], sizes: Sequence[int], place: str = "the hierarchy") -> Hierarchy:
    """Level 0 the category, then runs of so many neighbours a level, named `first..last`, then nothing.

    Args:
        order: all categories, from the lowest to the highest.
        sizes: ascending, each a multiple of the one before.
        place: for messages.

    Raises:
        UsageError: `bad_hierarchy`, naming the line of a category that is repeated.
    """
    if not sizes or sizes[0] < 1 or any(b <= a or b % a for a, b in pairwise(sizes)):
        raise UsageError(
            f"{place}: the sizes of runs are not multiples of each other, ascending",
            code="bad_hierarchy",
            remedy="for example sizes = [2, 4]",
        )
    levels: list[tuple[Label, ...]] = [tuple(order)]
    for size in sizes:
        runs = [order[start : start + size] for start in range(0, len(order), size)]
        levels.append(tuple(run[0] if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs for _ in run))
    if len(set(levels[-1])) > 1:
        levels.append((ROOT,) * len(order))
    return Hierarchy(tuple(levels), place=place, ordered=True)
