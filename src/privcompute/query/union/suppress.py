"""Which units of a union may be shown: enough people, enough holders, and nothing given away by what is left out.

A unit is shown only if each of its counts has enough contributors from enough holders. Whoever knows a total learns
the sum of what is not shown: so for the whole table and for each marginal of it (fix the values of some groupings, add
over the others) the units not shown have together nobody, or enough people from enough holders. Else the last shown
unit of that line, in the public order of cells, is left out too, until it holds everywhere.

The contributors of several units are not disjoint: a person with many rows may stand in many cells, a holder in all.
So of a line counts its largest unit, or the sum over the most cells that one person can be in; of holders the unit
with the most. Both are never more than the truth, and one unit that was to be shown brings enough of both: it costs
one unit a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class Rule:
    """What has to hold of whatever is shown.

    Attributes:
        least: Per count of a unit, the fewest contributors.
        holders: The fewest holders of each count.
        cells_per_key: The most cells that one key can have rows in.
        axes: The number of values of each grouping of the units, the last one fastest.
    """

    least: tuple[int, ...]
    holders: int
    cells_per_key: int
    axes: tuple[int, ...]


Count = tuple[int, int]


def shown_units(counts: Sequence[int], rule: Rule) -> tuple[int, ...]:
    """The units that may be shown, ascending.

    Args:
        counts: Per unit and count of the unit: contributors, holders.
        rule: What has to hold.
    """
    width = 2 * len(rule.least)
    units = [
        [(counts[at], counts[at + 1]) for at in range(start, start + width, 2)]
        for start in range(0, len(counts), width)
    ]
    shown = {n for n, unit in enumerate(units) if _enough(unit, rule)}
    lines = list(_lines(rule.axes))
    while _complete(units, shown, lines, rule):
        pass
    return tuple(sorted(shown))


def _enough(unit: Sequence[Count], rule: Rule) -> bool:
    return all(
        people >= least and holders >= rule.holders for (people, holders), least in zip(unit, rule.least, strict=True)
    )


def _complete(units: Sequence[Sequence[Count]], shown: set[int], lines: Sequence[Sequence[int]], rule: Rule) -> bool:
    """Leaves out one unit more of each line that gives something away; whether there was one."""
    changed = False
    for line in lines:
        left_out = [units[n] for n in line if n not in shown]
        if _tells(left_out, rule):
            last = next((n for n in reversed(line) if n in shown), None)
            if last is not None:
                shown.discard(last)
                changed = True
    return changed


def _tells(left_out: Sequence[Sequence[Count]], rule: Rule) -> bool:
    """Whether the sum of these units would be one that may not be shown."""
    for place, least in enumerate(rule.least):
        people = [unit[place][0] for unit in left_out]
        total = sum(people)
        if not total:
            continue
        certain = max(max(people), -(-total // rule.cells_per_key))
        holders = max(unit[place][1] for unit in left_out)
        if certain < least or holders < rule.holders:
            return True
    return False


def _lines(axes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The units of the whole table and of each marginal, the smallest sums first; none without a grouping."""
    strides = [1] * len(axes)
    for n in reversed(range(len(axes) - 1)):
        strides[n] = strides[n + 1] * axes[n + 1]
    for free in range(1, len(axes) + 1):
        for added in combinations(range(len(axes)), free):
            fixed = [n for n in range(len(axes)) if n not in added]
            inside = _offsets([(axes[n], strides[n]) for n in added])
            for start in _offsets([(axes[n], strides[n]) for n in fixed]):
                yield tuple(start + offset for offset in inside)


def _offsets(axes: Sequence[tuple[int, int]]) -> list[int]:
    found = [0]
    for size, stride in axes:
        found = [start + step * stride for start in found for step in range(size)]
    return found
